"""What the archive does in the background: which kinds of jobs there are, and who does them.

A server process does jobs beside its requests; `dicomweb-archive worker` does nothing else.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict

from dicomweb_archive.checks.catalogue import CHECK_SETS
from dicomweb_archive.checks.findings import Severity
from dicomweb_archive.errors import TransitionError
from dicomweb_archive.index.curation.approvals import ApprovalIndex
from dicomweb_archive.index.curation.conflict_decisions.deciding import ConflictDecisions
from dicomweb_archive.index.curation.conflicts import ConflictIndex
from dicomweb_archive.index.curation.edits.content import EditContent
from dicomweb_archive.index.curation.edits.records import EditIndex
from dicomweb_archive.index.curation.edits.writing import EditWriter
from dicomweb_archive.index.curation.emptying import EmptyingIndex
from dicomweb_archive.index.curation.examined import ExaminedContent
from dicomweb_archive.index.curation.expiry import ExpiryIndex
from dicomweb_archive.index.curation.findings import FindingIndex
from dicomweb_archive.index.curation.foresight import Foresight
from dicomweb_archive.index.curation.inventory_index import InventoryIndex
from dicomweb_archive.index.curation.manifests import ManifestIndex
from dicomweb_archive.index.curation.queue import SubmissionQueue
from dicomweb_archive.index.curation.submissions import SubmissionIndex, SubmissionState
from dicomweb_archive.index.curation.trail import SubmissionTrail
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.events.feed import FeedIndex
from dicomweb_archive.index.events.sealing import Sealer
from dicomweb_archive.index.events.webhooks import WebhookIndex
from dicomweb_archive.index.jobs.queue import JobQueue
from dicomweb_archive.index.jobs.rows import Job, JsonObject
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.upkeep.held_paths import HeldPathsIndex
from dicomweb_archive.index.upkeep.merging import SegmentMerger
from dicomweb_archive.index.upkeep.statistics import IndexUpkeep
from dicomweb_archive.index.writing.compaction import CompactionIndex
from dicomweb_archive.index.writing.packs import PackIndex
from dicomweb_archive.index.writing.publication import Publication
from dicomweb_archive.index.writing.purged_terms import PurgedTerms
from dicomweb_archive.index.writing.removal import Removal
from dicomweb_archive.services.checks.examiner import Examiner
from dicomweb_archive.services.checks.files import FileReader
from dicomweb_archive.services.checks.iod import IodValidator
from dicomweb_archive.services.checks.service import RUN_CHECKS, CheckService
from dicomweb_archive.services.compaction import Compacted, CompactionService
from dicomweb_archive.services.edits.applying import EditApplier
from dicomweb_archive.services.edits.edit_job import edit_kind
from dicomweb_archive.services.edits.preview import EditPreviewer
from dicomweb_archive.services.edits.service import EditService
from dicomweb_archive.services.inventory.service import InventoryService
from dicomweb_archive.services.jobs.kinds import JobKind, JobKinds, JobRun, Lane
from dicomweb_archive.services.jobs.runner import JobRunner
from dicomweb_archive.services.maintenance import IndexMaintenance, MaintenanceService
from dicomweb_archive.services.sealing import SealingRounds
from dicomweb_archive.services.submissions.conflict_decisions import ConflictDecisionService, conflict_decisions_kind
from dicomweb_archive.services.submissions.decisions import decisions_kind
from dicomweb_archive.services.submissions.emptying import EmptyingService
from dicomweb_archive.services.submissions.expiring import ExpiringService
from dicomweb_archive.services.submissions.kept_files import KeptFiles
from dicomweb_archive.services.submissions.publishing import PublishingService
from dicomweb_archive.services.submissions.publishing_job import publishing_kind
from dicomweb_archive.services.submissions.submissions import SubmissionService
from dicomweb_archive.services.submissions.transitions import Action
from dicomweb_archive.settings import Settings
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.wire.webhook_targets import AllowedHosts

LOOK_AFTER_INDEX = "look-after-index"
"""Merges small segments and refreshes statistics."""

COMPACT_PACKS = "compact-packs"
"""Makes one pack of the small ones of a quiet series, and drops what is dead in packs."""

FIND_ORPHANS = "find-orphans"
"""Counts objects without a row, and deletes them where the settings say so."""

EXPIRE_SUBMISSIONS = "expire-submissions"
"""Ends submissions to which nothing happens, and those of a day that hold nothing."""

EMPTY_SUBMISSIONS = "empty-submissions"
"""Drops what rejected, withdrawn and expired submissions hold, when the settings say so."""

FORGET_VALUES = "forget-values"
"""Takes values of what was purged out of the dictionary of searches."""

FORGET_JOBS = "forget-jobs"
"""Drops jobs that have ended long ago."""

JOBS_KEPT_DAYS = 90.0
_BEFORE_CHECKS = (SubmissionState.SEALED, SubmissionState.FAILED_CHECKS)
_HOUR_SECONDS = 3600.0
_DAY_SECONDS = 24 * _HOUR_SECONDS


def open_runner(settings: Settings, database: Database, objects: ObjectStore) -> JobRunner:
    """Make what does jobs, with every kind that this release has."""
    queue = JobQueue(database)
    kinds = JobKinds(_kinds(settings, database, objects, queue))
    return JobRunner(queue, kinds, slots=max(1, settings.job_slots))


@asynccontextmanager
async def at_work(runner: JobRunner, sealer: Sealer) -> AsyncIterator[None]:
    """Do jobs and seal events for as long as the block lasts."""
    tasks = [asyncio.create_task(runner.run()), asyncio.create_task(SealingRounds(sealer).run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


def _kinds(settings: Settings, database: Database, objects: ObjectStore, queue: JobQueue) -> list[JobKind]:
    checks = check_service(database, objects)
    edits = edit_service(database, objects)
    submissions = submission_service(database, checks, edits, inventory_service(database))
    publishing = PublishingService(
        submissions, Publication(database, timezone=settings.timezone), objects, Foresight(database)
    )
    kinds = [
        _orphans(MaintenanceService(PackIndex(database), objects), delete=settings.delete_orphans),
        _expiring(ExpiringService(ExpiryIndex(database), settings.submission_expiry_days)),
        _emptying(_emptying_service(settings, database, objects)),
        _forgetting_values(PurgedTerms(database, timezone=settings.timezone)),
        _forgetting(queue),
        publishing_kind(publishing),
        decisions_kind(submissions, publishing, queue),
        conflict_decisions_kind(conflict_decision_service(settings, database, objects, submissions)),
        _checking(submissions, checks),
        _editing(settings, database, objects),
    ]
    if settings.webhook_hosts or settings.webhook_private_hosts:
        kinds.append(_delivering(settings, database))
    if settings.maintenance_interval_seconds:
        maintenance = IndexMaintenance(SegmentMerger(database), IndexUpkeep(database), HeldPathsIndex(database))
        kinds.append(_index(maintenance, settings.maintenance_interval_seconds))
    if settings.compaction_interval_seconds:
        compaction = CompactionService(
            CompactionIndex(database),
            objects,
            pack_bytes=settings.pack_bytes,
            pack_instances=settings.pack_instances,
            grace_seconds=settings.compaction_grace_hours * 3600,
        )
        kinds.append(_compacting(compaction, settings.compaction_interval_seconds))
    return kinds


def conflict_decision_service(
    settings: Settings,
    database: Database,
    objects: ObjectStore,
    submissions: SubmissionService,
    instances: InstanceIndex | None = None,
) -> ConflictDecisionService:
    """Make what decides on conflicts; `instances` are those that this process serves, if it does."""
    decisions = ConflictDecisions(database, instances, timezone=settings.timezone)
    return ConflictDecisionService(submissions, ConflictIndex(database), decisions, KeptFiles(objects))


def submission_service(
    database: Database,
    checks: CheckService,
    edits: EditService,
    inventory: InventoryService,
    wake: Callable[[], None] | None = None,
) -> SubmissionService:
    """Make what keeps submissions, with all that stands in the way of their decisions and follows from them."""
    return SubmissionService(
        SubmissionIndex(database),
        SubmissionQueue(database),
        SubmissionTrail(database),
        gates=(edits.against_approval, checks.against_approval, inventory.against_approval),
        follow_ups={Action.SEAL: checks.after_sealing},
        wake=wake,
    )


def check_service(database: Database, objects: ObjectStore) -> CheckService:
    """Make what runs checks over submissions, with dicom3tools where they are installed."""
    content = ExaminedContent(database)
    examiner = Examiner(content, FileReader(content, objects, IodValidator.find()), ManifestIndex(database))
    return CheckService(SubmissionIndex(database), FindingIndex(database), examiner)


def inventory_service(database: Database) -> InventoryService:
    """Make what looks through submissions by value."""
    return InventoryService(InventoryIndex(database), ApprovalIndex(database), SubmissionIndex(database))


def edit_service(database: Database, objects: ObjectStore, wake: Callable[[], None] | None = None) -> EditService:
    """Make what lets curators correct what waits."""
    return EditService(EditIndex(database), EditPreviewer(EditContent(database), objects), wake)


def _editing(settings: Settings, database: Database, objects: ObjectStore) -> JobKind:
    applier = EditApplier(
        EditContent(database),
        EditWriter(database, timezone=settings.timezone),
        objects,
        pack_bytes=settings.pack_bytes,
        pack_instances=settings.pack_instances,
    )
    return edit_kind(SubmissionIndex(database), EditIndex(database), applier)


def _checking(submissions: SubmissionService, checks: CheckService) -> JobKind:
    async def move(job: Job, action: Action, comment: str = "") -> None:
        # What is open, approved or decided stays so: the checks are run, and tell.
        with suppress(TransitionError):
            await submissions.advance(job.arguments["submission"], action, actor=job.actor, comment=comment)

    async def work(run: JobRun) -> JsonObject:
        asked = run.job.arguments
        submission = await checks.submission(asked["submission"])
        # Who has taken it into review by hand, or opened it again, is not overruled by checks that come later.
        if not asked.get("after_sealing") or submission.state in _BEFORE_CHECKS:
            await move(run.job, Action.BEGIN_CHECKS)
        counts = await checks.run(
            submission,
            CHECK_SETS[asked["check_set"]],
            read_files=asked["read_files"],
            actor=run.job.actor,
            progress=run.report,
        )
        await move(run.job, Action.FAIL_CHECKS if counts[Severity.BLOCK].open else Action.PASS_CHECKS)
        return {severity.value: count.open for severity, count in counts.items()}

    async def cancelled(job: Job) -> None:
        # One that was never begun has moved nothing; another one may be at work.
        if job.started_at is not None:
            await move(job, Action.FAIL_CHECKS, "the checks were cancelled")

    async def failed(job: Job) -> None:
        # Nobody checks it any more, so it is for people: they may ask for checks again, or decide without.
        await move(job, Action.FAIL_CHECKS, "the checks could not be run to their end")

    return JobKind(RUN_CHECKS, work, cancelled=cancelled, failed=failed)


def _index(maintenance: IndexMaintenance, every_seconds: float) -> JobKind:
    async def work(run: JobRun) -> JsonObject:
        refreshed, merged = await maintenance.work()
        return {
            "analysed": list(refreshed.analysed) if refreshed else [],
            "segments_before": merged.segments_before if merged else 0,
            "segments_after": merged.segments_after if merged else 0,
        }

    return JobKind(LOOK_AFTER_INDEX, work, every_seconds, lane=Lane.UPKEEP)


def _compacting(compaction: CompactionService, every_seconds: float) -> JobKind:
    async def work(run: JobRun) -> JsonObject:
        async def report(done: Compacted) -> None:
            await run.report(done.series)

        return asdict(await compaction.work(report))

    return JobKind(COMPACT_PACKS, work, every_seconds, lane=Lane.SWEEPS)


def _delivering(settings: Settings, database: Database) -> JobKind:
    # Read late: most archives send nothing, and do without the client.
    from dicomweb_archive.services.webhooks.delivery import DeliveryService, delivering_kind
    from dicomweb_archive.services.webhooks.sending import open_target

    hosts = AllowedHosts.of(settings.webhook_hosts, settings.webhook_private_hosts)
    index, feed = WebhookIndex(database), FeedIndex(database)
    return delivering_kind(DeliveryService(index, feed, hosts, open_target, settings.webhook_attempts))


def _orphans(maintenance: MaintenanceService, *, delete: bool) -> JobKind:
    async def work(run: JobRun) -> JsonObject:
        orphans = await maintenance.find_orphans()
        if delete:
            await maintenance.delete_orphans(orphans)
        return {
            "orphans": len(orphans.found),
            "size_bytes": orphans.size_bytes,
            "in_use": orphans.known,
            "deleted": delete,
        }

    return JobKind(FIND_ORPHANS, work, _DAY_SECONDS, lane=Lane.SWEEPS)


def _expiring(expiring: ExpiringService) -> JobKind:
    async def work(run: JobRun) -> JsonObject:
        return asdict(await expiring.expire(actor=run.job.actor, report=run.report))

    return JobKind(EXPIRE_SUBMISSIONS, work, _DAY_SECONDS, lane=Lane.UPKEEP)


def _emptying_service(settings: Settings, database: Database, objects: ObjectStore) -> EmptyingService:
    removal = Removal(database, InstanceIndex(database), timezone=settings.timezone)
    return EmptyingService(EmptyingIndex(database, removal), objects, settings.rejected_kept_days)


def _emptying(emptying: EmptyingService) -> JobKind:
    async def work(run: JobRun) -> JsonObject:
        return asdict(await emptying.empty(actor=run.job.actor, report=run.report))

    return JobKind(EMPTY_SUBMISSIONS, work, _DAY_SECONDS, lane=Lane.UPKEEP)


def _forgetting_values(terms: PurgedTerms) -> JobKind:
    async def work(run: JobRun) -> JsonObject:
        done = 0
        for step in (terms.look_after, terms.drop):
            while count := await step():
                done += count
                await run.report(done)
        return {"looked_at": done}

    return JobKind(FORGET_VALUES, work, _HOUR_SECONDS, lane=Lane.UPKEEP)


def _forgetting(queue: JobQueue) -> JobKind:
    async def work(run: JobRun) -> None:
        await queue.forget_finished(days=JOBS_KEPT_DAYS)

    return JobKind(FORGET_JOBS, work, _DAY_SECONDS, lane=Lane.UPKEEP)
