"""S3Writer: an object being written, one request when it is small and a multipart upload when it is not."""

import asyncio
import base64
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence

from dicomweb_archive.errors import ArchiveError, ConflictError, ObjectNotFoundError
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.storage.s3.control import BucketControl, SentPart
from dicomweb_archive.storage.s3.failures import NotImplementedByServiceError, retried
from dicomweb_archive.storage.s3.requests import ObjectRequests

MIB = 1024 * 1024

# The least that S3 takes is 5 MiB for all parts but the last.
_FIRST_PART_BYTES = 8 * MIB
# S3 takes 10,000 parts of an object: growing ones make 300 GB of them.
_PARTS_OF_ONE_SIZE = 2500
_PARTS_AT_ONCE = 2
# Whose write an object is: an answer that got lost is told from another's object by it.
_WRITTEN_BY = "written-by"

logger = logging.getLogger(__name__)


class Uploader:
    """What writers share: the two ways to speak to the service, and clean-ups that outlive their callers."""

    def __init__(self, requests: ObjectRequests, control: BucketControl) -> None:
        self.requests = requests
        self.control = control
        # Whether the service has refused to write under a condition; then it is asked before instead.
        self.asks_before = False
        self._cleaning: set[asyncio.Task[None]] = set()

    def clean(self, work: Awaitable[None]) -> "asyncio.Task[None]":
        """Do work that must be done also when its caller is cancelled."""
        task = asyncio.ensure_future(_logged(work))
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)
        return task

    async def close(self) -> None:
        """Wait for what is being cleaned up."""
        if self._cleaning:
            await asyncio.wait(self._cleaning)


class S3Writer:
    """An object being written; at most one `write` or `commit` at a time, the others wait for it.

    Holds three parts of 8 MiB at most: one that fills, two that are on their way. Each part carries its SHA-256, in
    the signature and as the checksum that the service keeps.
    """

    def __init__(self, uploader: Uploader, key: str) -> None:
        self._uploader = uploader
        self._key = key
        self._token = secrets.token_hex(16)
        self._part = bytearray()
        self._upload_id: str | None = None
        self._sending: list[asyncio.Task[SentPart]] = []
        self._turn = asyncio.Lock()
        # Set while something runs: what was cancelled or failed leaves an unknown state behind.
        self._unsure = False
        self._published = False
        self._ended = False

    async def write(self, pieces: Sequence[Buffer]) -> None:
        """Append the pieces in order; they are copied, so their owner may use them again."""
        async with self._turn:
            self._begin()
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    taken = view[: self._part_bytes - len(self._part)]
                    self._part += taken
                    view = view[len(taken) :]
                    if len(self._part) >= self._part_bytes:
                        await self._send_part()
            self._unsure = False

    async def commit(self) -> None:
        """Make the object visible under its key; the service keeps it durably from then on.

        Raises:
            ConflictError: the key is taken.
        """
        async with self._turn:
            self._begin()
            if self._upload_id is None:
                await self._put_whole()
            else:
                await self._complete(self._upload_id)
            self._ended = True

    async def abort(self) -> None:
        """Drop what was written; harmless after `commit`."""
        if self._ended:
            return
        self._ended = True
        self._part = bytearray()
        for task in self._sending:
            task.cancel()
        await asyncio.shield(self._uploader.clean(self._drop()))

    @property
    def _part_bytes(self) -> int:
        return _FIRST_PART_BYTES << (len(self._sending) // _PARTS_OF_ONE_SIZE)

    def _begin(self) -> None:
        if self._ended or self._unsure:
            message = "the object was committed or aborted, or a write failed"
            raise ValueError(message)
        self._unsure = True

    async def _send_part(self) -> None:
        """Send the part that is full, when no more than one other is on its way."""
        if self._upload_id is None:
            metadata = {_WRITTEN_BY: self._token}
            self._upload_id = await self._uploader.control.begin_upload(self._key, metadata)
        part, self._part = self._part, bytearray()
        number = len(self._sending) + 1
        self._sending.append(asyncio.create_task(self._put_part(self._upload_id, number, part)))
        if number > _PARTS_AT_ONCE:
            # In order, so that a failure is raised by the next write.
            await asyncio.shield(self._sending[number - _PARTS_AT_ONCE - 1])

    async def _put_part(self, upload_id: str, number: int, body: bytearray) -> SentPart:
        digest = await asyncio.to_thread(_sha256, body)
        query = (("partNumber", str(number)), ("uploadId", upload_id))
        headers = {"x-amz-checksum-sha256": _base64(digest)}
        put = self._uploader.requests.put
        answer = await retried(lambda: put(self._key, body, payload_sha256=digest, headers=headers, query=query))
        return SentPart(number, answer["etag"], _base64(digest))

    async def _put_whole(self) -> None:
        body = self._part
        digest = await asyncio.to_thread(_sha256, body)
        headers = {"x-amz-checksum-sha256": _base64(digest), f"x-amz-meta-{_WRITTEN_BY}": self._token}

        async def put(only_if_new: bool) -> None:
            condition = {"if-none-match": "*"} if only_if_new else {}
            await self._uploader.requests.put(self._key, body, payload_sha256=digest, headers=headers | condition)

        await self._publish(put)

    async def _complete(self, upload_id: str) -> None:
        if self._part:
            await self._send_part()
        parts = [await task for task in self._sending]

        async def complete(only_if_new: bool) -> None:
            await self._uploader.control.complete_upload(self._key, upload_id, parts, only_if_new=only_if_new)

        await self._publish(complete)

    async def _publish(self, step: Callable[[bool], Awaitable[None]]) -> None:
        """Make the object visible under the condition that its key is free."""
        try:
            if not self._uploader.asks_before:
                await self._try_to_publish(lambda: step(True))
                return
        except NotImplementedByServiceError:
            self._uploader.asks_before = True
        if await self._written_by() is not None:
            raise _taken()
        await self._try_to_publish(lambda: step(False))

    async def _try_to_publish(self, step: Callable[[], Awaitable[None]]) -> None:
        async def once() -> None:
            again, self._published = self._published, True
            try:
                await step()
            except (ConflictError, ObjectNotFoundError):
                # An attempt before this one may have succeeded and only its answer got lost.
                if not again or await self._written_by() != self._token:
                    raise
            except NotImplementedByServiceError:
                self._published = again
                raise

        await retried(once)

    async def _written_by(self) -> str | None:
        """Return who has written the object that is there, empty when that cannot be told; None when there is none."""
        try:
            headers = await retried(lambda: self._uploader.requests.head(self._key))
        except ObjectNotFoundError:
            return None
        return headers.get(f"x-amz-meta-{_WRITTEN_BY}", "")

    async def _drop(self) -> None:
        """Remove the traces of this writer: parts of an upload, or an object whose commit was not seen to end."""
        # Their failures are asked for here: the first one has been raised, of the others nobody hears.
        await asyncio.gather(*self._sending, return_exceptions=True)
        if self._upload_id is not None:
            await self._uploader.control.abort_upload(self._key, self._upload_id)
        if self._published and await self._written_by() == self._token:
            await retried(lambda: self._uploader.requests.delete(self._key))


async def _logged(work: Awaitable[None]) -> None:
    try:
        await work
    except ArchiveError:
        # The sweep of unfinished uploads and that of orphans find it later.
        logger.warning("what an interrupted write has left in the object store could not be removed")


def _taken() -> ConflictError:
    return ConflictError("an object with this key exists already")


def _sha256(data: Buffer) -> bytes:
    return hashlib.sha256(data).digest()


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
