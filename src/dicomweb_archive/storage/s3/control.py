"""BucketControl: the calls of S3 whose answers are documents (multipart uploads, lists, batches)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, Self

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError

from dicomweb_archive.errors import ArchiveError, ObjectNotFoundError, StorageUnavailableError
from dicomweb_archive.storage.base import ObjectStat
from dicomweb_archive.storage.s3.failures import PassingError, error_of, retried
from dicomweb_archive.storage.s3.place import S3Place

# The most that one DeleteObjects takes, and that one ListObjectsV2 gives.
_BATCH = 1000


class SentPart(NamedTuple):
    """A part of a multipart upload as the service has confirmed it; `sha256` is base64."""

    number: int
    etag: str
    sha256: str


class UnfinishedUpload(NamedTuple):
    """A multipart upload that somebody has begun."""

    key: str
    upload_id: str
    begun_at: datetime


class BucketControl:
    """Speaks to one bucket through aiobotocore; keys are without the place's prefix."""

    def __init__(self, place: S3Place, client: Any) -> None:
        self._place = place
        self._client = client

    @classmethod
    @asynccontextmanager
    async def connect(cls, place: S3Place) -> AsyncIterator[Self]:
        """Open a client for as long as the block lasts."""
        config = AioConfig(
            signature_version="s3v4",
            s3={"addressing_style": place.addressing},
            # Ours is the only place that tries again, and these are no bulk transfers.
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=min(place.timeout_seconds, 5.0),
            read_timeout=place.timeout_seconds,
            max_pool_connections=place.connections,
        )
        opened = _session().create_client(
            "s3",
            endpoint_url=place.endpoint_url,
            region_name=place.region,
            aws_access_key_id=place.access_key_id,
            aws_secret_access_key=place.secret_access_key,
            config=config,
        )
        async with opened as client:
            yield cls(place, client)

    async def begin_upload(self, key: str, metadata: Mapping[str, str]) -> str:
        """Begin a multipart upload whose parts come with SHA-256, and return its id."""
        answer = await self._call("create_multipart_upload", Key=key, ChecksumAlgorithm="SHA256", Metadata=metadata)
        return str(answer["UploadId"])

    async def complete_upload(self, key: str, upload_id: str, parts: Sequence[SentPart], *, only_if_new: bool) -> None:
        """Make the object of its parts; one attempt.

        Raises:
            ConflictError: the key is taken.
            ObjectNotFoundError: there is no such upload (any more).
        """
        listed = [{"PartNumber": number, "ETag": etag, "ChecksumSHA256": sha256} for number, etag, sha256 in parts]
        condition = {"IfNoneMatch": "*"} if only_if_new else {}
        await self._once(
            "complete_multipart_upload", Key=key, UploadId=upload_id, MultipartUpload={"Parts": listed}, **condition
        )

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop a multipart upload and its parts; no error when there is none."""
        try:
            await self._call("abort_multipart_upload", Key=key, UploadId=upload_id)
        except ObjectNotFoundError:
            return

    async def unfinished_uploads(self, prefix: str = "") -> list[UnfinishedUpload]:
        """List uploads of such keys that were neither completed nor aborted, a thousand at most."""
        answer = await self._call("list_multipart_uploads", Prefix=self._place.prefix + prefix)
        return [
            UnfinishedUpload(item["Key"].removeprefix(self._place.prefix), item["UploadId"], item["Initiated"])
            for item in answer.get("Uploads", ())
        ]

    async def list(self, prefix: str) -> AsyncIterator[ObjectStat]:
        """Yield the objects whose key starts with `prefix`."""
        page: dict[str, Any] = {}
        while True:
            answer = await self._call("list_objects_v2", Prefix=self._place.prefix + prefix, MaxKeys=_BATCH, **page)
            for item in answer.get("Contents", ()):
                key = item["Key"].removeprefix(self._place.prefix)
                yield ObjectStat(key, item["Size"], item["LastModified"].timestamp())
            if not answer.get("IsTruncated"):
                return
            page = {"ContinuationToken": answer["NextContinuationToken"]}

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects, a thousand a request; all are tried before a failure is raised.

        Raises:
            StorageUnavailableError: some could not be removed.
        """
        failed = 0
        for start in range(0, len(keys), _BATCH):
            named = [{"Key": self._place.prefix + key} for key in keys[start : start + _BATCH]]
            try:
                answer = await self._call("delete_objects", Delete={"Objects": named, "Quiet": True})
            except ArchiveError:
                # The service may have come back when the next batch's turn comes.
                failed += len(named)
            else:
                failed += sum(error.get("Code") != "NoSuchKey" for error in answer.get("Errors", ()))
        if failed:
            message = f"the S3 service could not delete {failed} of {len(keys)} objects"
            raise StorageUnavailableError(message)

    async def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return await retried(lambda: self._once(operation, **arguments))

    async def _once(self, operation: str, **arguments: Any) -> dict[str, Any]:
        if "Key" in arguments:
            arguments["Key"] = self._place.prefix + arguments["Key"]
        call: Callable[..., Awaitable[dict[str, Any]]] = getattr(self._client, operation)
        try:
            return await call(Bucket=self._place.bucket, **arguments)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            raise error_of(status, str(error.response.get("Error", {}).get("Code", ""))) from None
        except (BotoCoreError, OSError, TimeoutError) as error:
            message = f"the S3 service cannot be reached or breaks off ({type(error).__name__})"
            raise PassingError(message) from None


@cache
def _session() -> AioSession:
    """Return the session of this process: reading the description of S3 takes a quarter of a second."""
    return AioSession()
