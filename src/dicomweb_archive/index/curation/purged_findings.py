"""Findings of what is purged: those that are about it go, and the others no longer name it."""

from typing import Final

from dicomweb_archive.checks.findings import FindingLevel
from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.scope import Scope

_NAMED = """
study_instance_uid = $1 and ($2::text is null or series_instance_uid = $2)
  and ($3::text is null or sop_instance_uid = $3)
"""

# Takes findings away that are about what the UIDs name and nothing else.
DELETE_FINDINGS = f"delete from finding where {_NAMED} and (level = any($4::text[]) or instances <= 1)"  # noqa: S608 - composed of constants

# Lets findings that are about others too, and name it as one of them, name nothing.
FORGET_NAMED = f"""
update finding set sop_instance_uid = '',
  series_instance_uid = case when $3::text is null then '' else series_instance_uid end,
  study_instance_uid = case when $2::text is null then '' else study_instance_uid end,
  instances = case when $3::text is null then instances else instances - 1 end
where {_NAMED}
"""  # noqa: S608 - composed of constants

_WITHIN: Final = (FindingLevel.INSTANCE, FindingLevel.SERIES, FindingLevel.STUDY)


async def forget_findings(connection: Connection, scope: Scope) -> None:
    """Leave no finding that names what is purged, in whichever space. The caller holds the transaction."""
    named = scope.parameters()
    within = _WITHIN[: 1 + sum(uid is None for uid in named)]
    await connection.execute(DELETE_FINDINGS, *named, [level.value for level in within])
    await connection.execute(FORGET_NAMED, *named)
