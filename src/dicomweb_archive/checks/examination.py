"""Examination: one run of a set of checks over the instances of a space, series by series, in bounded memory."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeVar

from dicomweb_archive.checks import catalogue
from dicomweb_archive.checks.attributes import check_allowed, check_graphics, check_private, check_required
from dicomweb_archive.checks.catalogue import Check, CheckSet
from dicomweb_archive.checks.content import SeriesPart
from dicomweb_archive.checks.files import check_accepted, check_pixel_lengths, check_preambles
from dicomweb_archive.checks.findings import Finding, FindingLevel, Remark, Severity, merge_findings
from dicomweb_archive.checks.identity import check_age, check_identity, check_patterns
from dicomweb_archive.checks.pictures import (
    check_burned_in,
    check_deidentification,
    check_documents,
    check_recognizable,
)
from dicomweb_archive.checks.rules import NO_RULES, Rules
from dicomweb_archive.checks.series import SeriesSummary, check_face, check_geometry
from dicomweb_archive.checks.studies import StudySummary, check_one_patient, check_study_agrees

MOST_REMARKS: Final = 200
"""Findings of one check about one series; hostile headers have attributes by the ten thousand."""

_MOST_HELD: Final = 20_000
_LEFT_OUT: Final = "there are more findings of this check, which are left out"

_PartCheck = Callable[[SeriesPart, Rules], Iterator[Remark]]
_Shown = TypeVar("_Shown")


def _plain(check: Callable[[SeriesPart], Iterator[Remark]]) -> _PartCheck:
    return lambda part, _: check(part)


_PARTS: Final[tuple[tuple[Check, _PartCheck], ...]] = (
    (catalogue.ACCEPTED, check_accepted),
    (catalogue.REQUIRED, _plain(check_required)),
    (catalogue.PIXEL_LENGTH, _plain(check_pixel_lengths)),
    (catalogue.IDENTITY, _plain(check_identity)),
    (catalogue.PATTERNS, _plain(check_patterns)),
    (catalogue.ALLOWED, check_allowed),
    (catalogue.PRIVATE, check_private),
    (catalogue.BURNED_IN, _plain(check_burned_in)),
    (catalogue.FACE, _plain(check_recognizable)),
    (catalogue.DOCUMENTS, _plain(check_documents)),
    (catalogue.DEIDENTIFICATION, _plain(check_deidentification)),
    (catalogue.PREAMBLE, _plain(check_preambles)),
    (catalogue.AGE, _plain(check_age)),
    (catalogue.GRAPHICS, _plain(check_graphics)),
)
_SERIES: Final[Mapping[Check, Callable[[SeriesSummary], Iterator[Remark]]]] = MappingProxyType(
    {catalogue.GEOMETRY: check_geometry, catalogue.FACE: check_face}
)
_STUDIES: Final[Mapping[Check, Callable[[StudySummary], Iterator[Remark]]]] = MappingProxyType(
    {catalogue.ONE_PATIENT: check_one_patient, catalogue.STUDY_AGREES: check_study_agrees}
)


class Examination:
    """Takes parts of series, those of one series together and series of one study together, and finds.

    Args:
        check_set: whose checks are run.
        rules: what the collection wants.
    """

    def __init__(self, check_set: CheckSet, rules: Rules = NO_RULES) -> None:
        self._set = check_set
        self._rules = rules
        self._series: SeriesSummary | None = None
        self._study: StudySummary | None = None
        self._of_series: list[Finding] = []
        self._findings: list[Finding] = []
        self._loose: list[Finding] = []
        self.instances = 0
        self.series = 0

    def add(self, part: SeriesPart) -> None:
        """Take in the next part."""
        self._turn_to(part)
        assert self._series is not None
        assert self._study is not None
        self.instances += len(part.files)
        self._series.add(part)
        self._study.add(part)
        about = (part.study_instance_uid, part.series_instance_uid)
        for check, judge in _PARTS:
            if self.has(check):
                for remark in judge(part, self._rules):
                    self._hold(self._finding(check, remark, *about))

    def _hold(self, found: Finding) -> None:
        """Keep a finding of the present series; what says the same of thousands of instances does not fill memory."""
        self._of_series.append(found)
        if len(self._of_series) >= _MOST_HELD:
            self._of_series = bounded(merge_findings(self._of_series))

    def has(self, check: Check) -> bool:
        """Tell whether the set has this check."""
        return check.name in self._set.checks

    def say(
        self,
        check: Check,
        shown: _Shown,
        judge: Callable[[_Shown], Iterator[Remark]],
        *,
        study_instance_uid: str = "",
        series_instance_uid: str = "",
        sop_instance_uid: str = "",
    ) -> None:
        """Let a check judge something that is not a part: an instance, a series or the submission as a whole."""
        if self.has(check):
            for remark in judge(shown):
                uid = remark.sop_instance_uid or sop_instance_uid
                found = remark._replace(sop_instance_uid=uid)
                self._loose.append(self._finding(check, found, study_instance_uid, series_instance_uid))

    def take(self, findings: Iterable[Finding]) -> None:
        """Take in what was found by judging files one by one."""
        self._loose += findings

    def finish(self) -> list[Finding]:
        """Return all findings, those that say the same of instances of a series as one."""
        self._end_series()
        self._end_study()
        return self._findings + bounded(merge_findings(self._loose))

    def _turn_to(self, part: SeriesPart) -> None:
        series, study = self._series, self._study
        key = (part.study_instance_uid, part.series_instance_uid)
        if series is None or (series.study_instance_uid, series.series_instance_uid) != key:
            self._end_series()
            self._series = SeriesSummary(*key)
            self.series += 1
        if study is None or study.study_instance_uid != part.study_instance_uid:
            self._end_study()
            self._study = StudySummary(part.study_instance_uid)

    def _end_series(self) -> None:
        series = self._series
        if series is None:
            return
        about = (series.study_instance_uid, series.series_instance_uid)
        for check, judge in _SERIES.items():
            if self.has(check):
                self._of_series += [self._finding(check, remark, *about) for remark in judge(series)]
        self._findings += bounded(merge_findings(self._of_series))
        self._of_series, self._series = [], None

    def _end_study(self) -> None:
        study = self._study
        if study is None:
            return
        for check, judge in _STUDIES.items():
            if self.has(check):
                self._findings += [self._finding(check, remark, study.study_instance_uid) for remark in judge(study)]
        self._study = None

    def _finding(
        self, check: Check, remark: Remark, study: str = "", series: str = "", *, instances: int = 1
    ) -> Finding:
        return Finding(
            check=check.name,
            version=check.version,
            severity=self._set.severity_of(check, remark.severity),
            message=remark.message,
            level=_level_of(remark, study, series),
            study_instance_uid=study,
            series_instance_uid=series,
            sop_instance_uid=remark.sop_instance_uid,
            path=remark.path,
            instances=remark.instances,
        )


def _level_of(remark: Remark, study: str, series: str) -> FindingLevel:
    """Return what a remark is about."""
    if not study:
        return FindingLevel.SUBMISSION
    if not series:
        return FindingLevel.STUDY
    return FindingLevel.INSTANCE if remark.instances == 1 and remark.sop_instance_uid else FindingLevel.SERIES


def bounded(findings: Iterable[Finding]) -> list[Finding]:
    """Leave out what a check finds in one series beyond `MOST_REMARKS`, and say so."""
    counts: Counter[tuple[str, str, str]] = Counter()
    left_out: dict[tuple[str, str, str], Finding] = {}
    kept = []
    for found in findings:
        key = found.check, found.study_instance_uid, found.series_instance_uid
        # What was left out before is no finding of its own.
        is_summary = found.message == _LEFT_OUT
        counts[key] += found.instances if is_summary else 1
        if counts[key] <= MOST_REMARKS and not is_summary:
            kept.append(found)
        elif found.severity is Severity.BLOCK or key not in left_out:
            left_out[key] = found
    return kept + [
        replace(found, message=_LEFT_OUT, path="", sop_instance_uid="", instances=counts[key] - MOST_REMARKS)
        for key, found in left_out.items()
    ]
