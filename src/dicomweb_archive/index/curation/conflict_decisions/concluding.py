"""What follows from every decision on conflicts: an event for each study, and findings that hold no longer."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.curation.conflict_decisions.rulings import Ruling
from dicomweb_archive.index.curation.submissions import Submission, note_event
from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.writing.events import EventKind

# What the check has said of conflicts of these series goes when nothing contradicts there any more.
FORGET_FINDINGS = f"""
delete from finding f using unnest($3::text[], $4::text[]) as n(study, series)
where f.space_id = $1 and f.check_name = 'conflict' and f.study_instance_uid = n.study
  and f.series_instance_uid = n.series
  and not exists (
    select from conflict k where k.submission_id = $2 and k.decision is null
      and k.study_instance_uid = n.study and k.series_instance_uid = n.series)
  and not exists (
    select from study st join series se on se.study_id = st.id join segment sg on sg.series_id = se.id
    join instance i on i.segment_id = sg.id
    join instance o on o.space_id = {ARCHIVE_SPACE} and o.sop_instance_uid = i.sop_instance_uid and o.digest <> i.digest
    where st.space_id = $1 and st.study_instance_uid = n.study and se.series_instance_uid = n.series)
"""  # noqa: S608 - composed of constants


async def conclude(
    connection: Connection,
    submission: Submission,
    series: Sequence[tuple[str, str]],
    ruling: Ruling,
    unchecked: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Write the events of a decision, one for each study, and forget what checks have said against it.

    Args:
        unchecked: how many instances of a study were replaced in the submission, which checks have not looked at.
    """
    by_study: dict[str, int] = defaultdict(int)
    for study, _ in series:
        by_study[study] += 1
    comment = ruling.comment
    for study, instances in sorted(by_study.items()):
        detail: dict[str, int | str] = {
            "submission": submission.id,
            "decision": ruling.decision.value,
            "instances": instances,
        }
        if ruling.reason:
            detail["reason"] = ruling.reason
        if study in unchecked:
            detail["unchecked"] = unchecked[study]
        kind = EventKind.CONFLICTS_DECIDED
        await note_event(
            connection, kind, submission, actor=ruling.actor, detail=detail, comment=comment, study_instance_uid=study
        )
        comment = ""
    distinct = sorted(set(series))
    studies, names = [study for study, _ in distinct], [name for _, name in distinct]
    await connection.execute(FORGET_FINDINGS, submission.space_id, submission.id, studies, names)
