"""Findings: what a check has to say of an instance, a series, a study or a whole submission."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """How much a finding weighs."""

    BLOCK = "block"
    """Keeps what it is about from being published, until somebody waives it with a reason."""
    WARN = "warn"
    """A person should look."""
    INFO = "info"
    """Worth knowing."""


class FindingLevel(StrEnum):
    """What a finding is about."""

    SUBMISSION = "submission"
    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


class Remark(NamedTuple):
    """What a check says of the one thing that it was shown.

    Attributes:
        message: for people, the same text whenever the same is meant; never a value of a data set.
        path: of the attribute that it is about, as `dicom.query.AttributePath` names it; empty: of none.
        instances: how many instances it is about.
        sop_instance_uid: one of them, where the check was shown more than one.
    """

    severity: Severity
    message: str
    path: str = ""
    instances: int = 1
    sop_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A remark with what it is about: UIDs, which are the only values of a data set in it.

    Attributes:
        check, version: name and version of the check.
        message, path, instances: see `Remark`.
        sop_instance_uid: the instance, or one of several.
    """

    check: str
    version: int
    severity: Severity
    message: str
    level: FindingLevel = FindingLevel.INSTANCE
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    path: str = ""
    instances: int = 1


def merge_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Make one finding about a series of those that say the same of its instances.

    A curator reads "in 200 instances" once and not 200 lines.
    """
    merged: dict[tuple[str | int, ...], Finding] = {}
    for found in findings:
        said = (found.check, found.version, found.severity, found.message, found.path)
        key = (*said, found.study_instance_uid, found.series_instance_uid)
        known = merged.get(key)
        merged[key] = found if known is None else _both(known, found)
    return list(merged.values())


def _both(known: Finding, found: Finding) -> Finding:
    level = FindingLevel.SERIES if known.level is FindingLevel.INSTANCE else known.level
    first = known.sop_instance_uid or found.sop_instance_uid
    return replace(known, level=level, sop_instance_uid=first, instances=known.instances + found.instances)
