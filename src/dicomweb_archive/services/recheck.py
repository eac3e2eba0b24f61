"""Recheck: an object that is missing may have been deleted since it was located, which is no damage."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dicomweb_archive.errors import ObjectNotFoundError, StorageUnavailableError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.reading.instances import InstanceIndex, InstanceLocation
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.representation import Representation
from dicomweb_archive.storage.base import Buffer


@asynccontextmanager
async def gone_if_deleted(
    instances: InstanceIndex, location: InstanceLocation, visibility: Visibility
) -> AsyncIterator[None]:
    """Within this block the object of an instance is read; locations are believed for half a second.

    Raises:
        GoneError: the object is missing because the instance was deleted meanwhile.
        StorageUnavailableError: it was stored anew meanwhile, elsewhere; the next try will find it.
        ObjectNotFoundError: the index has it where it was, so it should be there.
    """
    try:
        yield
    except ObjectNotFoundError as error:
        await _explain(instances, location, visibility, error)
        raise


async def _explain(
    instances: InstanceIndex, location: InstanceLocation, visibility: Visibility, error: ObjectNotFoundError
) -> None:
    """Say what else became of an object that is missing; return when the index still has it where it was."""
    uids = location.study_instance_uid, location.series_instance_uid, location.sop_instance_uid
    segments = await instances.locate(Scope(*uids), visibility)
    if any(found.object_key == location.object_key for segment in segments for found in segment):
        return
    instances.forget_deleted()
    message = "this instance has just been stored anew; ask again"
    raise StorageUnavailableError(message) from error


async def rechecked(
    instances: InstanceIndex, location: InstanceLocation, visibility: Visibility, answering: Awaitable[Representation]
) -> Representation:
    """Answer from an instance whose location may be out of date, in the answer's streams too.

    Raises:
        GoneError, StorageUnavailableError, ObjectNotFoundError: see `gone_if_deleted`.
    """
    # Hot path: the block of `gone_if_deleted`, here and below, without what a context manager costs.
    try:
        answer = await answering
    except ObjectNotFoundError as error:
        await _explain(instances, location, visibility, error)
        raise
    streams = _Streams(instances, location, visibility, answer)
    ranged = None if answer.ranged is None else streams.ranged
    return Representation(answer.content_type, streams.whole(), answer.content_length, answer.headers, ranged)


@dataclass(frozen=True, slots=True)
class _Streams:
    """The bytes of one answer, read within `gone_if_deleted`."""

    instances: InstanceIndex
    location: InstanceLocation
    visibility: Visibility
    answer: Representation

    def whole(self) -> AsyncGenerator[Buffer, None]:
        return self._chunks_or_gone(self.answer.chunks)

    def ranged(self, start: int, stop: int) -> AsyncGenerator[Buffer, None]:
        assert self.answer.ranged is not None
        return self._chunks_or_gone(self.answer.ranged(start, stop))

    async def _chunks_or_gone(self, chunks: AsyncGenerator[Buffer, None]) -> AsyncGenerator[Buffer, None]:
        try:
            async for chunk in chunks:
                yield chunk
        except ObjectNotFoundError as error:
            await _explain(self.instances, self.location, self.visibility, error)
            raise
        finally:
            await chunks.aclose()
