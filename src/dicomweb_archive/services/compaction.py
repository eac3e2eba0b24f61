"""Compaction: the small packs of a quiet series become one, and what is dead in packs takes no more room.

A new pack is durable before any row names it. The old objects stay for a grace time, because answers that have begun
still read them, and rows of a database that is restored from a backup may name them.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from dicomweb_archive.errors import ArchiveError, DamagedObjectError, DatabaseUnavailableError, ObjectNotFoundError
from dicomweb_archive.index.writing.compaction import (
    QUIET_SECONDS,
    CompactionIndex,
    PackMember,
    Rewritten,
    plan_compaction,
)
from dicomweb_archive.services.packing import member_name
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.storage.packs import Member, PackWriter, Placed, new_pack_key
from dicomweb_archive.storage.spans import Span, stream_spans

HELD_BYTES = 8 * 1024 * 1024
"""What is longer than this is copied in pieces."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a round of compaction did."""

    series: int = 0
    packs_before: int = 0
    packs_after: int = 0
    size_bytes: int = 0
    deleted: int = 0

    def __add__(self, other: "Compacted") -> "Compacted":
        return Compacted(
            self.series + other.series,
            self.packs_before + other.packs_before,
            self.packs_after + other.packs_after,
            self.size_bytes + other.size_bytes,
            self.deleted + other.deleted,
        )


@dataclass(frozen=True, slots=True)
class CompactionService:
    """Writes packs anew.

    Args:
        pack_bytes, pack_instances: a new pack is closed when it has reached one of them.
        grace_seconds: how long the objects of retired packs stay.
        quiet_seconds: a series that has changed since then is still growing.
    """

    index: CompactionIndex
    objects: ObjectStore
    pack_bytes: int
    pack_instances: int
    grace_seconds: float
    quiet_seconds: float = QUIET_SECONDS
    held_bytes: int = HELD_BYTES

    async def work(self, report: Callable[[Compacted], Awaitable[None]]) -> Compacted:
        """Look at what has come or died since the last round; it may be interrupted anywhere and goes on from there.

        Args:
            report: is told after each series how much was done.

        Raises:
            DatabaseUnavailableError, StorageUnavailableError, StorageFullError: what was done stays done.
        """
        total = Compacted(deleted=await self._delete_overdue())
        async for series_id in self._series():
            total += await self.compact_series(series_id)
            await report(total)
        return total

    async def compact_series(self, series_id: int) -> Compacted:
        """Write the packs of one series anew where that gains something.

        A series that is damaged, or that others hold for long, is left as it is.
        """
        packs = await self.index.packs_of(series_id)
        chosen = plan_compaction(packs, most_bytes=self.pack_bytes, most_instances=self.pack_instances)
        if not chosen:
            return Compacted()
        keys = {pack.id: pack.object_key for pack in chosen}
        written = 0
        size_bytes = 0
        try:
            for members in self._divided(await self.index.members_of(series_id, chosen)):
                rewritten = await self._rewrite(members, keys)
                if await self._swap(series_id, rewritten):
                    written += 1
                    size_bytes += rewritten.size_bytes
        except (DamagedObjectError, ObjectNotFoundError) as error:
            logger.error("a series could not be compacted", extra={"series": series_id, "error": type(error).__name__})
        return Compacted(1, len(chosen), written, size_bytes) if written else Compacted()

    async def _series(self) -> AsyncIterator[int]:
        for series_id in await self.index.take_thinned(quiet_seconds=self.quiet_seconds):
            yield series_id
        passed = await self.index.passed()
        while (found := await self.index.find_next(passed, quiet_seconds=self.quiet_seconds)) is not None:
            passed, series = found
            for series_id in series:
                yield series_id
            await self.index.keep_passed(passed)

    def _divided(self, members: Sequence[PackMember]) -> list[list[PackMember]]:
        parts: list[list[PackMember]] = []
        size = 0
        for member in members:
            if not parts or size + member.byte_length > self.pack_bytes or len(parts[-1]) >= self.pack_instances:
                parts.append([])
                size = 0
            parts[-1].append(member)
            size += member.byte_length
        return parts

    async def _rewrite(self, members: Sequence[PackMember], keys: dict[int, str]) -> Rewritten:
        """Copy members into a new pack, each proven by its digest on the way.

        Raises:
            DamagedObjectError: one of them is not what was stored; no pack is left behind.
        """
        writer = await PackWriter.create(self.objects, new_pack_key())
        try:
            placed: list[Placed] = []
            for batch in _batches(members, self.held_bytes):
                placed += await self._copy(writer, keys[batch[0].pack_id], batch)
            if any(place.digest != member.digest for place, member in zip(placed, members, strict=True)):
                message = "a pack does not hold what was stored in it"
                raise DamagedObjectError(message)
            info = await writer.close()
        except BaseException:
            await writer.abort()
            raise
        assert info is not None
        return Rewritten(info.key, info.size_bytes, members, [place.offset for place in placed])

    async def _copy(self, writer: PackWriter, key: str, batch: Sequence[PackMember]) -> list[Placed]:
        first, last = batch[0], batch[-1]
        store = self.objects.streaming
        if first.byte_length > self.held_bytes:
            stream = await writer.open_member(member_name(first.sop_instance_uid))
            spans = [Span(key, first.byte_offset, first.byte_length)]
            async with aclosing(stream_spans(store, spans)) as pieces:
                async for piece in pieces:
                    await stream.write([piece])
            return [await stream.finish()]
        start = first.byte_offset
        data = memoryview(await store.read(key, start, last.byte_offset + last.byte_length - start))
        return await writer.append(
            [
                Member(
                    member_name(member.sop_instance_uid),
                    data[member.byte_offset - start : member.byte_offset - start + member.byte_length],
                )
                for member in batch
            ]
        )

    async def _swap(self, series_id: int, rewritten: Rewritten) -> bool:
        """Let the index use the new pack; one that it does not use goes again."""
        try:
            is_used = await self.index.swap(series_id, rewritten)
        except DatabaseUnavailableError:
            # Whether the commit has reached the database is not known here: the sweep of orphans will.
            logger.warning("a compacted pack is left to the sweep of orphans")
            raise
        if not is_used:
            with suppress(ArchiveError):
                await self.objects.delete(rewritten.object_key)
        return is_used

    async def _delete_overdue(self) -> int:
        deleted = 0
        while keys := await self.index.overdue(grace_seconds=self.grace_seconds):
            await self.objects.delete_many(keys)
            await self.index.forget_retired(keys)
            deleted += len(keys)
        return deleted


def _batches(members: Sequence[PackMember], most_bytes: int) -> list[list[PackMember]]:
    """Put members together that lie behind each other and are read at once; a long one is alone."""
    batches: list[list[PackMember]] = []
    for member in members:
        batch = batches[-1] if batches else None
        if (
            batch is not None
            and batch[0].pack_id == member.pack_id
            and member.byte_offset + member.byte_length - batch[0].byte_offset <= most_bytes
        ):
            batch.append(member)
        else:
            batches.append([member])
    return batches
