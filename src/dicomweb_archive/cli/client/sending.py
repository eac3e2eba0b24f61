"""Sending files to a Studies Service: several streamed multipart requests at once (PS3.18 10.5)."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import httpx

from dicomweb_archive.cli.client.answers import FileOutcome, Outcome, judge, parse_answer
from dicomweb_archive.cli.client.batches import Batcher
from dicomweb_archive.cli.client.connection import (
    RetryPolicy,
    Server,
    ServerUnreachableError,
    TransientError,
    check_status,
    first_failure,
    get_json,
    transport_failure,
)
from dicomweb_archive.cli.client.resume import Acknowledged, StateFileError
from dicomweb_archive.cli.client.sources import Archives, Source, SourceReader, UnreadableSourceError
from dicomweb_archive.wire.multipart import PartFraming

CHUNK_BYTES = 1024 * 1024
_LISTED_AT_ONCE = 64
_ACKNOWLEDGED = (Outcome.STORED, Outcome.ALREADY_THERE)


@dataclass(frozen=True, slots=True)
class SendLimits:
    """How much goes into one request and how many requests run at once."""

    batch_bytes: int = 128 * 1024 * 1024
    batch_files: int = 500
    jobs: int = 4


class _BrokenSourceError(Exception):
    """Carries the source that could not be read out of the body of a request."""

    def __init__(self, source: Source, reason: str) -> None:
        super().__init__(reason)
        self.source = source
        self.reason = reason


@dataclass(slots=True)
class Sender:
    """One run of `store`: reads sources, sends them, reports each one's outcome exactly once.

    Attributes:
        report: called on the event loop with each outcome.
        sent: called with the number of bytes handed to the network, negative when a request is repeated.
    """

    server: Server
    archives: Archives
    memory: Acknowledged
    report: Callable[[FileOutcome], None]
    sent: Callable[[int], None] = field(default=lambda _size: None)
    limits: SendLimits = field(default_factory=SendLimits)
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    async def run(self, sources: Iterable[Source]) -> None:
        """Send everything.

        Raises:
            ServerUnreachableError: the server went away for longer than the retries last.
        """
        async with self.server.client(self.limits.jobs) as client:
            await self._trust_or_forget(client)
            remaining: Iterable[Source] = sources
            while remaining:
                remaining = await self._round(client, iter(remaining))

    async def _trust_or_forget(self, client: httpx.AsyncClient) -> None:
        """Ask for one acknowledged instance: an emptied server must be sent everything again."""
        if self.memory.probe is None:
            return
        response = await get_json(client, f"{self.server.root}{self.memory.probe}/metadata", self.retry)
        if response.status_code in (404, 410):
            await asyncio.to_thread(self.memory.forget)

    async def _round(self, client: httpx.AsyncClient, sources: Iterator[Source]) -> list[Source]:
        """Send each SOP Instance UID once; what repeats one comes back for the next round."""
        batcher = Batcher(self.limits.batch_bytes, self.limits.batch_files)
        queue: asyncio.Queue[list[Source] | None] = asyncio.Queue(maxsize=1)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.limits.jobs):
                    group.create_task(self._worker(client, queue))
                await self._produce(sources, batcher, queue)
        except* (ServerUnreachableError, StateFileError) as failures:
            raise first_failure(failures) from None
        return batcher.repeated

    async def _produce(
        self, sources: Iterator[Source], batcher: Batcher, queue: asyncio.Queue[list[Source] | None]
    ) -> None:
        while listed := await asyncio.to_thread(lambda: list(itertools.islice(sources, _LISTED_AT_ONCE))):
            for batch in batcher.add(self._wanted(listed)):
                await queue.put(batch)
        for batch in batcher.rest():
            await queue.put(batch)
        for _ in range(self.limits.jobs):
            await queue.put(None)

    def _wanted(self, sources: Sequence[Source]) -> Iterator[Source]:
        for source in sources:
            if source.skip is not None:
                unreadable = source.skip.startswith("cannot be read")
                outcome = Outcome.UNREADABLE if unreadable else Outcome.SKIPPED
                self.report(FileOutcome(source, outcome, source.skip))
            elif source in self.memory:
                self.report(FileOutcome(source, Outcome.ACKNOWLEDGED_EARLIER))
            else:
                yield source

    async def _worker(self, client: httpx.AsyncClient, queue: asyncio.Queue[list[Source] | None]) -> None:
        while (batch := await queue.get()) is not None:
            await self._settle(client, batch)

    async def _settle(self, client: httpx.AsyncClient, batch: list[Source]) -> None:
        """Send until each file of the batch has its outcome: together first, what stays unclear alone."""
        try:
            outcomes, unanswered = await self.retry.run(lambda: self._attempt(client, batch))
        except _BrokenSourceError as broken:
            self.report(FileOutcome(broken.source, Outcome.UNREADABLE, broken.reason))
            if rest := [source for source in batch if source is not broken.source]:
                await self._settle(client, rest)
            return
        await self._finish(outcomes)
        for source in unanswered:
            await self._settle(client, [source])

    async def _finish(self, outcomes: list[FileOutcome]) -> None:
        acknowledged = [outcome for outcome in outcomes if outcome.outcome in _ACKNOWLEDGED]
        if acknowledged:
            probes = (_probe_path(outcome.retrieve_url) for outcome in reversed(acknowledged))
            probe = next((path for path in probes if path is not None), None)
            done = [outcome.source for outcome in acknowledged]
            await asyncio.to_thread(self.memory.add, done, probe)
        for outcome in outcomes:
            self.report(outcome)

    async def _attempt(self, client: httpx.AsyncClient, batch: list[Source]) -> tuple[list[FileOutcome], list[Source]]:
        body = _Body(batch, self.archives, self.sent)
        headers = {
            "Content-Type": body.framing.content_type,
            "Content-Length": str(body.size_bytes),
            "Accept": "application/dicom+json",
        }
        url = f"{self.server.root}/studies"
        try:
            response = await client.post(url, content=body.stream(), headers=headers)
            check_status(response)
        except httpx.TransportError as error:
            body.take_back()
            raise transport_failure(error) from error
        except (TransientError, _BrokenSourceError):
            body.take_back()
            raise
        if response.status_code in (404, 405, 501) or response.is_redirect:
            message = f"{url} answers {response.status_code}: no DICOMweb Store there, check the URL"
            raise ServerUnreachableError(message)
        outcomes, unanswered = judge(batch, parse_answer(response.status_code, response.content))
        self.sent(-sum(source.size_bytes for source in unanswered))
        return outcomes, unanswered


@dataclass(slots=True)
class _Body:
    """The payload of one request, of known length, read while it is sent."""

    batch: Sequence[Source]
    archives: Archives
    sent: Callable[[int], None]
    framing: PartFraming = field(default_factory=lambda: PartFraming("application/dicom"))
    handed_over: int = 0

    @property
    def size_bytes(self) -> int:
        parts = ((len(self._head(part)), part.size_bytes) for part in self.batch)
        return self.framing.content_length(parts)

    async def stream(self) -> AsyncIterator[bytes]:
        prefix = b""
        for source in self.batch:
            reader = SourceReader(source, self.archives)
            prefix += self._head(source)
            with contextlib.closing(reader):
                while not reader.finished:
                    chunk = await asyncio.to_thread(_next_chunk, reader)
                    self._count(len(chunk))
                    # Framing travels with the bytes: one write to the socket for a small file.
                    yield prefix + chunk if prefix else chunk
                    prefix = b""
            prefix = self.framing.TAIL
        yield prefix + self.framing.closing()

    def take_back(self) -> None:
        """Uncount what was handed over: it will be sent again."""
        self._count(-self.handed_over)

    def _count(self, size: int) -> None:
        self.handed_over += size
        self.sent(size)

    def _head(self, source: Source) -> bytes:
        return self.framing.head("application/dicom", length=source.size_bytes)


def _next_chunk(reader: SourceReader) -> bytes:
    try:
        return reader.read(CHUNK_BYTES)
    except UnreadableSourceError as error:
        raise _BrokenSourceError(reader.source, str(error)) from error


def _probe_path(retrieve_url: str | None) -> str | None:
    """Cut a Retrieve URL down to its path below the service root, whatever host it names."""
    if retrieve_url is None or not retrieve_url.isascii() or "/instances/" not in retrieve_url:
        return None
    _, found, path = retrieve_url.partition("/studies/")
    return f"/studies/{path}" if found and path.replace("/", "").isprintable() else None
