"""Rewriting: the edited elements of a data set are encoded anew, every other byte is taken over as it is.

Data sets are given without their pixel data.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.character_sets import DEFAULT, CharacterSet, character_set
from dicomweb_archive.dicom.editing.extents import UNKNOWN_CONTENT, Encoding, RawElement, walk_elements, walk_items
from dicomweb_archive.dicom.editing.planning import Operation
from dicomweb_archive.dicom.editing.unfit import Unfit, UnfitForEditError
from dicomweb_archive.dicom.editing.value_bytes import ENCODED_VRS, encode_element

_UTF8: Final = "ISO_IR 192"

Raw = Mapping[int, bytes | None]
"""Whole elements of a data set by tag; `None` where there is none."""


@dataclass(slots=True)
class _Level:
    """What is to be done in one data set or item."""

    direct: dict[int, Operation] = field(default_factory=dict)
    nested: dict[int, dict[int, "_Level"]] = field(default_factory=dict)


def rewritten(data: bytes, encoding: Encoding, operations: Iterable[Operation]) -> Raw:
    """Encode the elements of a data set that an edit touches; what cannot be told in its character set makes it UTF-8.

    That is done only where nothing else would have to be written anew.

    Raises:
        UnfitForEditError: the data set cannot be rewritten.
    """
    level = _tree(operations)
    head = list(walk_elements(data, 0, len(data), encoding))
    charset = _charset_of(data, head, DEFAULT)
    try:
        return _rewritten(data, head, encoding, charset, level)
    except UnfitForEditError as error:
        if error.why is not Unfit.CHARACTER_SET or not _is_ascii(data, head, encoding):
            raise
    declared = encode_element(tags.SPECIFIC_CHARACTER_SET, "CS", _UTF8, encoding, DEFAULT)
    found = dict(_rewritten(data, head, encoding, character_set((_UTF8,)), level))
    return {**found, tags.SPECIFIC_CHARACTER_SET: declared}


def raw_of(data: bytes, encoding: Encoding, wanted: Iterable[int]) -> Raw:
    """Return elements of a data set as they are."""
    found = {element.tag: data[element.start : element.stop] for element in walk_elements(data, 0, len(data), encoding)}
    return {tag: found.get(tag) for tag in wanted}


def in_order(data: bytes, encoding: Encoding) -> bool:
    """Tell whether the elements of a data set stand in the order of their tags, each once (PS3.5 7.1)."""
    before, stop = -1, 0
    for element in walk_elements(data, 0, len(data), encoding):
        if element.tag <= before:
            return False
        before, stop = element.tag, element.stop
    return stop == len(data)


def swapped(data: bytes, encoding: Encoding, new: Raw) -> bytes:
    """Return a data set with some elements put in the place of what it has, in the order of tags.

    Raises:
        UnfitForEditError: lengths do not fit into each other.
    """
    return _spliced(data, 0, len(data), list(walk_elements(data, 0, len(data), encoding)), new)


def _tree(operations: Iterable[Operation]) -> _Level:
    root = _Level()
    for operation in operations:
        level = root
        for tag, item in operation.parents:
            level = level.nested.setdefault(tag, {}).setdefault(item, _Level())
        level.direct[operation.tag] = operation
    return root


def _rewritten(
    data: bytes, elements: Iterable[RawElement], encoding: Encoding, charset: CharacterSet, level: _Level
) -> Raw:
    here = {element.tag: element for element in elements}
    new: dict[int, bytes | None] = {}
    for tag, items in level.nested.items():
        new[tag] = _sequence(data, here, tag, encoding, charset, items)
    for tag, operation in level.direct.items():
        text = operation.text
        new[tag] = None if text is None else encode_element(tag, operation.vr, text, encoding, charset)
    # Retired, and wrong from now on (PS3.5 7.2).
    return {**new, **dict.fromkeys({each & 4294901760 for each in new} & here.keys())}


def _sequence(
    data: bytes,
    here: Mapping[int, RawElement],
    tag: int,
    encoding: Encoding,
    charset: CharacterSet,
    levels: Mapping[int, _Level],
) -> bytes:
    """Write a sequence with edited items, in the form that it had: lengths told, or ended by delimiters."""
    element = here.get(tag)
    if element is None or element.vr not in ("SQ", "UN"):
        raise UnfitForEditError(Unfit.STRUCTURE)
    within = UNKNOWN_CONTENT if element.vr == "UN" else encoding
    body = []
    for number, item in enumerate(walk_items(data, element, within)):
        level = levels.get(number)
        if level is None:
            body.append(data[item.start : item.stop])
            continue
        inner = list(walk_elements(data, item.value_at, item.value_stop, within))
        new = _rewritten(data, inner, within, _charset_of(data, inner, charset), level)
        content = _spliced(data, item.value_at, item.value_stop, inner, new)
        body.append(_wrapped(data, item, content, within))
    return _wrapped(data, element, b"".join(body), encoding)


def _wrapped(data: bytes, element: RawElement, content: bytes, encoding: Encoding) -> bytes:
    head = data[element.start : element.value_at]
    if element.is_undefined:
        return head + content + data[element.value_stop : element.stop]
    return encoding.with_length(head, len(content)) + content


def _spliced(data: bytes, start: int, stop: int, elements: Sequence[RawElement], new: Raw) -> bytes:
    """Put new elements where those of their tags are, whatever the order; what was not there, before higher tags."""
    pieces = []
    waiting = sorted(new.keys() - {element.tag for element in elements}, reverse=True)
    pos = start
    for element in elements:
        pieces.append(data[pos : element.start])
        while waiting and waiting[-1] < element.tag:
            pieces.append(new[waiting.pop()] or b"")
        is_kept = element.tag not in new
        pieces.append(data[element.start : element.stop] if is_kept else new[element.tag] or b"")
        pos = element.stop
    pieces += [new[tag] or b"" for tag in reversed(waiting)]
    pieces.append(data[pos:stop])
    return b"".join(pieces)


def _charset_of(data: bytes, elements: Iterable[RawElement], around: CharacterSet) -> CharacterSet:
    for element in elements:
        if element.tag == tags.SPECIFIC_CHARACTER_SET:
            text = data[element.value_at : element.stop].decode("latin_1")
            terms = tuple([term.strip(" \0") or None for term in text.split("\\")])
            found = character_set(terms)
            # The codec stands for what has ASCII alone too, where nothing else may be written.
            is_ascii = found.codec == "latin_1" and "100" not in (terms[0] or "")
            return replace(found, declared=False) if is_ascii else found
    return around


def _is_ascii(data: bytes, elements: Iterable[RawElement], encoding: Encoding) -> bool:
    """Tell whether all text means the same in UTF-8, so that declaring it changes nothing else."""
    for element in elements:
        if element.vr == "SQ":
            for item in walk_items(data, element, encoding):
                if not _is_ascii(data, walk_elements(data, item.value_at, item.value_stop, encoding), encoding):
                    return False
        elif element.vr in ENCODED_VRS:
            value = data[element.value_at : element.stop]
            if not value.isascii() or b"\x1b" in value:
                return False
    return True
