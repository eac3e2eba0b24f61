"""Kinds of jobs: a name, the work that it stands for, and how often it is tried."""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from dicomweb_archive.index.jobs.queue import JobQueue, Lease, Progress
from dicomweb_archive.index.jobs.rows import Job, JsonObject
from dicomweb_archive.services.access import Principal

_WRITE_SECONDS = 0.5


class LeaseLostError(Exception):
    """Another worker may have this job by now; whoever works at it stops. The work has not failed: no ArchiveError."""


class JobCancelledError(Exception):
    """Somebody has asked for the end of this job; no failure either."""


@dataclass(slots=True)
class JobRun:
    """One attempt at a job, as its work sees it.

    Attributes:
        job: as it was taken; `job.arguments` is what was asked for, `job.checkpoint` where the last attempt was.
        progress: how far this one has come.
    """

    job: Job
    lease: Lease
    queue: JobQueue
    progress: Progress
    _written_at: float = field(default_factory=time.monotonic)

    async def report(self, done: int, *, total: int | None = None, checkpoint: JsonObject | None = None) -> None:
        """Say how far the work has come; call it after each step, it writes twice a second at most.

        A later attempt gets the checkpoint that was written last, so work that follows it is done again: it must
        be harmless to do twice.

        Args:
            total, checkpoint: `None` leaves what was said before.

        Raises:
            JobCancelledError, LeaseLostError: the work is to end here; let it pass through.
        """
        before = self.progress
        self.progress = Progress(
            done,
            before.total if total is None else total,
            before.checkpoint if checkpoint is None else checkpoint,
        )
        if time.monotonic() - self._written_at >= _WRITE_SECONDS:
            await self.write()

    async def write(self) -> None:
        """Write the progress down and keep the lease.

        Raises:
            JobCancelledError, LeaseLostError: see `report`.
        """
        self._written_at = time.monotonic()
        asked = await self.queue.renew(self.lease, self.progress)
        if asked is None:
            message = "the lease of a job was lost"
            raise LeaseLostError(message)
        if asked:
            message = "somebody has asked for the end of this job"
            raise JobCancelledError(message)


Work: TypeAlias = Callable[[JobRun], Awaitable[JsonObject | None]]
"""Does a job; what it returns is kept as its result: counts and names of ours, no value of a data set."""


class Lane(StrEnum):
    """What jobs wait behind: those of their own lane, and of no other."""

    ASKED = "asked"
    """Somebody waits for it: publishing, checks, decisions."""
    UPKEEP = "upkeep"
    """Short work at intervals, which nobody waits for."""
    SWEEPS = "sweeps"
    """Long work at intervals: it may take hours, and short work goes on beside it."""
    DELIVERIES = "deliveries"
    """What waits for others: targets of webhooks, which may be slow."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """What a job of some name is.

    Attributes:
        work: what is done. It may be interrupted at any moment and tried again, elsewhere, so it must be harmless to
            do twice; nothing blocks the event loop in it.
        every_seconds: a job that comes again and again, with so long a pause; there is one of it.
        attempts: how often it is begun before it has failed; an `ArchiveError` that trying again does not mend
            ends it at once.
        cancelled: puts in order what a cancelled job leaves behind, whether it was at work, had been or never was.
        lane: which jobs it waits behind.
        failed: puts in order what a job leaves behind whose attempts are used up, or that cannot be mended.
        taken_over: makes its arguments anew for whoever begins it again, where they say with whose rights it works.
    """

    name: str
    work: Work
    every_seconds: float | None = None
    attempts: int = 5
    cancelled: Callable[[Job], Awaitable[None]] | None = None
    lane: Lane = Lane.ASKED
    failed: Callable[[Job], Awaitable[None]] | None = None
    taken_over: Callable[[JsonObject, Principal], JsonObject] | None = None


class JobKinds:
    """The kinds of jobs that this process can run, by name."""

    def __init__(self, kinds: Iterable[JobKind] = ()) -> None:
        self._kinds: dict[str, JobKind] = {}
        for kind in kinds:
            self.register(kind)

    def register(self, kind: JobKind) -> None:
        """Take in a kind.

        Raises:
            ValueError: there is one of this name.
        """
        if kind.name in self._kinds:
            message = f"there is a kind of jobs called {kind.name} already"
            raise ValueError(message)
        self._kinds[kind.name] = kind

    def __iter__(self) -> Iterator[JobKind]:
        """Go through all kinds."""
        return iter(self._kinds.values())

    def __getitem__(self, name: str) -> JobKind:
        """Return the kind of this name."""
        return self._kinds[name]

    def names(self, lane: Lane | None = None) -> list[str]:
        """Return the names of the kinds of a lane, or of all."""
        return [kind.name for kind in self if lane in (None, kind.lane)]

    def taken_over(self, job: Job, principal: Principal) -> JsonObject:
        """Return the arguments of a job that this principal begins again."""
        kind = self._kinds.get(job.kind)
        return job.arguments if kind is None or kind.taken_over is None else kind.taken_over(job.arguments, principal)

    async def clear_up(self, job: Job) -> None:
        """Put in order what a cancelled job leaves behind."""
        kind = self._kinds.get(job.kind)
        if kind is not None and kind.cancelled is not None:
            await kind.cancelled(job)
