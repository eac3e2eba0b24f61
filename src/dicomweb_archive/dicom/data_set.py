"""Data set parser: elements, sequences and items from a stream in pieces (PS3.5 7), without recursion.

The parser is fed contiguous bytes and goes as far as they reach; what it has not used it wants again in front
of the next piece. Offsets are absolute: they count from the start of the stream.
"""

import struct

from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.character_sets import DEFAULT, CharacterSet, character_set
from dicomweb_archive.dicom.element_heads import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    Head,
    Heads,
    Special,
)
from dicomweb_archive.dicom.encapsulated import FragmentReader
from dicomweb_archive.dicom.instance import BulkValue, Element, PixelData
from dicomweb_archive.dicom.json_model import (
    BIG_ENDIAN_DECODERS,
    LITTLE_ENDIAN_DECODERS,
    character_set_element,
    empty_element,
    referred_element,
)
from dicomweb_archive.dicom.levels import UNBOUNDED, UNDEFINED_LENGTH, Levels, State, element_cache, keep_element
from dicomweb_archive.dicom.limits import ScanLimits
from dicomweb_archive.dicom.status import TRUNCATED
from dicomweb_archive.dicom.values import BINARY_VRS, BULK_VRS
from dicomweb_archive.errors import InvalidInstanceError


class DataSetParser(Levels):
    """Reads one data set of an explicit or implicit encoding.

    Attributes:
        bulk: values that are located and not held.
        pixel_data: those of the data set itself.
    """

    def __init__(
        self,
        limits: ScanLimits,
        *,
        heads: Heads = EXPLICIT_LITTLE,
        charset: CharacterSet = DEFAULT,
        end: int = UNBOUNDED,
        detect: bool = False,
    ) -> None:
        super().__init__(limits, heads=heads, charset=charset, end=end)
        self.bulk: list[BulkValue] = []
        self.pixel_data: PixelData | None = None
        self._decoders = BIG_ENDIAN_DECODERS if self._big_endian else LITTLE_ENDIAN_DECODERS
        self._u32 = struct.Struct(">I" if self._big_endian else "<I").unpack_from
        self._fragments: FragmentReader | None = None
        self._fragments_head: tuple[int, str] = (0, "OB")
        self._offset_tables: dict[int, tuple[int, ...]] = {}
        self._is_inner = False
        self._detect = detect and not self._big_endian

    def run(self, data: bytes, base: int, pos: int = 0) -> int:
        """Go on at `pos` of `data`, whose first byte lies at `base` in the stream.

        Returns the position of the first byte not used, beyond `len(data)` when bytes can be passed over
        unseen. Bytes before the last position of a run need not be kept.

        Raises:
            InvalidInstanceError: the structure is broken, or beyond the limits.
        """
        if self._detect and not self._detect_encoding(data, base, pos):
            return pos
        self._starved = False
        while not self._starved:
            if self._state is State.ELEMENTS:
                pos = self._read_elements(data, base, pos)
            elif self._state is State.ITEMS:
                pos = self._read_item(data, base, pos)
            elif self._state is State.FRAGMENTS:
                pos = self._read_fragments(data, base)
            else:
                return self._read_zeros(data, base, pos)
        return pos

    def _detect_encoding(self, data: bytes, base: int, pos: int) -> bool:
        """Follow the encoding that the first element shows where the transfer syntax lies (PS3.5 7.1).

        Seen in practice: compressed images whose data set was left in Implicit VR. A length that reads as a
        value representation would be over 16 KB, which the first element of a data set never has.
        """
        if len(data) - pos < 6:
            self.need = base + pos + 6
            return False
        self._detect = False
        shown = data[pos + 4 : pos + 6].decode("latin_1")
        heads = EXPLICIT_LITTLE if shown.isalpha() and shown.isupper() else IMPLICIT_LITTLE
        if heads is not self._heads:
            self.remark("encoding_not_as_declared")
            self._heads, self._cache = heads, element_cache(heads, self.charset)
        return True

    def finish(self, size: int, rest: bytes | None) -> None:
        """Check that nothing is missing when the stream of `size` bytes ends, with `rest` not used.

        `None` says that even bytes to be passed over are missing.

        Raises:
            InvalidInstanceError: it ends inside an element, item, sequence or encapsulated value.
        """
        if rest and self.pixel_data is not None and not rest.strip(b"\0"):
            self.remark("trailing_zeros")
            rest = b""
        if self._stack or self._state is State.FRAGMENTS or rest != b"":
            raise InvalidInstanceError("the data set ends too early", failure=TRUNCATED, offset=size)
        self._check_count(0)
        self._check_held(size)
        if self._disordered:
            self.elements = dict(sorted(self.elements.items()))

    # -- elements ---------------------------------------------------------------------------------------

    def _read_elements(self, data: bytes, base: int, pos: int) -> int:
        """Read elements of one level until it ends, the bytes end, or another state takes over.

        Hot path: everything usual is decided by one look-up of the first bytes and one of the whole element
        (benchmarks/scanner).
        """
        elements, last, known = self.elements, self._last, self._cache.get
        find_head, u32, most = self._heads.known.get, self._u32, self._limits.bulk_threshold
        size, end = len(data), self._end - base
        bound = min(size, end)
        while pos < end:
            if pos + 12 > size and not self._has_head(data, base, pos):
                break
            head = find_head(data[pos : pos + 8]) or self._read_head(data, base, pos)
            tag, extent, special, _, _, _ = head
            if not extent:
                extent = 12 + u32(data, pos + 8)[0]
            stop = pos + extent
            if special or extent > most or tag <= last or stop > bound:
                self._last = last
                pos = self._read_unusual(data, base, pos, head, extent)
                if self._starved or self._state is not State.ELEMENTS:
                    return pos
                last, known = self._last, self._cache.get
                continue
            raw = data[pos:stop]
            element = known(raw)
            if element is None:
                value = raw[12:] if head.length_at == 8 else raw[8:]
                element = self._decode(head, value, raw, base + stop - len(value))
            elements[tag] = element
            last = tag
            pos = stop
        self._last = last
        if pos >= end:
            self._end_item(base + pos)
        return pos

    def _has_head(self, data: bytes, base: int, pos: int) -> bool:
        """Tell whether the bytes hold the tag, VR and length of the next element."""
        available = len(data) - pos
        wanted = 8
        if available >= 8:
            head = self._heads.known.get(data[pos : pos + 8]) or self._read_head(data, base, pos)
            if head.length_at != 8:
                return True
            wanted = 12
        self.need = base + pos + wanted
        self._starved = True
        return False

    def _read_head(self, data: bytes, base: int, pos: int) -> Head:
        if self._is_padding(data, pos):
            return Head(0, 8, Special.FORBIDDEN, "", 4, self._decoders["UN"])
        try:
            return self._heads.read(data, pos)
        except InvalidInstanceError as error:
            raise InvalidInstanceError(error.reason, failure=error.failure, offset=base + pos) from None

    def _is_padding(self, data: bytes, pos: int) -> bool:
        return not self._stack and self.pixel_data is not None and data[pos : pos + 8] == bytes(8)

    def _decode(self, head: Head, value: bytes, raw: bytes, offset: int) -> Element:
        """Decode an element; it is kept for the next one with the same bytes when nothing is odd about it."""
        if offset - self._passed_over > self._most_held or len(self.elements) > self._elements_left:
            self._check_held(offset)
            self._check_count(0)
        self._tag = head.tag
        self._remarked = False
        if len(value) & 1:
            self.remark("odd_length")
        element = head.decode(value, self)
        if element is None:
            self.remark("not_finite")
            return self._refer(head.tag, head.vr, offset, len(value))
        if raw and not self._remarked:
            keep_element(self._cache, raw, element)
        return element

    def _read_unusual(self, data: bytes, base: int, pos: int, head: Head, extent: int) -> int:
        """Read an element that is not simply decoded: structure, limits, values that are not held."""
        tag, special = head.tag, head.special
        start = pos + (12 if head.length_at == 8 else 8)
        length = pos + extent - start
        self._tag = tag
        if special == Special.FORBIDDEN and self._is_padding(data, pos):
            self._state = State.ZEROS
            return pos
        if special in (Special.DELIMITER, Special.FORBIDDEN):
            return self._end_undefined_item(base, pos, head, length)
        self._check_order(tag, base + pos)
        if length == UNDEFINED_LENGTH and head.length_at:
            pos = self._open_undefined(base, head, start)
        else:
            if start + length > self._end - base:
                self._break("an element reaches beyond its item", base + pos)
            pos = self._read_defined(data, base, pos, head, start, length)
            if self._starved:
                return pos
        self._last = max(tag, self._last) if self._state is State.ELEMENTS else self._last
        return pos

    def _check_order(self, tag: int, offset: int) -> None:
        if tag > self._last:
            return
        if tag in self.elements:
            # Two readings of one instance are how one system shows what another hid.
            self._break("an element occurs twice", offset)
        if not self._disordered:
            self._disordered = True
            self.remark("out_of_order")

    def _read_defined(self, data: bytes, base: int, pos: int, head: Head, start: int, length: int) -> int:
        """Read an element of defined length that is special or large, or not whole yet."""
        special, stop = head.special, start + length
        if special == Special.SEQUENCE:
            self._open_sequence(head.tag, base + start, length)
            return start
        vr = self._resolve(head, length)
        if special in (Special.PIXELS, Special.PADDING) and not self._stack:
            return self._locate_top(head.tag, vr, base, start, length)
        is_table = special == Special.OFFSET_TABLE and not self._stack
        if is_table and length > 8 * self._limits.fragments:
            self._exceed("Extended Offset Table too long", base + pos)
        threshold = self._limits.bulk_threshold if vr in BINARY_VRS else self._limits.value_bytes
        is_referred = length > threshold and vr in BULK_VRS and special != Special.CHARACTER_SET
        wanted = min(length, threshold)
        if is_table:
            wanted = length
        elif is_referred or special == Special.GROUP_LENGTH:
            wanted = 0
        if start + wanted > len(data):
            self.need = base + start + wanted
            self._starved = True
            return pos
        if special == Special.GROUP_LENGTH:
            return stop
        value = data[start : start + wanted]
        if is_table:
            self._offset_tables[head.tag] = struct.unpack_from(f"<{length // 8}Q", value)
        if is_referred:
            self.elements[head.tag] = self._refer(head.tag, vr, base + start, length)
        else:
            self._keep(head, vr, value, base + start, length)
        return stop

    def _keep(self, head: Head, vr: str, value: bytes, offset: int, length: int) -> None:
        """Decode a value that is held, cut to the limit when it is longer and no BulkDataURI may stand in."""
        if vr == "SQ":
            self.elements[head.tag] = self._parse_unknown_sequence(head, value, offset)
            return
        if vr != head.vr or head.special == Special.UNKNOWN:
            head = head._replace(vr=vr, decode=self._decoders[vr])
        element = self._decode(head, value, b"", offset)
        if len(value) < length:
            self._passed_over += length - len(value)
            self.remark("value_truncated")
        if head.special == Special.STRANGE_VR:
            self.remark("unknown_vr")
        if head.tag == tags.SPECIFIC_CHARACTER_SET:
            element = self._switch_charset(element)
        self.elements[head.tag] = element

    def _switch_charset(self, element: Element) -> Element:
        terms = tuple([value if isinstance(value, str) else None for value in element.values])
        self.charset = character_set(terms)
        if not self.charset.known:
            self.remark("unknown_character_set")
        self._cache = element_cache(self._heads, self.charset)
        return character_set_element(terms)

    def _resolve(self, head: Head, length: int) -> str:
        """Return the one VR of an element whose dictionary entry leaves a choice (PS3.5 A.1, PS3.6 6)."""
        vr = head.vr
        if head.special == Special.UNKNOWN:
            if length >= 0xFFFF and head.length_at == 8:
                # Only what could have been written in a short VR is taken back from UN, as pydicom does.
                return "UN"
            if vr == "UN":
                vr = self._private_vr(head.tag)
            if vr == "SQ" and (self._is_inner or length > self._limits.value_bytes):
                return "UN"
        if len(vr) == 2:
            return vr
        if vr == "US or SS":
            return "SS" if self._number(tags.PIXEL_REPRESENTATION) == 1 else "US"
        if vr == "US or OW":
            # A table of one entry is a number (PS3.3 C.11.1.1.1).
            return "US" if self._number(tags.LUT_DESCRIPTOR) == 1 else "OW"
        return "OW"

    def _private_vr(self, tag: int) -> str:
        """Look up a private element by the creator of its block (PS3.5 7.8.1); UN when it is not known."""
        creator = self.elements.get(tag & 0xFFFF0000 | tag >> 8 & 0xFF) if tags.is_private(tag) else None
        if creator is None or len(creator.values) != 1 or self._big_endian:
            return "UN"
        vr = tags.private_entry(tag, str(creator.values[0])) or "UN"
        return vr if vr == "SQ" or vr in self._decoders or " or " in vr else "UN"

    # -- bulk values and pixels -------------------------------------------------------------------------

    def _refer(self, tag: int, vr: str, offset: int, length: int) -> Element:
        path = self._path(tag)
        self.bulk.append(BulkValue(path, vr, offset, length))
        self._passed_over += length
        return referred_element(vr, path)

    def _locate_top(self, tag: int, vr: str, base: int, start: int, length: int) -> int:
        """Locate native pixel data; Data Set Trailing Padding has no meaning and is passed over (PS3.10 7.2)."""
        if tag == tags.DATA_SET_TRAILING_PADDING:
            self._passed_over += length
            return start + length
        if not length:
            self.elements[tag] = empty_element(vr)
            return start
        self.elements[tag] = self._refer(tag, vr, base + start, length)
        self._found_pixels(PixelData(tag, vr, base + start, length), base + start)
        return start + length

    def _found_pixels(self, pixel_data: PixelData, offset: int) -> None:
        if self.pixel_data is not None:
            self._break("two kinds of pixel data", offset)
        self.pixel_data = pixel_data

    def _read_fragments(self, data: bytes, base: int) -> int:
        reader = self._fragments
        assert reader is not None
        position = reader.run(data, base)
        if not reader.is_done:
            self.need = reader.need
            self._starved = True
            return position - base
        tag, vr = self._fragments_head
        if reader.stop > self._end:
            self._break("an element reaches beyond its item", reader.start)
        self.elements[tag] = self._refer(tag, vr, reader.start, reader.length)
        if not self._stack and tag == tags.PIXEL_DATA:
            self._found_pixels(self._encapsulated(reader, tag, vr), reader.start)
        self._last = max(tag, self._last)
        self._fragments = None
        self._state = State.ELEMENTS
        return position - base

    def _encapsulated(self, reader: FragmentReader, tag: int, vr: str) -> PixelData:
        offsets = self._offset_tables.get(tags.EXTENDED_OFFSET_TABLE, ())
        lengths = self._offset_tables.get(tags.EXTENDED_OFFSET_TABLE_LENGTHS, ())
        return PixelData(
            tag,
            vr,
            reader.start,
            reader.length,
            encapsulated=True,
            fragments=tuple(reader.fragments),
            basic_offset_table=reader.basic_offset_table,
            extended_offset_table=tuple(zip(offsets, lengths, strict=False)),
        )

    def _read_zeros(self, data: bytes, base: int, pos: int) -> int:
        """Pass over zeros behind the pixel data: some writers pad a file to a block size."""
        if data.count(0, pos) != len(data) - pos:
            self._break("bytes behind the data set", base + pos)
        self._tag = 0
        self._passed_over += len(data) - pos
        self.remark("trailing_zeros")
        self.need = base + len(data)
        return len(data)

    def _open_undefined(self, base: int, head: Head, start: int) -> int:
        """Begin an element of undefined length: a sequence or an encapsulated value (PS3.5 7.1, A.4)."""
        tag, vr = head.tag, head.vr
        if head.special == Special.UNKNOWN:
            # UN of undefined length is a sequence in Implicit VR Little Endian (PS3.5 6.2.2 Note 4).
            self._open_frame(tag, base + start, UNDEFINED_LENGTH)
            self._heads = IMPLICIT_LITTLE
            self._cache = element_cache(self._heads, self.charset)
            if self._big_endian:
                self._break("unknown value of undefined length in big endian", base + start)
        elif head.special == Special.SEQUENCE:
            self._open_frame(tag, base + start, UNDEFINED_LENGTH)
        elif head.special == Special.PIXELS or vr in ("OB", "OW"):
            # Encapsulated pixels are OB in effect (PS3.5 A.4), whatever an implicit writer's dictionary says.
            self._fragments_head = (tag, "OB" if len(vr) > 2 else vr)
            self._fragments = FragmentReader(base + start, self._end, self._limits)
            self._state = State.FRAGMENTS
        else:
            self._break("undefined length where a length must be given", base + start)
        return start

    def _parse_unknown_sequence(self, head: Head, value: bytes, offset: int) -> Element:
        """Read UN of defined length as the sequence that the dictionary says, in Implicit VR (CP-246).

        What cannot be read so stays the bytes that it is. This goes one level deep, never further: what is
        of this kind inside stays UN.
        """
        inner = DataSetParser(self._limits, heads=IMPLICIT_LITTLE, charset=self.charset)
        inner._is_inner = True
        inner._elements_left, inner._items_left = self._elements_left, self._items_left
        try:
            inner._open_sequence(head.tag, offset, len(value))
            position = inner.run(value, offset)
            inner.finish(len(value), value[position:])
        except InvalidInstanceError:
            self.remark("unknown_value_not_a_sequence")
            known = head._replace(vr="UN", decode=self._decoders["UN"])
            return self._decode(known, value, b"", offset)
        self._elements_left, self._items_left = inner._elements_left, inner._items_left
        prefix = self._path(head.tag).removesuffix(f"{head.tag:08X}")
        self.bulk.extend([found._replace(path=prefix + found.path) for found in inner.bulk])
        return inner.elements[head.tag]
