"""Edits of what is purged or dropped: what there was before it was edited goes with it."""

from typing import Final

from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.scope import Scope

# Rules name values too, and no undo needs them; only an edit that goes on does. Reasons stay, as comments do.
DELETE_AUDIT: Final = """
with gone as (
  delete from edit_instance where study_instance_uid = $1 and ($2::text is null or series_instance_uid = $2)
    and ($3::text is null or sop_instance_uid = $3)
  returning edit_id
) update edit set rules = '[]' where state <> 'applying' and id in (select edit_id from gone)
"""

DELETE_AUDIT_OF_SUBMISSION: Final = """
with gone as (
  delete from edit_instance x using edit e
  where e.id = x.edit_id and e.submission_id = $1 and x.study_instance_uid = $2
  returning x.edit_id
) update edit set rules = '[]' where state <> 'applying' and id in (select edit_id from gone)
"""


async def forget_edits(connection: Connection, scope: Scope) -> None:
    """Leave no old value of what is purged, in whichever space. The caller holds the transaction."""
    await connection.execute(DELETE_AUDIT, *scope.parameters())


async def forget_edits_of(connection: Connection, submission_id: int, study_instance_uid: str) -> None:
    """Leave no old value of a study that a submission drops. The caller holds the transaction."""
    await connection.execute(DELETE_AUDIT_OF_SUBMISSION, submission_id, study_instance_uid)
