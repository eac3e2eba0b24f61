"""Store Instances Response: what the client learns of each instance (PS3.18 10.5.3, Annex I)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from dicomweb_archive.dicom.status import ALREADY_STORED, AttributeNote, StoreOutcome, meaning_of
from dicomweb_archive.dicom.tags import format_tag
from dicomweb_archive.wire.resources import ServiceRoot

DataSet: TypeAlias = dict[str, dict[str, Any]]

ERROR_COMMENT: Final = "00000902"
"""Says in words why an instance was refused, or that its bytes were there before; 64 characters at most.

Annex I has no place for text. (0000,0902) is what C-STORE answers with and what dcm4chee puts here; pydicom,
dcmjs and other readers of DICOM JSON take it, and whoever does not know it skips it.
"""

_COMMENT_LENGTH: Final = 64


def build(
    outcomes: Sequence[StoreOutcome], root: ServiceRoot, waiting: ServiceRoot | None = None
) -> tuple[int, DataSet]:
    """Put the outcomes of all parts of a request together.

    Args:
        waiting: root of the submission in which those wait that do.

    Returns:
        The status code (PS3.18 Table 10.5.3-1): 200 all stored, 202 some, with warnings or waiting, 409 none, 400 there
        was nothing to store. The Store Instances Response Module (Table I.1-1) in the DICOM JSON model.
    """
    stored = [outcome for outcome in outcomes if outcome.is_stored]
    failed = [outcome for outcome in outcomes if not outcome.is_stored]
    nameable = [outcome for outcome in failed if _has_name(outcome)]
    others = [outcome for outcome in failed if not _has_name(outcome)]
    dataset: DataSet = {
        "00081190": _attribute("UR", _study_url(stored, root, waiting)),
        **_sequence("00081198", [_failed_item(outcome) for outcome in nameable]),
        **_sequence("00081199", [_stored_item(outcome, _root_of(outcome, root, waiting)) for outcome in stored]),
        **_sequence("0008119A", [_failure(outcome) for outcome in others]),
    }
    return _status(stored, failed), dataset


def _has_name(outcome: StoreOutcome) -> bool:
    """Tell whether a failure can be tied to an instance; both UIDs are type 1 there."""
    return bool(outcome.sop_class_uid and outcome.sop_instance_uid)


def _status(stored: Sequence[StoreOutcome], failed: Sequence[StoreOutcome]) -> int:
    if not stored:
        return 409 if failed else 400
    return 202 if failed or any(outcome.warnings or outcome.waits_in for outcome in stored) else 200


def _study_url(stored: Sequence[StoreOutcome], root: ServiceRoot, waiting: ServiceRoot | None) -> str | None:
    studies = {(outcome.study_instance_uid, _root_of(outcome, root, waiting)) for outcome in stored}
    study, below = studies.pop() if len(studies) == 1 else (None, root)
    return None if study is None else below.study(study)


def _root_of(outcome: StoreOutcome, root: ServiceRoot, waiting: ServiceRoot | None) -> ServiceRoot:
    return root if outcome.waits_in is None or waiting is None else waiting


def _failed_item(outcome: StoreOutcome) -> DataSet:
    return dict(sorted({**_failure(outcome), **_reference(outcome)}.items()))


def _failure(outcome: StoreOutcome) -> DataSet:
    assert outcome.failure is not None
    comment = (outcome.comment or meaning_of(outcome.failure))[:_COMMENT_LENGTH]
    return {
        ERROR_COMMENT: _attribute("LO", comment),
        "00081197": _attribute("US", outcome.failure),
        **_failed_attributes(outcome.notes),
    }


def _stored_item(outcome: StoreOutcome, root: ServiceRoot) -> DataSet:
    study, series, instance = outcome.study_instance_uid, outcome.series_instance_uid, outcome.sop_instance_uid
    url = root.instance(study, series, instance) if study and series and instance else None
    item = {**_reference(outcome), "00081190": _attribute("UR", url)}
    if outcome.warnings:
        # Warning Reason has one value: the first is the most fitting (PS3.18 I.2.1).
        item["00081196"] = _attribute("US", outcome.warnings[0])
    if outcome.already_stored:
        item[ERROR_COMMENT] = _attribute("LO", ALREADY_STORED)
    elif outcome.comment and (outcome.warnings or outcome.waits_in):
        item[ERROR_COMMENT] = _attribute("LO", outcome.comment[:_COMMENT_LENGTH])
    item.update(_failed_attributes(outcome.notes))
    return dict(sorted(item.items()))


def _failed_attributes(notes: Sequence[AttributeNote]) -> DataSet:
    """Name the attributes that something is to be said of (Failed Attributes Sequence, selectors as in PS3.3 10.20)."""
    return _sequence("00741048", [_failed_attribute(note) for note in notes])


def _failed_attribute(note: AttributeNote) -> DataSet:
    item = {
        ERROR_COMMENT: _attribute("LO", note.text[:_COMMENT_LENGTH]),
        "00720026": _attribute("AT", format_tag(note.tag)),
    }
    if note.sequences:
        item["00720052"] = {"vr": "AT", "Value": [format_tag(tag) for tag, _ in note.sequences]}
        item["00741057"] = {"vr": "IS", "Value": [number for _, number in note.sequences]}
    return item


def _reference(outcome: StoreOutcome) -> DataSet:
    return {
        "00081150": _attribute("UI", outcome.sop_class_uid),
        "00081155": _attribute("UI", outcome.sop_instance_uid),
    }


def _attribute(vr: str, value: str | int | None) -> dict[str, Any]:
    return {"vr": vr} if value is None else {"vr": vr, "Value": [value]}


def _sequence(tag: str, items: Sequence[Mapping[str, Any]]) -> DataSet:
    return {tag: {"vr": "SQ", "Value": list(items)}} if items else {}
