"""Elements as the scanner would hand them over, made without files."""

from collections.abc import Mapping
from functools import cache
from typing import TypeAlias

import orjson

from dicomweb_archive.dicom.instance import Element
from dicomweb_archive.dicom.tags import parse_tag, vr_of

DataSet: TypeAlias = dict[int, Element]

_SHOWN_AS_WRITTEN = frozenset({"DS", "IS"})


def element(vr: str, *values: str | float) -> Element:
    """Return an element; numbers of DS and IS are texts inside, as the scanner has them."""
    if not values:
        return Element(vr, b'{"vr":"%b"}' % vr.encode())
    shown = orjson.dumps([{"Alphabetic": value} for value in values] if vr == "PN" else values)
    inner = tuple(map(str, values)) if vr in _SHOWN_AS_WRITTEN else values
    return Element(vr, b'{"vr":"%b","Value":%b}' % (vr.encode(), shown), inner)


def sequence(*items: Mapping[int, Element]) -> Element:
    """Return a sequence with these items."""
    texts = [b",".join(b'"%08X":%b' % (tag, inner.json) for tag, inner in item.items()) for item in items]
    shown = b",".join(b"{%b}" % text for text in texts)
    return Element("SQ", b'{"vr":"SQ","Value":[%b]}' % shown, tuple(items))


def data_set(**values: str | float | tuple[str | float, ...] | Element) -> DataSet:
    """Return elements by keyword, ascending by tag."""
    elements = {}
    for keyword, value in values.items():
        tag, vr = known_attribute(keyword)
        if not isinstance(value, Element):
            value = element(vr, *value) if isinstance(value, tuple) else element(vr, value)
        elements[tag] = value
    return dict(sorted(elements.items()))


@cache
def known_attribute(keyword: str) -> tuple[int, str]:
    """Return tag and VR of a keyword."""
    tag = parse_tag(keyword)
    return tag, vr_of(tag) or "UN"


def code(value: str, meaning: str) -> Element:
    """Return a code sequence of one item (PS3.3 8)."""
    return sequence(data_set(CodeValue=value, CodingSchemeDesignator="99BENCH", CodeMeaning=meaning))


def private_block(group: int, creator: str, values: Mapping[int, Element]) -> DataSet:
    """Return a private block at 10xx: its creator, and elements by their last byte."""
    block = {group << 16 | 0x10: element("LO", creator)}
    block.update((group << 16 | 0x1000 | low, each) for low, each in sorted(values.items()))
    return block
