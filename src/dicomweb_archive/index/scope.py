"""Scope: what a resource path names, and what to say when it is not there."""

from dataclasses import dataclass

from dicomweb_archive.errors import GoneError, NotFoundError
from dicomweb_archive.index.access import Visibility, visible
from dicomweb_archive.index.database.engine import Connection

# Finds a tombstone of the resource or of what it was part of, if it was in a collection that may be seen. A study that
# exists but is hidden from this principal stays unknown, and so does one that went while it was under embargo.
FIND_TOMBSTONE = f"""
select t.reason from tombstone t
where t.space_id = any($1::int4[]) and ($2::int4[] is null or t.collection_id = any($2)) and t.study_instance_uid = $4
  and (t.series_instance_uid, t.sop_instance_uid) in (('', ''), ($5, ''), ($5, $6))
  and ($3::bool or t.embargo_until is null or t.embargo_until <= current_date)
  and not exists (
    select 1 from study st where st.space_id = t.space_id and st.study_instance_uid = $4 and not ({visible("st")}))
order by t.series_instance_uid, t.sop_instance_uid limit 1
"""  # noqa: S608 - composed of constants


@dataclass(frozen=True, slots=True)
class Scope:
    """A study, one of its series, or one instance of that."""

    study_instance_uid: str
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None

    def parameters(self) -> tuple[str, str | None, str | None]:
        """Return the three UIDs in the order of statements."""
        return self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid


async def missing(connection: Connection, scope: Scope, visibility: Visibility) -> NotFoundError:
    """Return the error for a resource that was not found: gone when its tombstone may be known (PS3.18 8.5)."""
    uids = [uid or "" for uid in scope.parameters()]
    reason = await connection.fetchval(FIND_TOMBSTONE, *visibility.parameters(), *uids)
    if reason:
        return GoneError(f"This resource has been withdrawn; the reason given is {reason}")
    if reason is not None:
        return GoneError("This resource has been deleted")
    return NotFoundError("There is no such resource")
