"""Raw walk: the further instances of a series, read by what differs from the first (PS3.5 7.1).

Most elements of a series repeat byte for byte. The template keeps the first instance's elements as bytes; runs
of elements that were equal so far are compared in one go, and only what differs is decoded. Equal bytes at an
element boundary are equal elements, so every rule that the full scan held on the first instance (order,
duplicates, lengths, nesting) holds again; whatever differs goes through the same decoders and parser. Anything
that the walk is not made for is left to the full scan.
"""

import struct
from collections.abc import Mapping
from dataclasses import replace

from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.character_sets import character_set
from dicomweb_archive.dicom.data_set import DataSetParser
from dicomweb_archive.dicom.element_heads import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Head, Special
from dicomweb_archive.dicom.encapsulated import FragmentReader
from dicomweb_archive.dicom.file_meta import PREFIX_END, FileMeta, must_neutralise
from dicomweb_archive.dicom.instance import (
    MOST_ODD_ATTRIBUTES,
    Attributes,
    BulkValue,
    Element,
    PixelData,
    ScannedInstance,
)
from dicomweb_archive.dicom.levels import UNBOUNDED, element_cache, keep_element
from dicomweb_archive.dicom.limits import DEFAULT_LIMITS, ScanLimits
from dicomweb_archive.dicom.part10 import (
    DEFLATED_SYNTAXES,
    IDENTIFIERS,
    Identity,
    check_identity,
    encoding_of,
    read_uid,
)
from dicomweb_archive.dicom.raw_elements import (
    Slot,
    Step,
    Unwalkable,
    Walk,
    extent_at,
    head_at,
    meta_text,
    shapes_others,
)
from dicomweb_archive.dicom.values import BINARY_VRS, BULK_VRS
from dicomweb_archive.errors import InvalidInstanceError

_UNDEFINED = b"\xff\xff\xff\xff"
_META_GROUP_LENGTH = 0x00020000
_META_SOP_CLASS = 0x00020002
_META_SOP_INSTANCE = 0x00020003
# Remarks that are said of a whole instance, not of an element.
_WHOLE_REMARKS = {"meta_uid_differs", "meta_class_differs", "uid_leading_zero", "preamble_neutralised"}
# Instances whose form as a whole is odd: the full scan is the one that knows how.
_UNUSUAL = {"encoding_not_as_declared", "out_of_order", "trailing_zeros", "unknown_vr"}
# Walks happen on the event loop, and the full parser is given what comes before each element that it reads: seven
# thousand others (56 KB) took six seconds, of a full scan 6 ms. Two bytes of a sequence take as long as one of those.
_MOST_PARSED = 50_000
_PARSED_BYTES = 2


class SeriesTemplate:
    """The first instance of a segment, ready to read the others by their differences.

    Cost: building it about one full scan, so build it when a second instance comes.

    Args:
        data: the Part 10 file of the first instance.
        first: what the full scan gave for it.
        limits: those of that scan.
    """

    def __init__(self, data: bytes, first: ScannedInstance, limits: ScanLimits = DEFAULT_LIMITS) -> None:
        self._first = first
        self._base = first.base
        self._limits = limits
        self._slots: list[Slot] = []
        self._steps: list[Step] = []
        self._varying: set[int] = {_META_GROUP_LENGTH, _META_SOP_INSTANCE, tags.SOP_INSTANCE_UID}
        self._meta_class = self._meta_uid = ""
        self._preamble = data[:128]
        terms = first.base.get(tags.SPECIFIC_CHARACTER_SET)
        self._charset = character_set(tuple(v for v in terms.values if not isinstance(v, Mapping)) if terms else ())
        self._remarks: dict[int, set[tuple[int, str]]] = {}
        try:
            self._build(bytes(data))
        except Unwalkable:
            self._slots = []
        self._plan()

    def walk(self, data: bytes) -> ScannedInstance | None:
        """Read a further instance; equal in outcome to its full scan expressed against the template's base.

        Returns `None` when the full scan must decide: another encoding, study, series, character set or
        layout than the walk knows, or anything that is not sound.
        """
        if not self._slots or data[128:132] != b"DICM":
            return None
        try:
            walk = self._walk_steps(data) or self._walk_slots(data)
            return self._result(data, walk)
        except (Unwalkable, InvalidInstanceError, struct.error):
            return None

    # -- building ---------------------------------------------------------------------------------------

    def _build(self, data: bytes) -> None:
        first = self._first
        if first.delta or _UNUSUAL & set(first.remarks) or first.transfer_syntax_uid in DEFLATED_SYNTAXES:
            raise Unwalkable
        if encoding_of(first.transfer_syntax_uid) in (IMPLICIT_LITTLE, EXPLICIT_BIG):
            raise Unwalkable
        pos = PREFIX_END
        while pos < len(data):
            stop, slot = self._read_slot(data, pos)
            self._slots.append(slot)
            pos = stop
        if set(first.remarks) - _WHOLE_REMARKS:
            self._read_remarks(data)

    def _read_slot(self, data: bytes, pos: int) -> tuple[int, Slot]:
        head = head_at(data, pos)
        tag = head.tag
        if head.special in (Special.OFFSET_TABLE, Special.PADDING, Special.STRANGE_VR):
            raise Unwalkable
        start, stop = extent_at(data, pos, head)
        if tag >> 16 == 2:
            return stop, self._meta_slot(data, pos, start, stop, head)
        if head.special == Special.PIXELS:
            element = self._base[tag]
            if not element.is_bulk:
                raise Unwalkable
            pixels = self._first.pixel_data
            stop = self._pixels_stop(data, tag, start, stop, pixels)
            return stop, Slot(tag, data[pos : pos + 6], head, b"", UNBOUNDED, ())
        vr = self._base[tag].vr if tag in self._base else head.vr
        above = self._limits.bulk_threshold if vr in BINARY_VRS else self._limits.value_bytes
        if vr not in BULK_VRS:
            above = UNBOUNDED
        prefix = tags.format_tag(tag)
        bulk = tuple(
            [found._replace(offset=found.offset - pos) for found in self._first.bulk if found.path[:8] == prefix]
        )
        raw = b"" if stop - start > above else data[pos:stop]
        is_plain = not head.length_at and not head.special and not bulk and not shapes_others(tag)
        return stop, Slot(tag, data[pos : pos + 6], head, raw, above, bulk, is_plain)

    def _meta_slot(self, data: bytes, pos: int, start: int, stop: int, head: Head) -> Slot:
        if head.tag == _META_SOP_CLASS:
            self._meta_class = meta_text(data[start:stop])
        if head.tag == _META_SOP_INSTANCE:
            self._meta_uid = meta_text(data[start:stop])
        return Slot(head.tag, data[pos : pos + 6], head, data[pos:stop], UNBOUNDED, ())

    def _pixels_stop(self, data: bytes, tag: int, start: int, stop: int, pixels: PixelData | None) -> int:
        if pixels is None or pixels.tag != tag:
            raise Unwalkable
        return pixels.offset + pixels.length + 8 if pixels.encapsulated else stop

    def _read_remarks(self, data: bytes) -> None:
        """Learn which element each remark is about, so that it stays with the element."""
        start = next(pos for pos, slot in self._positions() if slot.tag >> 16 != 2)
        parser = DataSetParser(self._limits, heads=EXPLICIT_LITTLE)
        parser.run(data, 0, start)
        for tag, code in parser.remarks:
            self._remarks.setdefault(tag, set()).add((tag, code))

    def _positions(self) -> list[tuple[int, Slot]]:
        positions, pos = [], PREFIX_END
        for slot in self._slots:
            positions.append((pos, slot))
            pos += len(slot.raw)
        return positions

    def _plan(self) -> None:
        """Join the slots that never differed into blocks."""
        steps: list[Step] = []
        block, bulk = b"", []
        for slot in self._slots:
            if slot.raw and slot.tag not in self._varying:
                bulk += [found._replace(offset=found.offset + len(block)) for found in slot.bulk]
                block += slot.raw
                continue
            if block:
                steps.append(Step(block, tuple(bulk), None))
            block, bulk = b"", []
            steps.append(Step(b"", (), slot))
        if block:
            steps.append(Step(block, tuple(bulk), None))
        self._steps = steps

    # -- walking ----------------------------------------------------------------------------------------

    def _walk_steps(self, data: bytes) -> Walk | None:  # noqa: C901 - hot path
        """Hot path: one comparison a block, one decoding an element that differs (benchmarks/scanner).

        `None` when the layout is another, or an element differs that never did.
        """
        walk = Walk(self._charset, self._meta_uid)
        starts_with, delta, changed = data.startswith, walk.delta, walk.changed
        cache = element_cache(EXPLICIT_LITTLE, self._charset)
        known = cache.get
        base, size, most, pos = self._base.get, len(data), self._limits.bulk_threshold, PREFIX_END
        for block, bulk, slot in self._steps:
            if slot is None:
                if not starts_with(block, pos):
                    return None
                if bulk:
                    walk.bulk += [found._replace(offset=found.offset + pos) for found in bulk]
                pos += len(block)
                continue
            tag, key, head, raw, _, own_bulk, is_plain = slot
            if raw and not own_bulk and starts_with(raw, pos):
                pos += len(raw)
                continue
            if pos + 8 > size or not starts_with(key, pos):
                return None
            if is_plain:
                length = data[pos + 6] | data[pos + 7] << 8
                stop = pos + 8 + length
                if length <= most and not length & 1 and stop <= size:
                    raw = data[pos:stop]
                    element = known(raw)
                    if element is None:
                        walk.tag = tag
                        element = head.decode(raw[8:], walk)
                        if element is not None and not walk.remarks:
                            keep_element(cache, raw, element)
                    if element is not None:
                        if element != base(tag):
                            delta[tag] = element
                        changed.add(tag)
                        pos = stop
                        continue
            walk.pos = pos
            self._take(data, walk, slot)
            pos = walk.pos
        return walk if pos == size else None

    def _walk_slots(self, data: bytes) -> Walk:
        """Walk element by element, with elements that only one of the two has, and learn what differs."""
        walk = Walk(self._charset, self._meta_uid)
        size, last = len(data), 0
        for slot in self._slots:
            while walk.pos < size and data[walk.pos : walk.pos + 6] != slot.key:
                head = head_at(data, walk.pos)
                if head.tag > slot.tag:
                    break
                if head.tag == slot.tag or head.tag <= last or shapes_others(head.tag):
                    raise Unwalkable
                last = head.tag
                self._take_other(data, walk, head)
            if data[walk.pos : walk.pos + 6] == slot.key:
                self._take(data, walk, slot)
                last = slot.tag
            elif shapes_others(slot.tag):
                raise Unwalkable
            else:
                walk.changed.add(slot.tag)
                if slot.tag in self._base:
                    walk.delta[slot.tag] = None
        if walk.pos != size:
            raise Unwalkable
        fresh = {tag for tag in walk.changed if tag not in self._varying}
        if fresh:
            self._varying |= fresh
            self._plan()
        return walk

    def _take(self, data: bytes, walk: Walk, slot: Slot) -> None:
        """Read an element that the first instance has with the same VR."""
        pos, head, tag = walk.pos, slot.head, slot.tag
        if head.special == Special.PIXELS:
            self._take_pixels(data, walk, slot)
            return
        start, stop = extent_at(data, pos, head)
        if stop > len(data):
            raise Unwalkable
        if stop - start > slot.refers_above and not slot.raw:
            walk.bulk += [found._replace(offset=start, length=stop - start) for found in slot.bulk]
        elif slot.raw and data[pos:stop] == slot.raw:
            walk.bulk += [found._replace(offset=found.offset + pos) for found in slot.bulk]
        else:
            if tag >> 16 == 2:
                self._take_meta(walk, tag, data[start:stop])
            elif shapes_others(tag):
                raise Unwalkable
            elif head.special or stop - start > self._limits.bulk_threshold:
                self._parse(data, walk, head, stop)
            else:
                walk.tag = tag
                element = head.decode(data[start:stop], walk)
                if element is None or (stop - start) & 1:
                    self._parse(data, walk, head, stop)
                elif element != self._base.get(tag):
                    walk.delta[tag] = element
            walk.changed.add(tag)
        walk.pos = stop

    def _take_meta(self, walk: Walk, tag: int, value: bytes) -> None:
        """Of File Meta Information only the SOP Instance UID and the group length may differ."""
        if tag == _META_SOP_INSTANCE:
            walk.meta_uid = meta_text(value)
        elif tag != _META_GROUP_LENGTH:
            raise Unwalkable

    def _take_other(self, data: bytes, walk: Walk, head: Head) -> None:
        """Read an element that the first instance lacks."""
        _, stop = extent_at(data, walk.pos, head)
        if stop > len(data) or head.special in (Special.PIXELS, Special.OFFSET_TABLE):
            raise Unwalkable
        self._parse(data, walk, head, stop)
        walk.pos = stop

    def _parse(self, data: bytes, walk: Walk, head: Head, stop: int) -> None:
        """Read one element by the full parser, among the elements that come before it."""
        walk.parsed += len(self._base) + len(walk.delta) + (stop - walk.pos) // _PARSED_BYTES
        if walk.parsed > _MOST_PARSED:
            raise Unwalkable
        parser = DataSetParser(self._limits, heads=EXPLICIT_LITTLE, charset=self._charset)
        before = {tag: element for tag, element in self._base.items() if tag < head.tag}
        before.update({tag: element for tag, element in walk.delta.items() if element is not None})
        parser.elements = {tag: element for tag, element in before.items() if walk.delta.get(tag, element)}
        parser.run(data[walk.pos : stop], walk.pos)
        parser.finish(stop, b"" if parser.is_between_elements else None)
        walk.bulk += parser.bulk
        walk.remarks |= parser.remarks
        element = parser.elements.get(head.tag)
        if element != self._base.get(head.tag):
            walk.delta[head.tag] = element

    def _take_pixels(self, data: bytes, walk: Walk, slot: Slot) -> None:
        first = self._first.pixel_data
        start, stop = extent_at(data, walk.pos, slot.head)
        is_encapsulated = slot.head.length_at == 8 and data[start - 4 : start] == _UNDEFINED
        if first is None or (stop == start and not is_encapsulated):
            raise Unwalkable
        if is_encapsulated:
            reader = FragmentReader(start, UNBOUNDED, self._limits)
            reader.run(data, 0)
            if not reader.is_done:
                raise Unwalkable
            found = PixelData(
                first.tag,
                first.vr,
                start,
                reader.length,
                encapsulated=True,
                fragments=tuple(reader.fragments),
                basic_offset_table=reader.basic_offset_table,
            )
            walk.pos = reader.stop
        else:
            found = PixelData(first.tag, first.vr, start, stop - start)
            walk.pos = stop
        if walk.pos > len(data):
            raise Unwalkable
        walk.pixel_data = found
        walk.bulk.append(BulkValue(tags.format_tag(first.tag), first.vr, start, found.length))

    # -- result -----------------------------------------------------------------------------------------

    def _result(self, data: bytes, walk: Walk) -> ScannedInstance:
        first, delta = self._first, walk.delta
        uids = [first.sop_class_uid, first.sop_instance_uid, first.study_instance_uid, first.series_instance_uid]
        for i, (tag, name) in enumerate(IDENTIFIERS):
            if tag in delta:
                uids[i] = read_uid(delta[tag], name)
        identity = Identity(*uids)
        if identity[2:] != (first.study_instance_uid, first.series_instance_uid):
            raise Unwalkable
        meta = FileMeta(first.transfer_syntax_uid, self._meta_class, walk.meta_uid, 0)
        odd = walk.remarks
        for tag, found in self._remarks.items():
            if tag not in walk.changed:
                odd |= found
        remarks = {code for _, code in odd} if odd else set()
        remarks.update(check_identity(identity, meta))
        neutralise = first.preamble_neutralised
        if data[:128] != self._preamble:
            neutralise = must_neutralise(data[:128])
        if neutralise:
            remarks.add("preamble_neutralised")
        return ScannedInstance(
            transfer_syntax_uid=first.transfer_syntax_uid,
            sop_class_uid=identity.sop_class_uid,
            sop_instance_uid=identity.sop_instance_uid,
            study_instance_uid=identity.study_instance_uid,
            series_instance_uid=identity.series_instance_uid,
            size_bytes=len(data),
            base=self._base,
            delta=delta,
            pixel_data=walk.pixel_data,
            bulk=tuple(walk.bulk),
            remarks=tuple(sorted(remarks)) if remarks else (),
            odd_attributes=tuple(sorted(odd)[:MOST_ODD_ATTRIBUTES]) if odd else (),
            preamble_neutralised=neutralise,
        )


def delta_against(base: Attributes, other: ScannedInstance) -> ScannedInstance:
    """Express a fully scanned instance as what differs from another one's attributes."""
    own = other.attributes() if other.delta else other.base
    delta: dict[int, Element | None] = {tag: None for tag in base if tag not in own}
    delta.update({tag: element for tag, element in own.items() if base.get(tag) != element})
    return replace(other, base=base, delta=delta)
