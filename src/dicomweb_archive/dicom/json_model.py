"""DICOM JSON model (PS3.18 Annex F): from the bytes of a value to its attribute object.

Hot path: every decoder makes text for the wire and values for the index in one go, and values of plain
printable ASCII go straight from bytes to JSON (benchmarks/scanner). Nothing here fails: a malformed value is
carried as well as strict JSON can, and noted as a remark.
"""

import re
import struct
from array import array
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from functools import lru_cache
from math import isfinite
from typing import Protocol, TypeAlias

import orjson

from dicomweb_archive.dicom.character_sets import CharacterSet
from dicomweb_archive.dicom.instance import BULK_MARKER, Attributes, Element
from dicomweb_archive.dicom.values import BINARY_VRS, NUMBER_VRS, WORD_BYTES, number_text


class Context(Protocol):
    """What a decoder needs to know besides the bytes, and where it notes what it had to tolerate."""

    charset: CharacterSet

    def remark(self, code: str) -> None:
        """Note an oddity by its short code."""


Decoder: TypeAlias = Callable[[bytes, Context], Element | None]
"""Decodes one value field; `None` when only a BulkDataURI can carry it."""

# A named tuple without the cost of its own constructor, for the decoders that most elements take.
_new = tuple.__new__
_plain = re.compile(rb"[ !#-\[\]-~]*").fullmatch
_plain_number = rb"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?"
_plain_numbers = re.compile(_plain_number + rb"(?:\\" + _plain_number + rb")*").fullmatch

_SEPARATED = ("AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI")
_WHOLE = ("LT", "ST", "UR", "UT")
_ENCODED = frozenset(["LO", "LT", "PN", "SH", "ST", "UC", "UT"])
"""Value representations that (0008,0005) applies to (PS3.5 6.1.2.3); the others have the default repertoire."""

_LEADING_SPACES_COUNT = frozenset(["LT", "ST", "UT", "LO", "SH", "PN", "UC", "UR"])
_GROUPS = (b'"Alphabetic":', b'"Ideographic":', b'"Phonetic":')


def empty_element(vr: str) -> Element:
    """Return an element of zero length: only its VR (PS3.18 F.2.5)."""
    return Element(vr, b'{"vr":"%b"}' % vr.encode())


@lru_cache(maxsize=1024)
def referred_element(vr: str, path: str) -> Element:
    """Return an element whose value stays in the file (PS3.18 F.2.2, BulkDataURI)."""
    return Element(vr, f'{{"vr":"{vr}","BulkDataURI":"{BULK_MARKER}{path}"}}'.encode(), (), True)


def sequence_element(items: list[Attributes]) -> Element:
    """Return a sequence from its items (PS3.18 F.2.5); without items it has no Value."""
    if not items:
        return empty_element("SQ")
    json = b'{"vr":"SQ","Value":[%b]}' % b",".join([attributes_json(item) for item in items])
    return Element("SQ", json, tuple(items))


def attributes_json(attributes: Attributes) -> bytes:
    """Write a data set as a JSON object, tags in the order given (PS3.18 F.2.2)."""
    return b"{%b}" % b",".join([b'"%08X":%b' % (tag, element.json) for tag, element in attributes.items()])


def character_set_element(values: tuple[str | None, ...]) -> Element:
    """Return (0008,0005): JSON is UTF-8 (PS3.18 F.2), so ISO_IR 192 there; `values` keep what was sent."""
    if not any(values):
        return empty_element("CS")
    return Element("CS", b'{"vr":"CS","Value":["ISO_IR 192"]}', values)


def _text_json(text: str) -> bytes:
    try:
        return orjson.dumps(text)
    except TypeError:
        # A codec let a surrogate through; strict UTF-8 has none.
        return orjson.dumps(text.encode("utf-8", "replace").decode("utf-8"))


def _list_json(prefix: bytes, values: Iterable[bytes]) -> bytes:
    return b"%b%b]}" % (prefix, b",".join(values))


def _read_text(raw: bytes, context: Context, vr: str) -> str:
    if vr not in _ENCODED:
        if not raw.isascii():
            context.remark("text_not_ascii")
        return raw.decode("latin_1")
    charset = context.charset
    text, clean = charset.decode(raw, name=vr == "PN")
    if not clean:
        context.remark("text_not_decodable")
    if not charset.declared and not raw.isascii():
        context.remark("character_set_missing")
    return text


def _text_decoder(vr: str, *, separated: bool) -> Decoder:
    prefix = b'{"vr":"%b","Value":[' % vr.encode()
    empty = empty_element(vr)
    strip = bytes.rstrip if vr in _LEADING_SPACES_COUNT else bytes.strip
    strip_text = str.rstrip if vr in _LEADING_SPACES_COUNT else str.strip

    def decode(raw: bytes, context: Context) -> Element:
        raw = strip(raw, b" \0")
        if not raw:
            return empty
        if _plain(raw):
            return _new(Element, (vr, b'%b"%b"]}' % (prefix, raw), (raw.decode("ascii"),), False))
        text = _read_text(raw, context, vr)
        if not separated:
            return Element(vr, b"%b%b]}" % (prefix, _text_json(text)), (text,))
        values = tuple([strip_text(part, " \0") or None for part in text.split("\\")])
        return Element(vr, _list_json(prefix, [_text_json(v) if v else b"null" for v in values]), values)

    return decode


def _name_decoder() -> Decoder:
    prefix = b'{"vr":"PN","Value":['
    empty = empty_element("PN")

    def group_json(name: str) -> bytes:
        groups = [group.rstrip(" \0") for group in name.split("=")[:3]]
        if not any(groups):
            return b"null"
        return b"{%b}" % b",".join(
            [key + _text_json(group) for key, group in zip(_GROUPS, groups, strict=False) if group]
        )

    def decode(raw: bytes, context: Context) -> Element:
        raw = raw.rstrip(b" \0")
        if not raw:
            return empty
        if _plain(raw) and b"=" not in raw:
            return Element("PN", b'%b{"Alphabetic":"%b"}]}' % (prefix, raw), (raw.decode("ascii"),))
        names = [name.rstrip(" \0") for name in _read_text(raw, context, "PN").split("\\")]
        values = tuple([name or None for name in names])
        return Element("PN", _list_json(prefix, [group_json(name) for name in names]), values)

    return decode


def _number_text_decoder(vr: str) -> Decoder:
    prefix = b'{"vr":"%b","Value":[' % vr.encode()
    empty = empty_element(vr)

    def decode(raw: bytes, context: Context) -> Element:
        raw = raw.strip(b" \0")
        if not raw:
            return empty
        if _plain_numbers(raw):
            values: tuple[str | None, ...] = tuple(raw.decode("ascii").split("\\"))
            return _new(Element, (vr, b"%b%b]}" % (prefix, raw.replace(b"\\", b",")), values, False))
        values = tuple([part.strip(" \0") or None for part in _read_text(raw, context, vr).split("\\")])
        return Element(vr, _list_json(prefix, [number_json(value, context) for value in values]), values)

    def number_json(value: str | None, context: Context) -> bytes:
        if value is None:
            return b"null"
        number = number_text(value)
        if number is None:
            context.remark("not_a_number")
            return _text_json(value)
        return number.encode("ascii")

    return decode


def _number_decoder(vr: str, order: str) -> Decoder:
    prefix = b'{"vr":"%b","Value":' % vr.encode()
    empty = empty_element(vr)
    size, letter = NUMBER_VRS[vr]
    is_float = vr in ("FL", "FD")
    unpack_one = struct.Struct(order + letter).unpack

    def decode(raw: bytes, context: Context) -> Element | None:
        if len(raw) == size:
            values = unpack_one(raw)
        else:
            if len(raw) % size:
                context.remark("value_length_odd")
                raw = raw[: len(raw) // size * size]
            if not raw:
                return empty
            values = struct.unpack(f"{order}{len(raw) // size}{letter}", raw)
        if is_float and not all(map(isfinite, values)):
            # JSON has no NaN and no infinity; FL and FD may be bulk (PS3.18 F.2.2).
            return None
        return _new(Element, (vr, b"%b%b}" % (prefix, orjson.dumps(values)), values, False))

    return decode


def _tag_decoder(order: str) -> Decoder:
    empty = empty_element("AT")

    def decode(raw: bytes, context: Context) -> Element:
        if len(raw) % 4:
            context.remark("value_length_odd")
        count = len(raw) // 4
        if not count:
            return empty
        numbers = struct.unpack(f"{order}{count * 2}H", raw[: count * 4])
        values = tuple([f"{numbers[i]:04X}{numbers[i + 1]:04X}" for i in range(0, count * 2, 2)])
        return Element("AT", _list_json(b'{"vr":"AT","Value":[', [b'"%b"' % v.encode() for v in values]), values)

    return decode


def _binary_decoder(vr: str, order: str) -> Decoder:
    prefix = b'{"vr":"%b","InlineBinary":"' % vr.encode()
    empty = empty_element(vr)
    word = WORD_BYTES.get(vr, 1) if order == ">" else 1

    def decode(raw: bytes, context: Context) -> Element:
        if not raw:
            return empty
        if word > 1:
            raw = swap_words(raw, word)
        return Element(vr, b'%b%b"}' % (prefix, b2a_base64(raw, newline=False)))

    return decode


def swap_words(raw: bytes, word: int) -> bytes:
    """Turn big endian words into little endian ones (PS3.5 7.3); an incomplete last word stays as it is."""
    whole = len(raw) // word * word
    words = array({2: "H", 4: "I", 8: "Q"}[word], raw[:whole])
    words.byteswap()
    return words.tobytes() + raw[whole:]


def _decoders(order: str) -> dict[str, Decoder]:
    table = {vr: _text_decoder(vr, separated=True) for vr in _SEPARATED}
    table |= {vr: _text_decoder(vr, separated=False) for vr in _WHOLE}
    table |= {vr: _number_text_decoder(vr) for vr in ("DS", "IS")}
    table |= {vr: _number_decoder(vr, order) for vr in NUMBER_VRS}
    table |= {vr: _binary_decoder(vr, order) for vr in BINARY_VRS}
    return table | {"PN": _name_decoder(), "AT": _tag_decoder(order)}


LITTLE_ENDIAN_DECODERS = _decoders("<")
BIG_ENDIAN_DECODERS = _decoders(">")
