"""S3Store: objects in a bucket of any S3-compatible service."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

from dicomweb_archive.errors import ArchiveError, ObjectNotFoundError, SetupError, StorageUnavailableError
from dicomweb_archive.storage.base import Buffer, ObjectStat, ReadPattern, check_key
from dicomweb_archive.storage.ownership import StoreOwner, mark_own, require_own
from dicomweb_archive.storage.packs import PACK_PREFIX
from dicomweb_archive.storage.s3.control import BucketControl
from dicomweb_archive.storage.s3.failures import PassingError, retried
from dicomweb_archive.storage.s3.place import S3Place
from dicomweb_archive.storage.s3.range_stream import SLOW_BYTES, stream_range
from dicomweb_archive.storage.s3.requests import ObjectRequests
from dicomweb_archive.storage.s3.upload import S3Writer, Uploader

__all__ = ["S3Place", "S3Store"]

MIB = 1024 * 1024

# Twice what a request that is still coming in is given (`services/reception/limits.py`).
_UNFINISHED_AFTER = timedelta(hours=24)

logger = logging.getLogger(__name__)


class S3Store:
    """The object store of several machines: one object of the bucket an object.

    A write is seen when it is whole and then by everybody (PutObject, CompleteMultipartUpload), and only where
    nothing was (If-None-Match). Calls that may be repeated are, a few times, when the service is busy or away.
    """

    # A request costs the service as much processor time as sending three MiB, so there are few; two of them at once
    # hide the way to the service (benchmarks/storage). What is long is held by the connection, not by us.
    reading = ReadPattern(read_bytes=64 * MIB, read_ahead=1, least_bytes=SLOW_BYTES, growth=64)

    def __init__(self, requests: ObjectRequests, control: BucketControl, opened: AsyncExitStack) -> None:
        self._requests = requests
        self._control = control
        self._uploader = Uploader(requests, control)
        self._opened = opened

    @property
    def streaming(self) -> "S3Store":
        """Return this store: it keeps nothing of what is read."""
        return self

    @classmethod
    async def open_bucket(cls, place: S3Place, owner: StoreOwner | None = None) -> Self:
        """Open the store, and drop the uploads that crashes have left unfinished a day ago.

        Raises:
            SetupError: there is no such bucket, the service refuses the key, or the bucket is not the owner's.
            StorageUnavailableError: the service cannot be reached.
        """
        async with AsyncExitStack() as opening:
            control = await opening.enter_async_context(BucketControl.connect(place))
            requests = ObjectRequests(place)
            opening.push_async_callback(requests.close)
            store = cls(requests, control, opening)
            await store._check_bucket(place)
            if owner is not None:
                named = f"The bucket s3://{place.bucket}/{place.prefix}".rstrip("/")
                await require_own(store, owner, named)
                await mark_own(store, owner, named)
            await store._sweep()
            store._opened = opening.pop_all()
            return store

    async def create(self, key: str) -> S3Writer:
        """Begin a new object; nothing is asked of the service, a key that is taken is refused by `commit`."""
        return S3Writer(self._uploader, check_key(key))

    async def open(self, key: str) -> "S3Reader":
        """Prepare to read an object; nothing is asked of the service before the first read."""
        return S3Reader(self, self._requests, check_key(key))

    async def read(self, key: str, offset: int, length: int) -> Buffer:
        """Return one range of an object."""
        check_key(key)
        return await retried(lambda: self._requests.get_range(key, offset, length)) if length else b""

    async def read_at_most(self, key: str, offset: int, length: int) -> Buffer:
        """Return one range as far as the object goes."""
        check_key(key)
        return await retried(lambda: self._requests.get_at_most(key, offset, length)) if length else b""

    async def stat(self, key: str) -> ObjectStat:
        """Return size and time of an object."""
        headers = await retried(lambda: self._requests.head(check_key(key)))
        written = parsedate_to_datetime(headers["last-modified"])
        return ObjectStat(key, int(headers["content-length"]), written.timestamp())

    async def delete(self, key: str) -> None:
        """Remove the object; no error when there is none."""
        await retried(lambda: self._requests.delete(check_key(key)))

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Remove objects, a thousand a request."""
        await self._control.delete([check_key(key) for key in keys])

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectStat]:
        """Yield the objects whose key starts with `prefix`."""
        async for item in self._control.list(prefix):
            yield item

    async def free_bytes(self) -> int | None:
        """Say that S3 knows no such thing."""
        return None

    async def ping(self) -> None:
        """Ask for the bucket, once."""
        try:
            await self._requests.head("")
        except ObjectNotFoundError:
            message = "the bucket of the object store is gone"
            raise StorageUnavailableError(message) from None

    async def close(self) -> None:
        """Wait for what is being cleaned up, then close the connections."""
        await self._uploader.close()
        await self._opened.aclose()

    async def _check_bucket(self, place: S3Place) -> None:
        try:
            await retried(lambda: self._requests.head(""))
        except PassingError:
            raise
        except ObjectNotFoundError:
            message = f"The S3 service has no bucket {place.bucket}; make it, or name another in OBJECT_STORE_URL"
            raise SetupError(message) from None
        except StorageUnavailableError as error:
            message = (
                f"The bucket {place.bucket} cannot be used: {error}. Check S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, "
                "S3_REGION, the rights of the key, and this machine's clock"
            )
            raise SetupError(message) from None

    async def _sweep(self) -> None:
        oldest = datetime.now(UTC) - _UNFINISHED_AFTER
        try:
            # Of packs alone: the bucket may be shared, and what others upload is theirs.
            for upload in await self._control.unfinished_uploads(PACK_PREFIX):
                if upload.begun_at < oldest:
                    await self._control.abort_upload(upload.key, upload.upload_id)
        except ArchiveError as error:
            # Some services have no such list; a lifecycle rule of the bucket does the same.
            logger.warning("unfinished uploads cannot be looked for: %s", error)


class S3Reader:
    """An object of an S3Store; each read is a request of its own, so there is nothing to hold open."""

    def __init__(self, store: S3Store, requests: ObjectRequests, key: str) -> None:
        self._store = store
        self._requests = requests
        self._key = key

    async def read(self, offset: int, length: int) -> Buffer:
        """Return exactly these bytes."""
        return await self._store.read(self._key, offset, length)

    def stream(self, offset: int, length: int) -> AsyncGenerator[Buffer, None]:
        """Yield exactly these bytes as the service sends them."""
        return stream_range(self._requests, self._key, offset, length)

    async def close(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
