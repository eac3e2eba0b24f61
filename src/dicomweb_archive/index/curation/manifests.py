"""Manifests: what a submitter has announced, kept beside the submission and compared with what is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dicomweb_archive.checks.submissions import ManifestComparison
from dicomweb_archive.errors import PreconditionFailedError
from dicomweb_archive.index.curation.queue import CONTENT, Content
from dicomweb_archive.index.curation.submissions import Submission, note_event
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.events import EventKind

# Locks a submission and gives it its next revision, unless it has changed since it was read.
NEXT_REVISION = """
update submission set revision = revision + 1, changed_at = now() where id = $1 and revision = $2 returning revision
"""

# Its instances go with it.
DELETE_MANIFEST = "delete from manifest where submission_id = $1"

INSERT_MANIFEST = """
insert into manifest (submission_id, studies, series, instances, size_bytes, set_by) values ($1, $2, $3, $4, $5, $6)
"""
INSERT_INSTANCES = """
insert into manifest_instance (submission_id, sop_instance_uid, digest)
select $1, uid, digest from unnest($2::text[], $3::bytea[]) as new(uid, digest)
"""

# The fingerprint is one that whoever has announced it can compute again: the same, whatever else they announced when.
FIND_MANIFEST = """
select m.submission_id, m.studies, m.series, m.instances, m.size_bytes, m.set_by, m.set_at, (
  select encode(sha256(convert_to(coalesce(string_agg(
    i.sop_instance_uid || ' ' || coalesce(encode(i.digest, 'hex'), '-') || e'\n', '' order by i.sop_instance_uid
      collate "C"), ''), 'UTF8')), 'hex')
  from manifest_instance i where i.submission_id = m.submission_id
) as fingerprint, exists (
  select from edit e where e.submission_id = m.submission_id and e.changed_at is not null) as is_edited
from manifest m join submission s on s.id = m.submission_id where s.space_id = $1
"""

# Each instance that was announced or is there. Where none is named, none is unexpected. What has come as it was
# announced and was edited since is there.
_STANDINGS = """
with told as (
  select sop_instance_uid, case when i.digest is null then 'missing' when m.submission_id is null then 'unexpected'
    when m.digest <> i.digest and not exists (
      select from edit e join edit_instance x on x.edit_id = e.id
      where e.submission_id = $1 and x.sop_instance_uid = i.sop_instance_uid and x.digest_before = m.digest
        and x.digest_after is not null) then 'differing' else 'there' end as standing
  from (select submission_id, sop_instance_uid, digest from manifest_instance where submission_id = $1) m
  full join (
    select sop_instance_uid, digest from instance
    where space_id = $2 and exists (select from manifest_instance where submission_id = $1)
  ) i using (sop_instance_uid)
)
"""
COUNT_STANDINGS = f"""
{_STANDINGS}
select standing, count(*)::int4 as instances from told group by standing
"""  # noqa: S608 - composed of constants
LIST_STANDINGS = f"""
{_STANDINGS}
select sop_instance_uid, standing from told
where standing <> 'there' and ($3::text is null or standing = $3) and sop_instance_uid > $4
order by sop_instance_uid limit $5
"""  # noqa: S608 - composed of constants


class Standing(StrEnum):
    """How what is there stands to what was announced."""

    MISSING = "missing"
    """Announced, and not there."""
    UNEXPECTED = "unexpected"
    """There, and not announced."""
    DIFFERING = "differing"
    """There with other bytes than announced."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What is announced altogether; `None`: nothing is said of it."""

    studies: int | None = None
    series: int | None = None
    instances: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a submitter announces.

    Attributes:
        instances: digest (BLAKE3 of the file as it is kept) by SOP Instance UID; `None`: any bytes.
    """

    totals: Totals
    instances: Mapping[str, bytes | None]


@dataclass(frozen=True, slots=True)
class ComparedManifest:
    """What was announced beside what is in the space of the submission.

    Attributes:
        fingerprint: SHA-256 of the instances that were named, a line each in the order of UIDs.
        there: how many of the instances that were named are there, with the bytes that were named.
        is_edited: something was edited since, so that its size is another.
    """

    submission_id: int
    totals: Totals
    set_by: str
    set_at: datetime
    fingerprint: str
    held: Content
    there: int
    missing: int
    unexpected: int
    differing: int
    is_edited: bool = False

    @property
    def named(self) -> int:
        """How many instances were announced by their UIDs."""
        return self.there + self.missing + self.differing

    def for_check(self) -> ManifestComparison:
        """Return what check 28 judges."""
        names = [name for name in Totals.__slots__ if not (self.is_edited and name == "size_bytes")]
        totals = [(getattr(self.totals, name), getattr(self.held, name)) for name in names]
        others = sum(announced is not None and announced != held for announced, held in totals)
        return ManifestComparison(self.missing, self.unexpected, self.differing, others)


class ManifestIndex:
    """Keeps manifests and compares them with the spaces of their submissions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, submission: Submission, manifest: Manifest, *, actor: str) -> int:
        """Put a manifest in the place of the one before; returns the submission's next revision.

        Raises:
            PreconditionFailedError: the submission has changed since it was read.
        """
        totals = manifest.totals
        async with self._database.transaction() as connection:
            revision: int | None = await connection.fetchval(NEXT_REVISION, submission.id, submission.revision)
            if revision is None:
                message = "the submission has changed since it was read; read it again and decide anew"
                raise PreconditionFailedError(message)
            await connection.execute(DELETE_MANIFEST, submission.id)
            values = (totals.studies, totals.series, totals.instances, totals.size_bytes)
            await connection.execute(INSERT_MANIFEST, submission.id, *values, actor)
            uids, digests = list(manifest.instances), list(manifest.instances.values())
            await connection.execute(INSERT_INSTANCES, submission.id, uids, digests)
            detail = {"submission": submission.id, "instances": len(uids)}
            await note_event(connection, EventKind.SUBMISSION_MANIFEST_SET, submission, actor=actor, detail=detail)
        return revision

    async def compare(self, space_id: int) -> ComparedManifest | None:
        """Compare the manifest of a submission with what is in its space; `None` when there is no manifest."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_MANIFEST, space_id)
            if row is None:
                return None
            held = await connection.fetchrow(CONTENT, [space_id])
            counts = dict(await connection.fetch(COUNT_STANDINGS, row["submission_id"], space_id))
        return ComparedManifest(
            row["submission_id"],
            Totals(**{name: row[name] for name in Totals.__slots__}),
            row["set_by"],
            row["set_at"],
            row["fingerprint"],
            Content() if held is None else Content(**{name: held[name] for name in Content.__slots__}),
            there=counts.get("there", 0),
            missing=counts.get(Standing.MISSING, 0),
            unexpected=counts.get(Standing.UNEXPECTED, 0),
            differing=counts.get(Standing.DIFFERING, 0),
            is_edited=row["is_edited"],
        )

    async def list(
        self, submission: Submission, standing: Standing | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, Standing]]:
        """Return the SOP Instance UIDs behind one that do not stand as announced, in the order of UIDs."""
        asked = None if standing is None else standing.value
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_STANDINGS, submission.id, submission.space_id, asked, after, limit)
        return [(row["sop_instance_uid"], Standing(row["standing"])) for row in rows]
