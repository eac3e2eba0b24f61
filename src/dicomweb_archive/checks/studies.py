"""Checks of a study as a whole: one patient, and instances that agree about their study (PS3.3 C.7.1, C.7.2)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from dicomweb_archive.checks.content import SeriesPart
from dicomweb_archive.checks.findings import Remark, Severity

PATIENT_TAGS: Final = (0x00100010, 0x00100020, 0x00100030)
STUDY_TAGS: Final = (
    0x00080020, 0x00080030, 0x00080050, 0x00080090, 0x00081030, 0x00100040, 0x00200010,
)  # fmt: skip
_MOST_VALUES: Final = 64


@dataclass(slots=True)
class StudySummary:
    """What instances of one study say about it: by tag each distinct value with the number of instances.

    `b""` stands for an absent attribute.
    """

    study_instance_uid: str
    instances: int = 0
    values: dict[int, dict[bytes, int]] = field(default_factory=dict)

    def add(self, part: SeriesPart) -> None:
        """Take in a part."""
        self.instances += len(part.files)
        for tag in (*PATIENT_TAGS, *STUDY_TAGS):
            known = self.values.setdefault(tag, {})
            absent = len(part.files)
            for each in part.occurrences(tag):
                absent -= each.instances
                # Beyond so many the finding is certain, and memory is not to grow with hostile values.
                if each.element.json in known or len(known) < _MOST_VALUES:
                    known[each.element.json] = known.get(each.element.json, 0) + each.instances
            if absent:
                known[b""] = known.get(b"", 0) + absent


def check_one_patient(study: StudySummary) -> Iterator[Remark]:
    """Find studies of more than one patient: several names, identifiers or dates of birth."""
    for tag, others in _disagreements(study, PATIENT_TAGS):
        yield Remark(Severity.BLOCK, "instances of one study name different patients", f"{tag:08X}", others)


def check_study_agrees(study: StudySummary) -> Iterator[Remark]:
    """Find instances that say different things about their study."""
    for tag, others in _disagreements(study, STUDY_TAGS):
        yield Remark(Severity.WARN, "instances of one study disagree about it", f"{tag:08X}", others)


def _disagreements(study: StudySummary, tags: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield the tags with more than one value, and how many instances have another than most."""
    for tag in tags:
        values = study.values.get(tag, {})
        if len(values) > 1:
            yield tag, study.instances - max(values.values())
