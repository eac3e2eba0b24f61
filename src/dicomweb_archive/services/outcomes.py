"""Outcomes: what is said of a part that was received (PS3.18 10.5.3)."""

from dataclasses import replace

from dicomweb_archive.dicom import status
from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import Identity
from dicomweb_archive.dicom.status import StoreOutcome


def stored(scanned: ScannedInstance) -> StoreOutcome:
    """Say that an instance is kept, with a warning when its preamble is not."""
    return StoreOutcome(
        sop_class_uid=scanned.sop_class_uid,
        sop_instance_uid=scanned.sop_instance_uid,
        study_instance_uid=scanned.study_instance_uid,
        series_instance_uid=scanned.series_instance_uid,
        warnings=(status.COERCED,) if scanned.preamble_neutralised else (),
        comment="the preamble was set to zeros" if scanned.preamble_neutralised else "",
    )


def repeated(outcome: StoreOutcome, *, same: bool) -> StoreOutcome:
    """Judge an instance whose UID the archive knows: the same bytes are success, others a conflict."""
    identity = (
        outcome.sop_class_uid,
        outcome.sop_instance_uid,
        outcome.study_instance_uid,
        outcome.series_instance_uid,
    )
    if same:
        return StoreOutcome(*identity, warnings=outcome.warnings, comment=outcome.comment, already_stored=True)
    comment = f"{status.meaning_of(status.INSTANCE_CONFLICT)}; kept for review"
    return StoreOutcome(*identity, failure=status.INSTANCE_CONFLICT, comment=comment)


def set_aside(outcome: StoreOutcome, submission: str, why: str) -> StoreOutcome:
    """Say that an instance waits in a submission, and what keeps it from being published."""
    said = outcome.comment or (f"waits for review: {why}" if why else "waits for review")
    return replace(outcome, waits_in=submission, comment=said)


def refused(
    position: int, failure: int, identity: ScannedInstance | Identity | None = None, *, comment: str = ""
) -> StoreOutcome:
    """Say that a part is not kept and why; the one without identifiers goes by its number."""
    text = comment or status.meaning_of(failure)
    if identity is None:
        return StoreOutcome(failure=failure, comment=f"part {position + 1}: {text}")
    return StoreOutcome(
        sop_class_uid=identity.sop_class_uid,
        sop_instance_uid=identity.sop_instance_uid,
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=identity.series_instance_uid,
        failure=failure,
        comment=text,
    )
