"""Findings: what checks have to say of a submission, kept until they are run again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dicomweb_archive.checks.catalogue import CheckSet
from dicomweb_archive.checks.findings import Finding, FindingLevel, Severity
from dicomweb_archive.errors import ConflictError, NotFoundError
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.writing.events import EventKind, insert_event

_FIELDS = (
    "check_name, check_version, severity, message, level, study_instance_uid, series_instance_uid,"
    " sop_instance_uid, path, instances"
)

# Adds findings; those that were waived before bring their waiver with them.
INSERT_FINDINGS = f"""
insert into finding (space_id, run_id, {_FIELDS}, waived_by, waived_at, waiver_reason)
select $1, $2, f.*
from unnest($3::text[], $4::int4[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
  $11::text[], $12::int4[], $13::text[], $14::timestamptz[], $15::text[]) f
"""  # noqa: S608 - composed of constants

# One run at a time writes the findings of a space.
LOCK_SPACE = "select 1 from space where id = $1 for no key update"

INSERT_RUN = """
insert into check_run (space_id, check_set, set_version, read_files, actor, started_at, series, instances)
values ($1, $2, $3, $4, $5, $6, $7, $8) returning id, finished_at
"""

# Waits for whoever is changing what a submission holds: they have its row until they are done, and what comes later
# says of itself that it came later, by the same clock.
HOLD_SUBMISSION = "select 1 from submission where space_id = $1 for no key update"
BEGIN_RUN = """
select coalesce(max(id), 0) as last_finding, clock_timestamp() as started_at from finding where space_id = $1
"""

# What is replaced, with the waivers that may still hold. What a store has found since the run began stays, because the
# run may have been past that series.
DELETE_FINDINGS = f"""
delete from finding where space_id = $1 and check_name = any($2) and (run_id is not null or id <= $3)
returning {_FIELDS}, waived_by, waived_at, waiver_reason
"""  # noqa: S608 - composed of constants

LIST_LATE = f"""
select {_FIELDS} from finding where space_id = $1 and check_name = any($2) and run_id is null and id > $3
"""  # noqa: S608 - composed of constants

_RANK = "array_position(array['block', 'warn', 'info'], severity)"

# A page of findings, the weighty ones first, with the number of all.
LIST_FINDINGS = f"""
select id, run_id, {_FIELDS}, found_at, waived_by, waived_at, waiver_reason, count(*) over () as total
from finding
where space_id = $1 and ($2::text is null or severity = $2) and ($3::text is null or check_name = $3)
  and ($4::text is null or study_instance_uid = $4) and ($5::text is null or series_instance_uid = $5)
  and ($6::bool is null or (waived_at is not null) = $6)
order by {_RANK}, check_name, study_instance_uid, series_instance_uid, id limit $7 offset $8
"""  # noqa: S608 - composed of constants

FIND_FINDING = f"""
select id, run_id, {_FIELDS}, found_at, waived_by, waived_at, waiver_reason from finding where space_id = $1 and id = $2
"""  # noqa: S608 - composed of constants

COUNT_FINDINGS = """
select severity, count(*) filter (where waived_at is null) as open, count(*) as total
from finding where space_id = $1 group by severity
"""

_IS_STALE = """(exists (
  select from edit e join submission s on s.id = e.submission_id
  where s.space_id = r.space_id and e.changed_at > r.started_at)
  or exists (
  select from event v where v.space_id = r.space_id and v.space_id > 1000 and v.kind = 'conflicts_decided'
    and v.detail ? 'unchecked' and v.at > r.started_at))"""

LIST_RUNS = f"""
select r.id, r.check_set, r.set_version, r.read_files, r.actor, r.started_at, r.finished_at, r.series, r.instances,
  {_IS_STALE} as is_stale
from check_run r where r.space_id = $1 order by r.id desc limit $2
"""  # noqa: S608 - composed of constants

# What came or went since a run began: as many may have come as went. Publishing moves studies out of a submission.
_HAS_CHANGED = """exists (
  select from event v where v.space_id = r.space_id and v.space_id > 1000 and v.at > r.started_at
    and v.kind in ('instances_stored', 'study_deleted', 'series_deleted', 'instance_deleted', 'study_published'))"""

# Whether the last run of a set has looked at all that there is now, and nothing was changed since it began.
IS_EXAMINED = f"""
select coalesce(
  (select r.instances from check_run r
    where r.space_id = $1 and r.check_set = $2 and not {_IS_STALE} and not {_HAS_CHANGED}
    order by r.id desc limit 1) = (select count(*) from instance i where i.space_id = $1), false)
"""  # noqa: S608 - composed of constants

WAIVE = """
update finding set waived_by = $3, waived_at = now(), waiver_reason = $4
where space_id = $1 and id = $2 and waived_at is null returning check_name
"""

REVOKE = """
update finding set waived_by = null, waived_at = null, waiver_reason = ''
where space_id = $1 and id = $2 and waived_at is not null returning check_name
"""


@dataclass(frozen=True, slots=True)
class Waiver:
    """Why a finding does not count, who said so and when."""

    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class KeptFinding:
    """A finding as it is kept.

    Attributes:
        run_id: the run that has found it; `None`: it was found while storing.
    """

    id: int
    run_id: int | None
    finding: Finding
    found_at: datetime
    waiver: Waiver | None


@dataclass(frozen=True, slots=True)
class CheckRun:
    """One run of a set of checks over a space.

    Attributes:
        is_stale: what it has looked at was edited or replaced since it began.
    """

    id: int
    check_set: str
    set_version: int
    read_files: bool
    actor: str
    started_at: datetime
    finished_at: datetime
    series: int
    instances: int
    is_stale: bool


@dataclass(frozen=True, slots=True)
class RunBeginning:
    """What a run may have seen of a space: all of before.

    Attributes:
        last_finding: the newest finding that there was: whatever a later one is about may have come later too.
        started_at: by the clock of the database, as everything is that may make the run out of date.
    """

    last_finding: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Examined:
    """What a run has looked at and found.

    Attributes:
        checks: names of the checks that were run; what they found before is replaced.
        begun: asked for before the run looked at anything.
    """

    check_set: CheckSet
    checks: frozenset[str]
    findings: Sequence[Finding]
    begun: RunBeginning
    series: int
    instances: int
    read_files: bool


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """Which findings are asked for; `None` leaves a condition out."""

    severity: Severity | None = None
    check: str | None = None
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    waived: bool | None = None


@dataclass(frozen=True, slots=True)
class FindingCount:
    """How many findings there are, and how many of them are not waived."""

    open: int = 0
    total: int = 0


class FindingIndex:
    """Keeps findings; each change is one transaction with its event."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, space_id: int, findings: Sequence[Finding]) -> None:
        """Keep what was found while storing, beside what was found before."""
        async with self._database.transaction() as connection:
            await _insert(connection, space_id, None, findings, {})

    async def begin(self, space_id: int) -> RunBeginning:
        """Begin a run over a space; what others are changing at this moment is waited for."""
        async with self._database.transaction() as connection:
            await connection.execute(HOLD_SUBMISSION, space_id)
            return RunBeginning(*await connection.fetchrow(BEGIN_RUN, space_id))

    async def replace(self, space_id: int, examined: Examined, *, actor: str) -> int:
        """Put what a run has found in the place of what its checks have found before, and return the run's id.

        A waiver stays with a finding that says the same, of the same and of no more instances than it did. What stores
        have found since the run began stays beside it, unless the run says the same.
        """
        async with self._database.transaction() as connection:
            await connection.execute(LOCK_SPACE, space_id)
            run = await connection.fetchrow(
                INSERT_RUN, space_id, examined.check_set.name, examined.check_set.version, examined.read_files,
                actor, examined.begun.started_at, examined.series, examined.instances,
            )  # fmt: skip
            replaced = (space_id, sorted(examined.checks), examined.begun.last_finding)
            rows = await connection.fetch(DELETE_FINDINGS, *replaced)
            waivers = {_said(_finding(row)): row for row in rows if row["waived_at"] is not None}
            late = {_said(_finding(row)) for row in await connection.fetch(LIST_LATE, *replaced)}
            fresh = [found for found in examined.findings if _said(found) not in late]
            await _insert(connection, space_id, run["id"], fresh, waivers)
            weights = [found.severity for found in examined.findings]
            detail = {
                "run": run["id"],
                "check_set": examined.check_set.name,
                "instances": examined.instances,
                **{severity.value: weights.count(severity) for severity in Severity},
            }
            await insert_event(connection, EventKind.CHECKS_RUN, actor=actor, space_id=space_id, detail=detail)
        run_id: int = run["id"]
        return run_id

    async def list(
        self, space_id: int, asked: FindingFilter, *, limit: int, offset: int
    ) -> tuple[Sequence[KeptFinding], int]:
        """Return a page of findings, the weighty ones first, and how many there are in all."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                LIST_FINDINGS, space_id, asked.severity, asked.check, asked.study_instance_uid,
                asked.series_instance_uid, asked.waived, limit, offset,
            )  # fmt: skip
        return [_kept(row) for row in rows], rows[0]["total"] if rows else 0

    async def counts(self, space_id: int) -> dict[Severity, FindingCount]:
        """Count the findings of a space by severity."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(COUNT_FINDINGS, space_id)
        found = {Severity(severity): FindingCount(open_, total) for severity, open_, total in rows}
        return {severity: found.get(severity, FindingCount()) for severity in Severity}

    async def runs(self, space_id: int, *, limit: int = 100) -> Sequence[CheckRun]:
        """Return the last runs over a space, the newest first."""
        async with self._database.connection() as connection:
            return [CheckRun(*row) for row in await connection.fetch(LIST_RUNS, space_id, limit)]

    async def is_examined(self, space_id: int, check_set: str) -> bool:
        """Tell whether a run of a set has looked at all that the space has now, as it is now."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(IS_EXAMINED, space_id, check_set))

    async def waive(self, space_id: int, finding_id: int, *, actor: str, reason: str) -> KeptFinding:
        """Say that a finding does not count.

        Raises:
            NotFoundError: there is no such finding, or no longer.
            ConflictError: it is waived already.
        """
        kind, message = EventKind.FINDING_WAIVED, "the finding is waived already"
        return await self._change(WAIVE, kind, message, space_id, finding_id, actor, actor, reason)

    async def revoke(self, space_id: int, finding_id: int, *, actor: str) -> KeptFinding:
        """Let a waived finding count again.

        Raises:
            NotFoundError: there is no such finding, or no longer.
            ConflictError: it is not waived.
        """
        kind, message = EventKind.WAIVER_REVOKED, "the finding is not waived"
        return await self._change(REVOKE, kind, message, space_id, finding_id, actor)

    async def _change(
        self, statement: str, kind: EventKind, message: str, space_id: int, finding_id: int, actor: str, *values: str
    ) -> KeptFinding:
        async with self._database.transaction() as connection:
            check = await connection.fetchval(statement, space_id, finding_id, *values)
            row = await connection.fetchrow(FIND_FINDING, space_id, finding_id)
            if row is None:
                raise NotFoundError("There is no such finding; the checks may have been run again")
            if check is None:
                raise ConflictError(message)
            detail = {"finding": finding_id, "check": check}
            await insert_event(connection, kind, actor=actor, space_id=space_id, detail=detail)
        return _kept(row)


_Said = tuple[str | int, ...]


def _said(found: Finding) -> _Said:
    """Return what makes two findings the same."""
    return (
        found.check, found.version, found.severity, found.message, found.level, found.path,
        found.study_instance_uid, found.series_instance_uid,
        # Of a series any instance may stand for all.
        found.sop_instance_uid if found.level is FindingLevel.INSTANCE else "",
    )  # fmt: skip


async def _insert(
    connection: Connection, space_id: int, run_id: int | None, findings: Sequence[Finding], waivers: dict[_Said, Any]
) -> None:
    columns: list[list[Any]] = [[] for _ in range(13)]
    for found in findings:
        waiver = waivers.get(_said(found))
        if waiver is not None and waiver["instances"] < found.instances:
            waiver = None
        values = (
            found.check, found.version, found.severity.value, found.message, found.level.value,
            found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid, found.path, found.instances,
            waiver and waiver["waived_by"], waiver and waiver["waived_at"], waiver["waiver_reason"] if waiver else "",
        )  # fmt: skip
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    if findings:
        await connection.execute(INSERT_FINDINGS, space_id, run_id, *columns)


def _finding(row: Any) -> Finding:
    return Finding(
        check=row["check_name"],
        version=row["check_version"],
        severity=Severity(row["severity"]),
        message=row["message"],
        level=FindingLevel(row["level"]),
        study_instance_uid=row["study_instance_uid"],
        series_instance_uid=row["series_instance_uid"],
        sop_instance_uid=row["sop_instance_uid"],
        path=row["path"],
        instances=row["instances"],
    )


def _kept(row: Any) -> KeptFinding:
    waiver = None if row["waived_at"] is None else Waiver(row["waived_by"], row["waived_at"], row["waiver_reason"])
    return KeptFinding(row["id"], row["run_id"], _finding(row), row["found_at"], waiver)
