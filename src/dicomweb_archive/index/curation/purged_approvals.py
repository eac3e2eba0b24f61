"""Approvals of values that have done their work: published, dropped or purged values leave no digest behind."""

from collections.abc import Sequence
from typing import Final

from dicomweb_archive.index.database.engine import Connection

FORGET_OF_SUBMISSION: Final = "delete from value_approval where submission_id = $1"

# Nobody can tell whose values they were, so all of the submission are looked at again.
FORGET_OF_SPACES: Final = """
delete from value_approval a using submission s where s.id = a.submission_id and s.space_id = any($1::int4[])
"""


async def forget_approvals_of(connection: Connection, submission_id: int) -> None:
    """Leave no approval of a submission whose values go where others see them, or for good.

    The trail says still who has approved what. The caller holds the transaction.
    """
    await connection.execute(FORGET_OF_SUBMISSION, submission_id)


async def forget_approvals_in(connection: Connection, space_ids: Sequence[int]) -> None:
    """Leave no approval of submissions from whose spaces something is purged. The caller holds the transaction."""
    await connection.execute(FORGET_OF_SPACES, list(space_ids))
