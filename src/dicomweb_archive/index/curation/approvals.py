"""Approvals of values: what a curator has found right in the inventory of a submission.

Values are kept as keyed digests, never as they are. An approval is of values, whichever instances have them: what comes
or is edited later is not approved by it.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Final

from dicomweb_archive.dicom.held_attributes import held_attribute
from dicomweb_archive.errors import ConflictError
from dicomweb_archive.index.curation.submissions import Submission, SubmissionState, note_event
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.writing.events import Detail, EventKind

_DIGEST_BYTES: Final = 16

LIST_APPROVALS: Final = """
select path, digests, approved_by, approved_at from value_approval
where submission_id = $1 and ($2::text[] is null or path = any($2)) order by id
"""

# Holds a submission in its state: what it has is not published meanwhile, when its approvals go.
HOLD_STATE: Final = "select state from submission where id = $1 for share"

INSERT_APPROVALS: Final = """
insert into value_approval (submission_id, path, digests, approved_by)
select $1, n.path, n.digests, $2 from unnest($3::text[], $4::bytea[]) as n(path, digests)
"""

LOCK_APPROVALS: Final = """
select id, path, digests from value_approval where submission_id = $1 and path = any($2) order by id for update
"""
DELETE_APPROVALS: Final = "delete from value_approval where id = any($1)"
REDUCE_APPROVALS: Final = """
update value_approval a set digests = n.digests from unnest($1::int8[], $2::bytea[]) as n(id, digests) where a.id = n.id
"""

SETTLED_STATES: Final = frozenset(
    {
        SubmissionState.PUBLISHING,
        SubmissionState.PUBLISHED,
        SubmissionState.REJECTED,
        SubmissionState.WITHDRAWN,
        SubmissionState.EXPIRED,
    }
)
"""In these it is over with a submission, and nobody approves values of it any more."""


@dataclass(frozen=True, slots=True)
class ValueDigests:
    """Makes the digests by which values are known that are approved.

    Attributes:
        secret: keys them, so that nobody can try values out who has them alone.
        content: what stands for all bytes of a submission.
    """

    secret: bytes
    content: bytes

    def of_value(self, path: str, text: str | None) -> bytes:
        """Return the digest of a value; of binary ones, which are not told apart, as long as no byte changes."""
        return self._digest(b"binary", path, self.content) if text is None else self._digest(b"value", path, text)

    def of_all(self, path: str) -> bytes:
        """Return the digest of all values of a path, for who cannot tell them apart, as long as no byte changes."""
        return self._digest(b"all", path, self.content)

    def _digest(self, kind: bytes, path: str, what: str | bytes) -> bytes:
        told = what if isinstance(what, bytes) else what.encode(errors="surrogatepass")
        data = b"\0".join((kind, path.encode(errors="surrogatepass"), told))
        return blake2b(data, digest_size=_DIGEST_BYTES, key=self.secret).digest()


@dataclass(frozen=True, slots=True)
class Approval:
    """That somebody has approved values of one path, and when."""

    by: str
    at: datetime
    digests: bytes

    def members(self) -> frozenset[bytes]:
        """Return the digests one by one."""
        return _members(self.digests)


class ApprovalIndex:
    """Keeps approvals of values; each change is one transaction with its event."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def digests(self, content: bytes) -> ValueDigests:
        """Return what makes digests of a submission's values, as long as it has this content."""
        return ValueDigests(await self._database.term_secret(), content)

    async def find(self, submission_id: int, paths: Sequence[str] | None = None) -> Mapping[str, Sequence[Approval]]:
        """Return what was approved of some paths, or of all, the oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_APPROVALS, submission_id, paths)
        found: dict[str, list[Approval]] = defaultdict(list)
        for row in rows:
            found[row["path"]].append(Approval(row["approved_by"], row["approved_at"], row["digests"]))
        return found

    async def add(
        self, submission: Submission, wanted: Mapping[str, Sequence[bytes]], *, actor: str, comment: str
    ) -> None:
        """Approve values, by path.

        Raises:
            ConflictError: it is over with the submission.
        """
        async with self._database.transaction() as connection:
            await _hold(connection, submission)
            blobs = [b"".join(digests) for digests in wanted.values()]
            await connection.execute(INSERT_APPROVALS, submission.id, actor, list(wanted), blobs)
            detail = _detail(submission, wanted, sum(map(len, wanted.values())))
            kind = EventKind.VALUES_APPROVED
            await note_event(connection, kind, submission, actor=actor, detail=detail, comment=comment)

    async def revoke(
        self, submission: Submission, wanted: Mapping[str, Collection[bytes] | None], *, actor: str, comment: str
    ) -> int:
        """Take approvals back, of some values of a path or of all; returns how many values are not approved any more.

        Raises:
            ConflictError: see `add`.
        """
        async with self._database.transaction() as connection:
            await _hold(connection, submission)
            rows = await connection.fetch(LOCK_APPROVALS, submission.id, list(wanted))
            left = {row["id"]: _without(row["digests"], wanted[row["path"]]) for row in rows}
            await connection.execute(DELETE_APPROVALS, [key for key, digests in left.items() if not digests])
            reduced = {key: digests for key, digests in left.items() if digests}
            await connection.execute(REDUCE_APPROVALS, list(reduced), list(reduced.values()))
            gone = {
                (row["path"], each) for row in rows for each in _members(row["digests"]) - _members(left[row["id"]])
            }
            if gone:
                detail = _detail(submission, {path for path, _ in gone}, len(gone))
                kind = EventKind.VALUE_APPROVALS_REVOKED
                await note_event(connection, kind, submission, actor=actor, detail=detail, comment=comment)
        return len(gone)


async def _hold(connection: Connection, submission: Submission) -> None:
    state = SubmissionState(await connection.fetchval(HOLD_STATE, submission.id))
    if state in SETTLED_STATES:
        message = f"nobody approves values of what is {state.value}"
        raise ConflictError(message)


def _detail(submission: Submission, paths: Collection[str], values: int) -> Detail:
    detail: dict[str, int | str] = {"submission": submission.id, "attributes": len(paths), "values": values}
    # Its tags alone: the creator of a private block is a value of the data set.
    return {**detail, "path": held_attribute(next(iter(paths))).path} if len(paths) == 1 else detail


def _members(digests: bytes) -> frozenset[bytes]:
    return frozenset(digests[start : start + _DIGEST_BYTES] for start in range(0, len(digests), _DIGEST_BYTES))


def _without(digests: bytes, unwanted: Collection[bytes] | None) -> bytes:
    return b"" if unwanted is None else b"".join(sorted(_members(digests) - frozenset(unwanted)))
