"""Composing: one request in its course, its instances put together as their parts arrive (PS3.18 10.5.1.4).

BulkDataURIs are compared with the Content-Location of parts, and nothing else is ever done with them.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from dicomweb_archive.dicom import status
from dicomweb_archive.dicom.model_encoding import EncodedDataSet
from dicomweb_archive.dicom.part10 import IDENTIFIERS, Identity, is_uid
from dicomweb_archive.errors import InvalidInstanceError, RequestTooLargeError
from dicomweb_archive.services.composition.assembly import Assembly, Part, Range, frames_expected
from dicomweb_archive.services.composition.bulk_parts import BulkParts, SentPart
from dicomweb_archive.services.composition.filing import FiledDataSet, load_data_set
from dicomweb_archive.services.composition.metadata import MetadataReader, ReadDataSet
from dicomweb_archive.services.composition.repetition import Repetition
from dicomweb_archive.services.composition.shared import Holding, Shared
from dicomweb_archive.services.outcomes import refused
from dicomweb_archive.storage.spool import Spool, SpooledValue
from dicomweb_archive.wire.header_fields import parse_media_type
from dicomweb_archive.wire.multipart import Event, PartBegin, PartData, PartEnd, PartHead, PartJudged
from dicomweb_archive.wire.store_metadata import METADATA_FORMATS, MetadataFormat

_PART10: Final = "application/dicom"
_FRAME = re.compile(r"/frames/([0-9]{1,9})$")
_UNCHANGED = frozenset(["binary", "8bit", "7bit"])
_COMPOSED = PartHead({"content-type": _PART10})

# What an instance that waits takes in memory, and each name in it: measured, and rounded up.
_HELD_FOR_INSTANCE: Final = 1024
_HELD_FOR_NAME: Final = 700


@dataclass(slots=True, eq=False)
class _Pending:
    """An instance whose metadata are there.

    Attributes:
        number: of the part that its metadata came with.
        open: how many parts are still to come for each URI; 0 before the first tells how many there are.
    """

    number: int
    filed: FiledDataSet
    held: int
    open: dict[str, int]
    parts: dict[str, list[Part]] = field(default_factory=dict)

    def attach(self, uri: str, sent: SentPart) -> None:
        """Take a part that it names; of a compressed image each frame is one."""
        part = sent.take()
        self.parts.setdefault(uri, []).append(part)
        remaining = self.open.get(uri) or frames_expected(
            self.filed.frames, part.media_type, is_pixels=self.filed.uris[uri]
        )
        if remaining == 1:
            self.open.pop(uri, None)
        else:
            self.open[uri] = remaining - 1

    def values(self) -> list[SpooledValue]:
        """Return all that it holds."""
        return [self.filed.value, *(part.value for parts in self.parts.values() for part in parts)]


class Composing:
    """One request in its course."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        # Two, since a file gives room back when nothing in it is needed: metadata may wait while bulk data pass.
        self._spool = shared.new_spool()
        self._metadata_spool = shared.new_spool()
        self._reader = MetadataReader(shared, self._metadata_spool)
        self._holding = Holding(shared)
        self._bulk = BulkParts(self._holding)
        self._repetition = Repetition(shared.limits.repeated_bytes)
        self._shares_left = shared.limits.shared_parts
        self._number = self._instances = 0
        # In the order of their metadata, which is the order of the answer.
        self._pending: dict[int, _Pending] = {}
        self._wanted: dict[str, list[_Pending]] = {}

    @property
    def has_file(self) -> bool:
        """Whether closing is a thread's work."""
        return self._spool.has_file or self._metadata_spool.has_file

    def close(self) -> None:
        """Give everything back that is held."""
        self._holding.close()
        self._spool.close()
        self._metadata_spool.close()

    async def events(self, parts: AsyncIterator[Event]) -> AsyncIterator[Event]:
        """Give the parts as instances."""
        async for event in parts:
            assert isinstance(event, PartBegin)
            self._number += 1
            media = parse_media_type(event.head.content_type)
            kind = media.type if media is not None else ""
            if kind in METADATA_FORMATS:
                taken = self._take_metadata(METADATA_FORMATS[kind], parts)
            elif kind == _PART10:
                taken = _passed_on(event, parts)
            else:
                taken = self._take_bulk(event.head, parts)
            async for each in taken:
                yield each
        leftovers = self._leftovers()
        # Thousands of data sets, which others would wait for.
        while (judged := await asyncio.to_thread(next, leftovers, None)) is not None:
            yield judged

    async def _take_metadata(self, form: MetadataFormat, parts: AsyncIterator[Event]) -> AsyncIterator[Event]:
        text = await _spooled(self._metadata_spool, parts)
        text.users = 1
        async for data in self._reader.read(text, form):
            self._count_instance()
            async for event in self._take_data_set(data):
                yield event
        await self._release(self._metadata_spool, [text])

    async def _take_data_set(self, data: ReadDataSet) -> AsyncIterator[Event]:
        if isinstance(data, InvalidInstanceError):
            yield PartJudged(refused(self._number - 1, data.failure, comment=data.reason))
            return
        if isinstance(data, EncodedDataSet):
            async for event in self._assembled(self._number, data, None, {}):
                yield event
            return
        held = _HELD_FOR_INSTANCE + sum(_HELD_FOR_NAME + sys.getsizeof(uri) for uri in data.uris)
        self._holding.take(held)
        pending = _Pending(self._number, data, held, dict.fromkeys(data.uris, 0))
        for uri in data.uris:
            for sent in self._bulk.of(uri):
                if uri in pending.open:
                    self._attach(pending, uri, sent)
            if uri not in pending.open and uri not in self._wanted:
                self._bulk.serve(uri)
        if not pending.open:
            async for event in self._complete(pending):
                yield event
            return
        self._pending[id(pending)] = pending
        for uri in pending.open:
            self._wanted.setdefault(uri, []).append(pending)

    def _attach(self, pending: _Pending, uri: str, sent: SentPart) -> None:
        """Give a part to an instance; without a bound many frames in many instances would be their product."""
        if sent.is_taken:
            self._shares_left -= 1
            if self._shares_left < 0:
                message = "too many instances name the same parts; send fewer instances at once"
                raise RequestTooLargeError(message)
        pending.attach(uri, sent)

    def _count_instance(self) -> None:
        """Count what becomes an outcome; without a bound a few MiB of braces would be answered with gigabytes."""
        self._instances += 1
        if self._instances > self._shared.limits.instances:
            message = f"more than {self._shared.limits.instances} instances in one request"
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
        await self._release(self._spool, self._bulk.let_go())
        media = parse_media_type(head.content_type)
        media_type, syntax = (media.type, media.parameters.get("transfer-syntax", "")) if media else ("", "")
        part = Part(media_type, syntax, await _spooled(self._spool, parts), frame)
        self._repetition.bring(part.value.length)
        sent = self._bulk.add(location, self._number, part)
        wanting = self._wanted.get(location, [])
        for pending in list(wanting):
            self._attach(pending, location, sent)
            if location not in pending.open:
                wanting.remove(pending)
            if not pending.open:
                del self._pending[id(pending)]
                async for event in self._complete(pending):
                    yield event
        if sent.is_taken and not wanting:
            del self._wanted[location]
            self._bulk.serve(location)

    async def _complete(self, pending: _Pending) -> AsyncIterator[Event]:
        """Give an instance of which everything is there."""
        load = load_data_set
        data = (
            load(pending.filed, self._metadata_spool)
            if pending.filed.value.offset is None
            else await asyncio.to_thread(load, pending.filed, self._metadata_spool)
        )
        try:
            async for event in self._assembled(pending.number, data, pending.filed.value, pending.parts):
                yield event
        finally:
            first, *others = pending.values()
            await self._release(self._metadata_spool, [first])
            await self._release(self._spool, others)
            self._holding.give(pending.held)

    async def _assembled(
        self, number: int, data: EncodedDataSet, filed: SpooledValue | None, parts: dict[str, list[Part]]
    ) -> AsyncIterator[Event]:
        assembly = Assembly(self._spool, self._shared.decoding, self._repetition.most_made(parts.values()))
        try:
            pieces = await assembly.assemble(data, parts, filed)
            self._repetition.allow(pieces, assembly.made, parts.values())
            yield PartBegin(_COMPOSED, tuple(data.notes))
            for piece in pieces:
                if isinstance(piece, Range):
                    spool = self._metadata_spool if piece.value is filed else self._spool
                    async for event in _read(spool, piece):
                        yield event
                else:
                    yield PartData(piece)
            yield PartEnd()
        except InvalidInstanceError as error:
            yield _judged(number, data, error.failure, error.reason)
        finally:
            await self._release(self._spool, assembly.made)

    async def _release(self, spool: Spool, values: Iterable[SpooledValue]) -> None:
        if spool.has_file:
            await asyncio.to_thread(_release, spool, values)
        else:
            _release(spool, values)

    def _leftovers(self) -> Iterator[Event]:
        """Judge what never became complete, and what nothing named."""
        for pending in self._pending.values():
            data = load_data_set(pending.filed, self._metadata_spool)
            yield _judged(pending.number, data, status.BULKDATA_MISSING, "")
        for number in self._bulk.unused():
            yield PartJudged(refused(number - 1, status.BULKDATA_UNUSED))


async def _spooled(spool: Spool, parts: AsyncIterator[Event]) -> SpooledValue:
    """Let the bytes of a part wait."""
    value = SpooledValue()
    async for event in parts:
        if isinstance(event, PartEnd):
            break
        assert isinstance(event, PartData)
        if not spool.keep(value, event.data):
            await asyncio.to_thread(spool.write, value, event.data)
    return value


async def _read(spool: Spool, piece: Range) -> AsyncIterator[Event]:
    chunks = spool.read(piece.value, piece.start, piece.stop)
    if piece.value.offset is None:
        for chunk in chunks:
            yield PartData(chunk)  # type: ignore[arg-type]
        return
    while (data := await asyncio.to_thread(next, chunks, None)) is not None:
        yield PartData(data)  # type: ignore[arg-type]


def _release(spool: Spool, values: Iterable[SpooledValue]) -> None:
    for value in values:
        spool.release(value)


def _judged(number: int, data: EncodedDataSet, failure: int, comment: str) -> PartJudged:
    uids = [data.text_of(tag) for tag, _ in IDENTIFIERS]
    identity = Identity(*uids) if all(map(is_uid, uids)) else None
    outcome = refused(number - 1, failure, identity, comment=comment)
    return PartJudged(outcome.with_notes(data.notes))


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
