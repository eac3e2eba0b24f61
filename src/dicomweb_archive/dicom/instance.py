"""What the scanner says of one instance: attributes, identifiers, and where pixels and bulk values lie."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

BULK_MARKER = "\x1a"
"""Stands in `Element.json` for the URL of the instance's bulkdata: `{"BulkDataURI":"<marker>7FE00010","vr":"OW"}`.

A raw control character cannot come from a value, because strict JSON text escapes it. What follows the marker
is the path of the element: tags as eight upper-case hex digits, with item numbers from 0 between them
(`00081140/0/7FE00010`). Whoever sends metadata puts `<service root>/studies/../instances/../bulkdata/` for it.
"""


MOST_ODD_ATTRIBUTES = 100
"""Oddities that are remembered with their attributes; of thousands the first tell enough."""


class Element(NamedTuple):
    """One element of a data set.

    Attributes:
        vr: value representation, two letters; the one of the data dictionary for Implicit VR.
        json: its attribute object in the DICOM JSON model (PS3.18 F.2.2) as UTF-8 text on one line, without
            raw control characters save `BULK_MARKER`, e.g. `{"vr":"CS","Value":["ORIGINAL","PRIMARY"]}`.
        values: what can be matched, one entry a value, `None` for an empty one among several; `()` when empty
            or binary. Text VRs, DA, TM, DT, AS, UI, IS, DS, PN: `str` with padding stripped, otherwise as sent
            (PN with `^` and `=`); AT: eight hex digits; binary numbers: `int` or `float`; SQ: the items.
        is_bulk: the value is in the file only (json holds a BulkDataURI).
    """

    vr: str
    json: bytes
    values: tuple["Value", ...] = ()
    is_bulk: bool = False


Attributes: TypeAlias = Mapping[int, Element]
"""Elements by tag, in ascending order; no group 0002, no group lengths."""

Value: TypeAlias = str | int | float | Attributes | None


class BulkValue(NamedTuple):
    """Where a value lies that metadata refers to by BulkDataURI.

    `offset` counts from the first byte of the Part 10 file, or of the inflated data set's stream counted as if it
    lay uncompressed behind the file meta information when the transfer syntax is deflated.
    """

    path: str
    vr: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class PixelData:
    """Where the pixel data of an instance lie (PS3.5 8.2, A.4).

    Attributes:
        tag: 7FE00010, 7FE00008 or 7FE00009.
        vr: as stored.
        offset: first byte of the value (native), or of the first item, the Basic Offset Table (encapsulated).
        length: value length in bytes; for encapsulated up to and without the sequence delimiter.
        encapsulated: the value is a sequence of fragments.
        fragments: (offset, length) in the file of each fragment's bytes, without the offset table's item.
        basic_offset_table: its entries as stored; without any, where images begin when frames have several fragments.
        extended_offset_table: (7FE0,0001) with (7FE0,0002) as (offset, length) pairs; empty when absent.
    """

    tag: int
    vr: str
    offset: int
    length: int
    encapsulated: bool = False
    fragments: tuple[tuple[int, int], ...] = ()
    basic_offset_table: tuple[int, ...] = ()
    extended_offset_table: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class ScannedInstance:
    """One instance as the scanner read it.

    `base` is the first instance of a segment, shared by reference with the further ones and never changed;
    `delta` is what differs from it: an element, or `None` where this instance lacks what the base has.
    A fully decoded instance has its own `base` and an empty `delta`.

    Attributes:
        size_bytes: length of the whole Part 10 stream.
        remarks: short codes of oddities that were tolerated (`meta_uid_differs`, `odd_length`, `value_truncated`
            ...), never values.
        odd_attributes: which attributes of the data set the codes are about, each with its code; of many the first.
        preamble_neutralised: the 128-byte preamble must be written as zeros (architecture: polyglots).
    """

    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    size_bytes: int
    base: Attributes
    delta: Mapping[int, Element | None] = field(default_factory=dict)
    pixel_data: PixelData | None = None
    bulk: tuple[BulkValue, ...] = ()
    remarks: tuple[str, ...] = ()
    odd_attributes: tuple[tuple[int, str], ...] = ()
    preamble_neutralised: bool = False

    def attributes(self) -> dict[int, Element]:
        """Merge base and delta into the instance's own attributes, ascending by tag."""
        if not self.delta:
            return dict(self.base)
        merged = {tag: element for tag, element in self.base.items() if tag not in self.delta}
        merged.update((tag, element) for tag, element in self.delta.items() if element is not None)
        return dict(sorted(merged.items()))
