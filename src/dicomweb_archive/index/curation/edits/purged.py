"""Edits of what is purged or dropped: what there was before it was edited goes with it."""

from typing import Final

from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.scope import Scope

DELETE_AUDIT: Final = """
delete from edit_instance where study_instance_uid = $1 and ($2::text is null or series_instance_uid = $2)
  and ($3::text is null or sop_instance_uid = $3)
"""

DELETE_AUDIT_OF_SUBMISSION: Final = """
delete from edit_instance x using edit e
where e.id = x.edit_id and e.submission_id = $1 and x.study_instance_uid = $2
"""


async def forget_edits(connection: Connection, scope: Scope) -> None:
    """Leave no old value of what is purged, in whichever space. The caller holds the transaction."""
    await connection.execute(DELETE_AUDIT, *scope.parameters())


async def forget_edits_of(connection: Connection, submission_id: int, study_instance_uid: str) -> None:
    """Leave no old value of a study that a submission drops. The caller holds the transaction."""
    await connection.execute(DELETE_AUDIT_OF_SUBMISSION, submission_id, study_instance_uid)
