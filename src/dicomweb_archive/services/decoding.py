"""DecodingPool: the few worker processes in which stored pixels are decoded, bounded in number, time and memory."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import orjson

from dicomweb_archive.errors import OverloadedError, UndecodableError
from dicomweb_archive.imaging.pixel_format import PixelFormat, check_pixel_format
from dicomweb_archive.services.decode_worker import HEAD
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.wire.media_types import EXPLICIT_VR_LITTLE_ENDIAN

# Of the parent's environment a worker gets what it needs to find Python, and no secret.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "HOME")
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
_LARGEST_DESCRIPTION = 1024 * 1024
_PIECE_BYTES = 1024 * 1024


class _BrokenWorkerError(Exception):
    """A worker process died, or said what cannot be understood."""


@dataclass(frozen=True, slots=True)
class StoredPayload:
    """What a job works on, read only when its turn has come: many may wait, and each may be large.

    Attributes:
        length: in bytes, or a little less.
    """

    length: int
    read: Callable[[], Awaitable[Sequence[Buffer]]]


@dataclass(frozen=True, slots=True)
class StreamedPayload:
    """What a job works on, read while it is handed over: no more of it is held than a piece.

    Attributes:
        length: in bytes.
    """

    length: int
    read: Callable[[], AsyncIterator[Buffer]]


Payload = Sequence[Buffer] | StoredPayload
Take = Callable[[bytes], Awaitable[None]]
"""Takes the next piece of an answer."""


class DecodingPool:
    """Worker processes, started when first needed and replaced when they die, hang or run out of memory.

    Args:
        workers: number of processes; further jobs wait for one to be free.
        timeout_seconds: longest time of one job, then its process is killed; and longest time that one waits.
        memory_bytes: address space of a process, which bounds what hostile pixels can claim.
    """

    def __init__(self, *, workers: int, timeout_seconds: float, memory_bytes: int) -> None:
        self._timeout_seconds = timeout_seconds
        self._memory_bytes = memory_bytes
        self._slots = asyncio.Semaphore(workers)
        self._idle: list[_Worker] = []
        self._closed = False

    @property
    def largest_payload_bytes(self) -> int:
        """Most bytes of a payload or an answer: a worker needs several copies of them within its memory."""
        return self._memory_bytes // 4

    async def decode_frame(self, frame: Payload, transfer_syntax_uid: str, pixels: PixelFormat) -> bytes:
        """Decode one compressed frame, given as its fragments: see `imaging.decode.decode_frame`.

        Raises:
            UndecodableError: it cannot be decoded within the bounds.
            OverloadedError: see `run`.
        """
        if check_pixel_format(pixels).decoded_frame_bytes > self.largest_payload_bytes:
            message = "a decoded frame would be larger than a decoding process may handle"
            raise UndecodableError(message)
        arguments = {"transfer_syntax": transfer_syntax_uid, "pixels": tuple(pixels)}
        _, decoded = await self.run("decode_frame", arguments, frame)
        return decoded

    async def encode_frame(self, frame: Payload, source: str, pixels: PixelFormat, target: str) -> bytes:
        """Encode one frame, compressed otherwise or native: see `imaging.encode.encode_frame`.

        Raises:
            UndecodableError: it cannot be decoded or encoded within the bounds.
            OverloadedError: see `run`.
        """
        if check_pixel_format(pixels).decoded_frame_bytes > self.largest_payload_bytes:
            message = "a decoded frame would be larger than a decoding process may handle"
            raise UndecodableError(message)
        arguments = {"source": source, "target": target, "pixels": tuple(pixels)}
        _, encoded = await self.run("encode_frame", arguments, frame)
        return encoded

    async def transcode(self, instance: Payload, transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
        """Write a whole instance in another transfer syntax: see `imaging.transcode`.

        Raises:
            UndecodableError: it cannot be transcoded within the bounds.
            OverloadedError: see `run`.
        """
        _, transcoded = await self.run("transcode", {"transfer_syntax": transfer_syntax_uid}, instance)
        return transcoded

    async def run(self, job: str, arguments: Mapping[str, Any], payload: Payload) -> tuple[dict[str, Any], bytes]:
        """Run a job of `decode_worker.JOBS` and return its results and its payload.

        Raises:
            UndecodableError: the job failed, ran into its time or memory limit, or its process died.
            OverloadedError: no process was free for too long.
        """
        self._require_small(payload.length if isinstance(payload, StoredPayload) else sum(map(len, payload)))
        taken: list[bytes] = []

        async def take(piece: bytes) -> None:
            taken.append(piece)

        async with self._turn():
            pieces = await payload.read() if isinstance(payload, StoredPayload) else payload
            streamed = StreamedPayload(sum(map(len, pieces)), lambda: _each(pieces))
            results = await self._ask({"job": job, "arguments": arguments}, streamed, take)
        return results, taken[0] if len(taken) == 1 else b"".join(taken)

    async def run_streamed(
        self, job: str, arguments: Mapping[str, Any], payload: StreamedPayload, take: Take
    ) -> dict[str, Any]:
        """Run a job whose payloads are too large to be held, and return its results.

        Args:
            take: gets the payload of the answer, piece by piece; of a job that fails perhaps the first pieces.

        Raises:
            UndecodableError, OverloadedError: see `run`.
        """
        self._require_small(payload.length)
        async with self._turn():
            return await self._ask({"job": job, "arguments": arguments}, payload, take)

    def _require_small(self, length: int) -> None:
        if length > self.largest_payload_bytes:
            message = "the stored pixel data are larger than a decoding process may handle"
            raise UndecodableError(message)

    async def close(self) -> None:
        """End the processes."""
        self._closed = True
        while self._idle:
            await self._idle.pop().kill()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until a process is free."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._slots.acquire()
        except TimeoutError:
            message = f"no decoding process was free for {self._timeout_seconds:g} s; try again later"
            raise OverloadedError(message) from None
        try:
            yield
        finally:
            self._slots.release()

    async def _ask(self, described: Mapping[str, Any], payload: StreamedPayload, take: Take) -> dict[str, Any]:
        async with self._worker() as worker:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    answer = await worker.ask(described, payload, take)
            except TimeoutError:
                message = f"decoding took longer than {self._timeout_seconds:g} s"
                raise UndecodableError(message) from None
            except _BrokenWorkerError:
                message = "the decoding process died of the stored pixel data"
                raise UndecodableError(message) from None
            worker.usable = not answer.get("spent", False)
        if "error" in answer:
            raise UndecodableError(answer["error"])
        results: dict[str, Any] = answer["results"]
        return results

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator["_Worker"]:
        """Lend a worker; it comes back only after an answer, anything else ends its process."""
        worker = await self._take()
        worker.usable = False
        try:
            yield worker
        finally:
            if worker.usable and not self._closed:
                self._idle.append(worker)
            else:
                await worker.kill()

    async def _take(self) -> "_Worker":
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            await worker.kill()
        return await _Worker.start(self._memory_bytes, largest_answer_bytes=2 * self.largest_payload_bytes)


class _Worker:
    """One worker process and the messages to and from it."""

    def __init__(self, process: asyncio.subprocess.Process, largest_answer_bytes: int) -> None:
        self._process = process
        self._largest_answer_bytes = largest_answer_bytes
        self.usable = True

    @classmethod
    async def start(cls, memory_bytes: int, *, largest_answer_bytes: int) -> "_Worker":
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "dicomweb_archive.services.decode_worker", str(os.getpid()), str(memory_bytes)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Codecs complain about values; nobody may read that in a log.
            stderr=asyncio.subprocess.DEVNULL,
            env=environment | _ONE_THREAD,
            limit=1024 * 1024,
        )
        return cls(process, largest_answer_bytes)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, described: Mapping[str, Any], payload: StreamedPayload, take: Take) -> dict[str, Any]:
        assert self._process.stdin is not None
        head = orjson.dumps(described)
        try:
            self._process.stdin.write(HEAD.pack(len(head), payload.length) + head)
            async for piece in payload.read():
                self._process.stdin.write(piece)
                await self._process.stdin.drain()
            return await self._answer(take)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise _BrokenWorkerError from error

    async def _answer(self, take: Take) -> dict[str, Any]:
        assert self._process.stdout is not None
        described_length, length = HEAD.unpack(await self._process.stdout.readexactly(HEAD.size))
        if described_length > _LARGEST_DESCRIPTION or length > self._largest_answer_bytes:
            raise _BrokenWorkerError
        described: dict[str, Any] = orjson.loads(await self._process.stdout.readexactly(described_length))
        while length:
            piece = await self._process.stdout.readexactly(min(length, _PIECE_BYTES))
            length -= len(piece)
            await take(piece)
        return described

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        # Cancelled or not, the process is reaped: it has been killed, so this is soon.
        await asyncio.shield(asyncio.ensure_future(self._process.wait()))


async def _each(pieces: Sequence[Buffer]) -> AsyncIterator[Buffer]:
    for piece in pieces:
        yield piece
