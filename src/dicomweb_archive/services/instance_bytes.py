"""Bytes of one instance: ranges, frames, bulk values and the whole, as stored or converted."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from dicomweb_archive.dicom.instance import BulkValue, PixelData
from dicomweb_archive.errors import DamagedObjectError, NotFoundError, UndecodableError
from dicomweb_archive.imaging.decode import DECODABLE_SYNTAXES
from dicomweb_archive.imaging.frames import fragment_bounds
from dicomweb_archive.imaging.native import (
    cut_native_frame,
    frame_is_plain,
    native_frame_range,
    pixel_word_bytes,
    swap_words,
    word_bytes,
)
from dicomweb_archive.imaging.pixel_format import PixelFormat, check_pixel_format
from dicomweb_archive.index.reading.instances import InstanceLocation
from dicomweb_archive.services.decode_worker import PICTURE_HEAD
from dicomweb_archive.services.decoding import DecodingPool, Payload, StoredPayload
from dicomweb_archive.services.fragments import MANY_FRAGMENTS, GatheredFragments
from dicomweb_archive.services.representation import Made, Part, slices
from dicomweb_archive.storage.base import Buffer, ObjectStore
from dicomweb_archive.storage.spans import MIB, Span, check_spans, stream_spans
from dicomweb_archive.wire.media_types import DICOM, EXPLICIT_VR_LITTLE_ENDIAN, OCTET_STREAM, Offer

_IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
_EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
_NATIVE_SYNTAXES = frozenset(
    {
        _IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_LITTLE_ENDIAN,
        _EXPLICIT_VR_BIG_ENDIAN,
        _DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    }
)
# Preamble, prefix and the group length element that says where the file meta information ends (PS3.10 7.1).
_META_HEAD_BYTES = 144


def can_convert(location: InstanceLocation) -> bool:
    """Whether the instance can be had in Explicit VR Little Endian, as far as its transfer syntax tells."""
    syntax = location.transfer_syntax_uid
    if syntax in _NATIVE_SYNTAXES:
        return True
    return syntax in DECODABLE_SYNTAXES or not (location.pixel_data and location.pixel_data.encapsulated)


def pixels_of(location: InstanceLocation) -> tuple[PixelData, PixelFormat]:
    """Return where and how the pixels lie.

    Raises:
        NotFoundError: the instance has no pixel data.
    """
    if location.pixel_data is None or location.pixel_format is None:
        message = "this instance has no pixel data"
        raise NotFoundError(message)
    return location.pixel_data, location.pixel_format


def span_of(location: InstanceLocation, offset: int = 0, length: int | None = None) -> Span:
    """Return where a range of the instance's file lies in its object."""
    size = location.byte_length if length is None else length
    return Span(location.object_key, location.byte_offset + offset, size)


def frame_ranges(location: InstanceLocation, numbers: Sequence[int]) -> list[tuple[tuple[int, int], ...]]:
    """Find the stored fragments, as (offset in the file, length), of encapsulated frames, counted from 1.

    Raises:
        UndecodableError: they cannot be told apart.
    """
    stored, pixels = pixels_of(location)
    bounds = fragment_bounds(stored, pixels.number_of_frames)
    return [stored.fragments[bounds[number - 1] : bounds[number]] for number in numbers]


@dataclass(frozen=True, slots=True)
class InstanceBytes:
    """Reads and converts the bytes of instances; holds at most one frame or one converted instance a call."""

    store: ObjectStore
    decoding: DecodingPool

    def frame_part(self, location: InstanceLocation, number: int, content_type: str, url: str) -> Part:
        """Describe one uncompressed frame: as it lies in the store where that is what is to be sent.

        Raises:
            UndecodableError: the pixel data end before the frame.
        """
        stored, pixels = pixels_of(location)
        if not stored.encapsulated and not _is_deflated(location):
            span = _plain_span(location, number)
            if frame_is_plain(pixels, number, big_endian=_is_big_endian(location)):
                return Part(content_type, url, (span,))
        size = pixels.decoded_frame_bytes if stored.encapsulated else (pixels.frame_bits + 7) // 8
        return Part(content_type, url, make=partial(self._decoded_frame, location, number), made_length=size)

    def fragments_part(
        self, location: InstanceLocation, ranges: Sequence[tuple[int, int]], content_type: str, url: str
    ) -> Part:
        """Describe fragments as they lie in the store, without the items around them (PS3.18 8.7.3.3.2)."""
        if len(ranges) < MANY_FRAGMENTS:
            return Part(content_type, url, tuple(span_of(location, offset, length) for offset, length in ranges))
        gathered = self._gathered(location, ranges)
        return Part(content_type, url, make=partial(gathered.make, content_type), made_length=gathered.length)

    def encoded_frame_part(
        self, syntax: str | None, location: InstanceLocation, number: int, content_type: str, url: str
    ) -> Part:
        """Describe one frame as a codestream of a transfer syntax that it is not stored in."""
        return Part(content_type, url, make=partial(self._encoded_frame, location, number, syntax or "", content_type))

    def value_part(self, location: InstanceLocation, value: BulkValue, content_type: str, url: str) -> Part:
        """Describe one value: as it lies in the store where that is little endian."""
        if _is_deflated(location) or (_is_big_endian(location) and _word_bytes(location, value) > 1):
            return Part(content_type, url, make=partial(self._value, location, value), made_length=value.length)
        return Part(content_type, url, (span_of(location, value.offset, value.length),))

    def decoded_pixels_part(self, location: InstanceLocation, content_type: str, url: str) -> Part:
        """Describe all frames of encapsulated pixel data, decoded, one after the other.

        Raises:
            UndecodableError: the attributes make no sense, or frames end within a byte.
        """
        _, pixels = pixels_of(location)
        if check_pixel_format(pixels).frame_bits % 8:
            message = "frames of single bits that do not fill their last byte are had one by one, from /frames"
            raise UndecodableError(message)
        size = pixels.decoded_frame_bytes * pixels.number_of_frames
        make = partial(self._decoded_pixels, location, size)
        return Part(
            content_type, url, make=make, made_length=size, make_from=partial(self._decoded_pixels_from, location)
        )

    async def transcode(self, location: InstanceLocation, syntax: str | None = None) -> Made:
        """Convert a whole instance to a transfer syntax, Explicit VR Little Endian when none is named.

        Raises:
            UndecodableError: it cannot be decoded or encoded so, or is larger than a decoding process may handle.
        """
        if location.byte_length > self.decoding.largest_payload_bytes:
            message = "the instance is too large to be converted; retrieve it with transfer-syntax=*"
            raise UndecodableError(message)
        wanted = syntax or EXPLICIT_VR_LITTLE_ENDIAN
        data = await self.decoding.transcode(self._unread([span_of(location)]), wanted)
        return Made(Offer(DICOM, transfer_syntax=wanted).content_type, len(data), slices(data))

    async def transcode_or_keep(self, location: InstanceLocation, syntax: str | None = None) -> Made:
        """Convert an instance; one of many that cannot be converted goes as it is stored (PS3.18 8.7.3.4)."""
        try:
            return await self.transcode(location, syntax)
        except UndecodableError:
            content_type = Offer(DICOM, transfer_syntax=location.transfer_syntax_uid).content_type
            return Made(content_type, location.byte_length, stream_spans(self.store, [span_of(location)]))

    def file_payload(self, location: InstanceLocation) -> StoredPayload:
        """Describe the whole file, to be read when a decoding process is free for it."""
        return self._unread([span_of(location)])

    def picture_payload(self, location: InstanceLocation, number: int) -> StoredPayload:
        """Describe what a picture is made from, see `decode_worker`: the file up to its pixel data, and a frame.

        Raises:
            UndecodableError: the frame is not there.
        """
        stored, pixels = pixels_of(location)
        if stored.encapsulated:
            (ranges,) = frame_ranges(location, [number])
            length = sum(length for _, length in ranges)
        else:
            _, length = native_frame_range(stored, pixels, number)
        return StoredPayload(stored.offset + length, partial(self._head_and_frame, location, number))

    async def _head_and_frame(self, location: InstanceLocation, number: int) -> list[Buffer]:
        stored, pixels = pixels_of(location)
        is_plain = not _is_deflated(location) and frame_is_plain(pixels, number, big_endian=_is_big_endian(location))
        if stored.encapsulated or is_plain:
            # The first frame follows the head, so that both are mostly one read.
            before = span_of(location, 0, stored.offset)
            ranges = frame_ranges(location, [number])[0] if stored.encapsulated else ()
            if len(ranges) >= MANY_FRAGMENTS:
                pieces = [*await self._read([before]), *await self._gathered(location, ranges).read()]
                return [PICTURE_HEAD.pack(stored.offset), *pieces]
            frame = [span_of(location, *each) for each in ranges] or [_plain_span(location, number)]
            pieces = await self._read([before, *frame])
            return [PICTURE_HEAD.pack(stored.offset), *pieces]
        head = await self._before_pixels(location)
        return [PICTURE_HEAD.pack(len(head)), head, await self._frame_bytes(location, number)]

    def _frame_payload(self, location: InstanceLocation, number: int) -> StoredPayload:
        (ranges,) = frame_ranges(location, [number])
        if len(ranges) < MANY_FRAGMENTS:
            return self._unread([span_of(location, offset, length) for offset, length in ranges])
        gathered = self._gathered(location, ranges)
        return StoredPayload(gathered.length, gathered.read)

    def _gathered(self, location: InstanceLocation, ranges: Sequence[tuple[int, int]]) -> GatheredFragments:
        start, end = ranges[0][0], sum(ranges[-1])
        return GatheredFragments(self.store, span_of(location, start, end - start), start, ranges)

    def _unread(self, spans: Sequence[Span]) -> StoredPayload:
        return StoredPayload(sum(span.length for span in spans), partial(self._read, spans))

    async def _read(self, spans: Sequence[Span]) -> list[Buffer]:
        return [piece async for piece in stream_spans(self.store, spans)]

    async def _before_pixels(self, location: InstanceLocation) -> bytes:
        # The attributes that describe the pixels; never deflated.
        stored, _ = pixels_of(location)
        if not _is_deflated(location):
            spans = [span_of(location, 0, stored.offset)]
            return b"".join(await self._read(spans))
        end = await self._end_of_meta(location)
        meta = b"".join(await self._read([span_of(location, 0, end)]))
        inflated = [piece async for piece in self._inflated(location, end, stored.offset - end)]
        # What follows is not deflated any more, and the meta information says so; trailing NULs are padding.
        plain = EXPLICIT_VR_LITTLE_ENDIAN.ljust(len(_DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN), "\0").encode()
        return b"".join([meta.replace(_DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN.encode(), plain), *inflated])

    async def _decoded_frame(self, location: InstanceLocation, number: int) -> Made:
        data = await self._frame_bytes(location, number)
        return Made(_octets(), len(data), slices(data))

    async def _encoded_frame(self, location: InstanceLocation, number: int, syntax: str, content_type: str) -> Made:
        stored, pixels = pixels_of(location)
        if stored.encapsulated:
            frame: Payload = self._frame_payload(location, number)
        else:
            frame = [await self._frame_bytes(location, number)]
        source = location.transfer_syntax_uid if stored.encapsulated else ""
        data = await self.decoding.encode_frame(frame, source, pixels, syntax)
        return Made(content_type, len(data), slices(data))

    async def _decoded_pixels(self, location: InstanceLocation, size: int) -> Made:
        return Made(_octets(), size, self._frame_after_frame(location, 1))

    def _decoded_pixels_from(self, location: InstanceLocation, start: int) -> tuple[int, AsyncGenerator[Buffer, None]]:
        _, pixels = pixels_of(location)
        before = start // pixels.decoded_frame_bytes
        return before * pixels.decoded_frame_bytes, self._frame_after_frame(location, before + 1)

    async def _value(self, location: InstanceLocation, value: BulkValue) -> Made:
        await check_spans(self.store, [span_of(location)])
        width = _word_bytes(location, value) if _is_big_endian(location) else 1
        return Made(_octets(), value.length, self._value_chunks(location, value.offset, value.length, width))

    async def _value_chunks(
        self, location: InstanceLocation, offset: int, length: int, width: int
    ) -> AsyncGenerator[Buffer, None]:
        if _is_deflated(location):
            chunks = self._inflated(location, offset, length)
        else:
            chunks = stream_spans(self.store, [span_of(location, offset, length)])
        async with aclosing(chunks):
            if width == 1:
                async for chunk in chunks:
                    yield chunk
                return
            # A word may lie across two pieces: a store passes its bytes on as they come.
            waiting = b""
            async for chunk in chunks:
                data = memoryview(b"".join((waiting, chunk)))
                whole = len(data) - len(data) % width
                waiting = bytes(data[whole:])
                if whole:
                    yield swap_words(data[:whole], width)
            if waiting:
                yield waiting

    async def _frame_after_frame(self, location: InstanceLocation, first: int) -> AsyncGenerator[Buffer, None]:
        _, pixels = pixels_of(location)
        for number in range(first, pixels.number_of_frames + 1):
            yield await self._frame_bytes(location, number)

    async def _frame_bytes(self, location: InstanceLocation, number: int) -> bytes:
        stored, pixels = pixels_of(location)
        if stored.encapsulated:
            fragments = self._frame_payload(location, number)
            return await self.decoding.decode_frame(fragments, location.transfer_syntax_uid, pixels)
        offset, length = native_frame_range(stored, pixels, number)
        if length > self.decoding.largest_payload_bytes:
            message = "the frame is too large to be converted"
            raise UndecodableError(message)
        chunks = self._value_chunks(location, offset, length, 1)
        data = b"".join([chunk async for chunk in chunks])
        return await asyncio.to_thread(
            cut_native_frame, data, stored.vr, pixels, number, big_endian=_is_big_endian(location)
        )

    async def _inflated(self, location: InstanceLocation, offset: int, length: int) -> AsyncGenerator[Buffer, None]:
        """Yield a range of a deflated instance: everything before it is inflated and dropped (PS3.5 A.5)."""
        position = await self._end_of_meta(location)
        end = offset + length
        compressed = stream_spans(self.store, [span_of(location, position, location.byte_length - position)])
        inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        async with aclosing(compressed):
            async for chunk in compressed:
                waiting: Buffer = chunk
                while waiting and position < end:
                    piece = await _inflate(inflater, waiting)
                    waiting = inflater.unconsumed_tail
                    wanted = memoryview(piece)[max(offset - position, 0) : end - position]
                    position += len(piece)
                    if wanted:
                        yield wanted
                if position >= end:
                    return
        raise _damaged()

    async def _end_of_meta(self, location: InstanceLocation) -> int:
        spans = [span_of(location, 0, _META_HEAD_BYTES)]
        head = b"".join(await self._read(spans))
        return _META_HEAD_BYTES + int.from_bytes(head[-4:], "little")


def _plain_span(location: InstanceLocation, number: int) -> Span:
    """Return where a native frame lies that is sent as it is."""
    stored, pixels = pixels_of(location)
    return span_of(location, *native_frame_range(stored, pixels, number))._replace(length=pixels.frame_bits // 8)


def _word_bytes(location: InstanceLocation, value: BulkValue) -> int:
    """Size of the words of a big endian value: of pixel data by Bits Allocated too, else by VR."""
    stored = location.pixel_data
    if stored is not None and location.pixel_format is not None and stored.offset == value.offset:
        return pixel_word_bytes(value.vr, location.pixel_format)
    return word_bytes(value.vr)


async def _inflate(inflater: "zlib._Decompress", data: Buffer) -> bytes:
    try:
        return await asyncio.to_thread(inflater.decompress, data, MIB)
    except zlib.error:
        raise _damaged() from None


def _damaged() -> DamagedObjectError:
    return DamagedObjectError("a deflated instance does not hold the value that was found in it")


def _octets() -> str:
    return Offer(OCTET_STREAM, transfer_syntax=EXPLICIT_VR_LITTLE_ENDIAN).content_type


def _is_big_endian(location: InstanceLocation) -> bool:
    return location.transfer_syntax_uid == _EXPLICIT_VR_BIG_ENDIAN


def _is_deflated(location: InstanceLocation) -> bool:
    return location.transfer_syntax_uid == _DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
