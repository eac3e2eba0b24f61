"""Composition: instances put together of their metadata and bulk data, as these arrive (PS3.18 10.5.1.4).

What comes out are the events of a request with Part 10 instances, so that storing them is the same in every respect.
BulkDataURIs are compared with the Content-Location of parts, and nothing else is ever done with them.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dicomweb_archive.dicom import status
from dicomweb_archive.dicom.model_encoding import EncodedDataSet, encode_model
from dicomweb_archive.dicom.part10 import IDENTIFIERS, Identity, is_uid
from dicomweb_archive.errors import InvalidInstanceError, RequestTooLargeError
from dicomweb_archive.services.assembly import Assembly, Part, Range, frames_expected
from dicomweb_archive.services.decoding import DecodingPool
from dicomweb_archive.services.outcomes import refused
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.storage.spool import Spool, SpooledValue
from dicomweb_archive.wire.header_fields import parse_media_type
from dicomweb_archive.wire.multipart import Event, PartBegin, PartData, PartEnd, PartHead, PartJudged
from dicomweb_archive.wire.store_metadata import METADATA_FORMATS, MetadataFormat

_PART10: Final = "application/dicom"
_FRAME = re.compile(r"/frames/([0-9]{1,9})$")
_UNCHANGED = frozenset(["binary", "8bit", "7bit"])
# What a thread does in some milliseconds; one by one the hand-over would cost as much as a small instance.
_READ_AT_ONCE, _READ_AT_ONCE_BYTES = 256, 64 * 1024
_COMPOSED = PartHead({"content-type": _PART10})


@dataclass(frozen=True, slots=True)
class CompositionLimits:
    """Bounds of what waits for the rest of its instance.

    Attributes:
        instances: most instances of one request.
        metadata_bytes: metadata of instances that are not complete.
        memory_bytes: bulk data in memory; what is more waits in a file.
        watermark_bytes: room that stays free on the disk.
    """

    instances: int = 20_000
    metadata_bytes: int = 64 * 1024 * 1024
    memory_bytes: int = 32 * 1024 * 1024
    watermark_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CompositionService:
    """Puts instances together of their metadata and bulk data."""

    decoding: DecodingPool
    folder: Path
    limits: CompositionLimits

    async def compose(self, parts: AsyncIterator[Event]) -> AsyncIterator[Event]:
        """Give the parts of a request as instances, each as soon as all of it is there.

        Raises:
            InvalidRequestError: metadata are no JSON or XML.
            RequestTooLargeError: there are too many instances, or too much waits for bulk data that have not come.
            StorageFullError: no room is left for what has to wait.
        """
        composition = _Composition(self)
        try:
            async for event in composition.events(parts):
                yield event
        finally:
            if composition.spool.has_file:
                await asyncio.to_thread(composition.spool.close)


@dataclass(slots=True, eq=False)
class _Pending:
    """An instance whose metadata are there.

    Attributes:
        number: of the part that its metadata came with.
        open: how many parts are still to come for each URI; 0 before the first tells how many there are.
    """

    number: int
    size: int
    data: EncodedDataSet
    open: dict[str, int] = field(default_factory=dict)
    parts: dict[str, list[Part]] = field(default_factory=dict)


class _Composition:
    """One request in its course."""

    def __init__(self, service: CompositionService) -> None:
        self._service = service
        limits = service.limits
        self.spool = Spool(service.folder, memory_bytes=limits.memory_bytes, watermark_bytes=limits.watermark_bytes)
        self._number = self._instances = 0
        self._waiting_bytes = 0
        # In the order of their metadata, which is the order of the answer.
        self._pending: dict[int, _Pending] = {}
        self._wanted: dict[str, list[_Pending]] = {}
        # Parts that came before the metadata that name them.
        self._early: dict[str, list[tuple[int, Part]]] = {}

    async def events(self, parts: AsyncIterator[Event]) -> AsyncIterator[Event]:
        async for event in parts:
            assert isinstance(event, PartBegin)
            self._number += 1
            media = parse_media_type(event.head.content_type)
            kind = media.type if media is not None else ""
            if kind in METADATA_FORMATS:
                taken = self._take_metadata(METADATA_FORMATS[kind], await self._collect(parts))
            elif kind == _PART10:
                taken = _passed_on(event, parts)
            else:
                taken = self._take_bulk(event.head, parts)
            async for each in taken:
                yield each
        for judged in self._leftovers():
            yield judged

    async def _collect(self, parts: AsyncIterator[Event]) -> bytes:
        pieces: list[Buffer] = []
        size = 0
        async for event in parts:
            if isinstance(event, PartEnd):
                break
            assert isinstance(event, PartData)
            size += len(event.data)
            self._require_room(size)
            pieces.append(event.data)
        return b"".join(pieces)

    async def _take_metadata(self, form: MetadataFormat, text: bytes) -> AsyncIterator[Event]:
        texts = form.split(text)
        while read := await asyncio.to_thread(_next_data_sets, texts, form):
            for size, data in read:
                self._count_instance()
                async for event in self._take_data_set(size, data):
                    yield event

    async def _take_data_set(self, size: int, data: EncodedDataSet | InvalidInstanceError) -> AsyncIterator[Event]:
        if isinstance(data, InvalidInstanceError):
            yield PartJudged(refused(self._number - 1, data.failure, comment=data.reason))
            return
        pending = _Pending(self._number, size, data, {reference.uri: 0 for reference in data.references})
        for uri in list(pending.open):
            early = self._early.get(uri, [])
            while early and uri in pending.open:
                self._attach(pending, uri, early.pop(0)[1])
        if not pending.open:
            async for event in self._complete(pending):
                yield event
            return
        self._waiting_bytes += size
        self._pending[id(pending)] = pending
        for uri in pending.open:
            self._wanted.setdefault(uri, []).append(pending)

    def _require_room(self, size: int) -> None:
        """Refuse the request when so many more bytes cannot wait."""
        most = self._service.limits.metadata_bytes
        if self._waiting_bytes + size > most:
            message = f"more than {most} bytes of metadata wait for their bulk data; send fewer instances at once"
            raise RequestTooLargeError(message)

    def _count_instance(self) -> None:
        """Count what becomes an outcome; without a bound a few MiB of braces would be answered with gigabytes."""
        self._instances += 1
        if self._instances > self._service.limits.instances:
            message = f"more than {self._service.limits.instances} instances in one request"
            raise RequestTooLargeError(message)

    async def _take_bulk(self, head: PartHead, parts: AsyncIterator[Event]) -> AsyncIterator[Event]:
        location = head.headers.get("content-location", "")
        frame = 0
        if location not in self._wanted and (found := _FRAME.search(location)) is not None:
            location, frame = location[: found.start()], int(found[1])
        failure = None if location else status.BULKDATA_UNUSED
        if head.headers.get("content-transfer-encoding", "binary").lower() not in _UNCHANGED:
            failure = status.PART_NOT_SUPPORTED
        if failure is not None:
            await _skip(parts)
            yield PartJudged(refused(self._number - 1, failure))
            return
        media = parse_media_type(head.content_type)
        media_type, syntax = (media.type, media.parameters.get("transfer-syntax", "")) if media else ("", "")
        part = Part(media_type, syntax, await self._spooled(parts), frame)
        wanting = self._wanted.get(location)
        if not wanting:
            part.value.users = 1
            # Names of many parts can be longer than the parts.
            self._waiting_bytes += sys.getsizeof(location)
            self._require_room(0)
            self._early.setdefault(location, []).append((self._number, part))
            return
        part.value.users = len(wanting)
        for pending in list(wanting):
            self._attach(pending, location, part)
            if location not in pending.open:
                wanting.remove(pending)
            if not pending.open:
                del self._pending[id(pending)]
                self._waiting_bytes -= pending.size
                async for event in self._complete(pending):
                    yield event
        if not wanting:
            del self._wanted[location]

    async def _spooled(self, parts: AsyncIterator[Event]) -> SpooledValue:
        value = SpooledValue()
        async for event in parts:
            if isinstance(event, PartEnd):
                break
            assert isinstance(event, PartData)
            if value.offset is None and self.spool.fits(len(event.data)):
                self.spool.write(value, event.data)
            else:
                await asyncio.to_thread(self.spool.write, value, event.data)
        return value

    def _attach(self, pending: _Pending, uri: str, part: Part) -> None:
        """Give an instance a part that it names; of a compressed image each frame is one."""
        pending.parts.setdefault(uri, []).append(part)
        remaining = pending.open.get(uri) or frames_expected(pending.data, uri, part)
        if remaining == 1:
            pending.open.pop(uri, None)
        else:
            pending.open[uri] = remaining - 1

    async def _complete(self, pending: _Pending) -> AsyncIterator[Event]:
        """Give an instance of which everything is there."""
        assembly = Assembly(self.spool, self._service.decoding)
        try:
            pieces = await assembly.assemble(pending.data, pending.parts)
            yield PartBegin(_COMPOSED, tuple(pending.data.notes))
            for piece in pieces:
                if isinstance(piece, Range):
                    async for data in self._read(piece):
                        yield data
                else:
                    yield PartData(piece)
            yield PartEnd()
        except InvalidInstanceError as error:
            yield _judged(pending, error.failure, error.reason)
        finally:
            values = [part.value for parts in pending.parts.values() for part in parts] + assembly.made
            if self.spool.has_file:
                await asyncio.to_thread(self._release, values)
            else:
                self._release(values)

    def _release(self, values: Iterable[SpooledValue]) -> None:
        for value in values:
            self.spool.release(value)

    async def _read(self, piece: Range) -> AsyncIterator[Event]:
        chunks = self.spool.read(piece.value, piece.start, piece.stop)
        if piece.value.offset is None:
            for chunk in chunks:
                yield PartData(chunk)  # type: ignore[arg-type]
            return
        while (data := await asyncio.to_thread(next, chunks, None)) is not None:
            yield PartData(data)  # type: ignore[arg-type]

    def _leftovers(self) -> Iterator[Event]:
        """Judge what never became complete, and what nothing named."""
        for pending in self._pending.values():
            yield _judged(pending, status.BULKDATA_MISSING, "")
        for numbered in self._early.values():
            for number, _ in numbered:
                yield PartJudged(refused(number - 1, status.BULKDATA_UNUSED))


def _next_data_sets(
    texts: Iterator[bytes], form: MetadataFormat
) -> list[tuple[int, EncodedDataSet | InvalidInstanceError]]:
    """Read and encode the next instances of the metadata, some at once; none behind the last."""
    read: list[tuple[int, EncodedDataSet | InvalidInstanceError]] = []
    size = 0
    while size < _READ_AT_ONCE_BYTES and len(read) < _READ_AT_ONCE and (text := next(texts, None)) is not None:
        size += len(text)
        try:
            read.append((len(text), encode_model(form.parse(text))))
        except InvalidInstanceError as error:
            read.append((len(text), error))
    return read


def _judged(pending: _Pending, failure: int, comment: str) -> PartJudged:
    uids = [pending.data.text_of(tag) for tag, _ in IDENTIFIERS]
    identity = Identity(*uids) if all(map(is_uid, uids)) else None
    outcome = refused(pending.number - 1, failure, identity, comment=comment)
    return PartJudged(outcome.with_notes(pending.data.notes))


async def _passed_on(begin: PartBegin, parts: AsyncIterator[Event]) -> AsyncIterator[Event]:
    yield begin
    async for event in parts:
        yield event
        if isinstance(event, PartEnd):
            return


async def _skip(parts: AsyncIterator[Event]) -> None:
    async for event in parts:
        if isinstance(event, PartEnd):
            return
