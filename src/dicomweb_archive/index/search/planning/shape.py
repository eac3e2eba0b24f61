"""Choice of the SQL shape: driven by the terms when few segments match, by the order of the answer when many do.

PostgreSQL alone chooses wrong for lists, ranges and patterns (spike: 16.5 s against 19 ms), so the choice is
made here, from counts of the dictionary. See `docs/design/0005-search.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf, prod, sqrt

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.index.search.planning.conditions import (
    UNTOLD,
    IndexKey,
    ItemTest,
    Kind,
    MomentTest,
    PositionTest,
    ValueTest,
)
from dicomweb_archive.index.search.planning.key_prunes import Finding, KeyPrune, Prune
from dicomweb_archive.index.search.planning.plan import SearchPlan

LIST_LIMIT = 16
"""Longest list of terms in one `&&`: its cost grows with the square of the list (spike: 1,600 took 16.5 s)."""

WINDOW = 5000
"""Most studies (or segments) that an order driven search looks at; then it starts again from the terms."""

COUNT_WORTH_SECONDS = 0.1
"""Most that counting what stands behind a page may be thought to take; an exact count can be asked for."""

INSTANCE_COUNT_WORTH_SECONDS = 0.02
"""The same of instances where segments have to be opened: ten thousand of them are of less use than the page."""

# Seconds, measured by the spike on the development machine; only their ratio matters.
_SEGMENT_SECONDS = 2.3e-6
_TERM_SECONDS = 11e-6
_LOOK_SECONDS = 5e-6
_RECHECK_SECONDS = 40e-6
_POSITIONS_SECONDS = 40e-6

# What share of the studies is taken to pass the column tests when nothing is known of them.
_COLUMN_SHARE = 0.05


class Shape(StrEnum):
    """The fixed forms of a search statement."""

    COLUMNS = "columns"
    """No key needs terms."""
    TERMS = "terms"
    """Segments of the rarest key first, then their studies, sorted (shape G of the spike)."""
    ORDERED = "ordered"
    """Studies in the order of the answer, each asked for a matching segment, at most `WINDOW` (shape P)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A shape, and how each key of the plan is pruned.

    Attributes:
        driver: number of the key that goes first.
        filter_drives: the boolean filter goes first.
        window: most candidates that an order driven search looks at.
    """

    shape: Shape
    prunes: tuple[KeyPrune, ...] = ()
    driver: int | None = None
    filter_drives: bool = False
    window: int = WINDOW

    def carries(self, key: int, *, nested: bool) -> bool:
        """Whether a segment that reaches the re-check is known to hold the key."""
        if self.prunes[key].kind is Prune.NOTHING:
            return False
        if self.prunes[key].kind is not Prune.DICTIONARY or nested:
            return True
        # Intersecting sets of thousands of terms costs more than opening the columns.
        return self.shape is Shape.TERMS and key == self.driver

    def settles(self, test: PositionTest, plan: SearchPlan) -> bool:
        """Whether the prune alone proves that some instance of the segment passes the test."""
        key = sole_key(test)
        if key is None or self.prunes[key].zones or plan.keys[key].grouped:
            return False
        return self.carries(key, nested=plan.keys[key].nested)


@dataclass(frozen=True, slots=True)
class Statistics:
    """About how many rows there are."""

    studies: int = 1
    segments: int = 1


def sole_key(test: PositionTest) -> int | None:
    """Return the number of the one key below a test, `None` when they are more or a combined date and time."""
    match test:
        case ItemTest(_, tests):
            return sole_key(tests[0]) if len(tests) == 1 else None
        case MomentTest():
            return None
        case _:
            return test.key


def choose_shape(plan: SearchPlan, findings: Sequence[Finding], statistics: Statistics) -> Choice:
    """Choose the cheaper shape for one page of the answer.

    An order driven search that comes short and has filled its window is run again, driven by the terms
    (`driven_by_terms`), so a wrong guess costs one window more, about 25 ms.
    """
    if not plan.keys and not plan.filtered:
        return Choice(Shape.TERMS if plan.by_sop_instance else Shape.COLUMNS)
    by_terms = driven_by_terms(plan, findings)
    if plan.by_sop_instance:
        return Choice(Shape.TERMS, by_terms.prunes)
    ordered_seconds = _ordered_seconds(plan, findings, statistics) if plan.windowed else inf
    if plan.selective or ordered_seconds < _page_by_terms_seconds(plan, findings, statistics):
        return Choice(Shape.ORDERED, by_terms.prunes)
    return by_terms


def count_is_cheap(plan: SearchPlan, findings: Sequence[Finding], statistics: Statistics) -> bool:
    """Whether everything that matches can be counted by the way, judged by the segments to go through."""
    found = plan.filter
    if plan.selective or not (findings or (found is not None and found.phrases)):
        return True
    opened = _instances_opened(plan, findings)
    if opened and opened * (_RECHECK_SECONDS + _POSITIONS_SECONDS) > INSTANCE_COUNT_WORTH_SECONDS:
        return False
    is_proved = found is not None and found.settled and not findings and plan.level is not Level.INSTANCE
    recheck_seconds = 0 if is_proved else _RECHECK_SECONDS
    return _terms_seconds(plan, findings, statistics, recheck_seconds) <= COUNT_WORTH_SECONDS


def _instances_opened(plan: SearchPlan, findings: Sequence[Finding]) -> int:
    """Return how many segments are gone over position by position to count instances."""
    if plan.level is not Level.INSTANCE or plan.filtered or plan.by_sop_instance:
        return 0
    driver = min(findings, key=_key_seconds)
    varying = sum(found.varying + found.zones for found in findings)
    return driver.segments + driver.zones if _checks_each(plan) else min(driver.segments + driver.zones, varying)


def driven_by_terms(plan: SearchPlan, findings: Sequence[Finding]) -> Choice:
    """Return the choice that starts from the rarest key."""
    prunes = tuple(_prune(key, found) for key, found in zip(plan.keys, findings, strict=True))
    of_filter = filter_finding(plan)
    if not prunes:
        return Choice(Shape.TERMS if plan.filtered else Shape.COLUMNS, filter_drives=of_filter is not None)
    telling = [number for number, prune in enumerate(prunes) if prune.kind is not Prune.NOTHING]
    driver = min(telling, key=lambda number: _key_seconds(findings[number]), default=None)
    if of_filter is not None and (driver is None or _key_seconds(of_filter) < _key_seconds(findings[driver])):
        return Choice(Shape.TERMS, prunes, filter_drives=True)
    return Choice(Shape.TERMS, prunes, driver)


def filter_finding(plan: SearchPlan) -> Finding | None:
    """Return what terms and zones find of the boolean filter; `None` when they leave all segments."""
    prune = None if plan.filter is None else plan.filter.prune
    return None if prune is None else Finding(0, (), False, prune.terms, round(prune.segments), 1)


def _all_findings(plan: SearchPlan, findings: Sequence[Finding], statistics: Statistics) -> list[Finding]:
    """Return the findings of the keys and of the filter, of which half is taken to pass when nothing is known."""
    if not plan.filtered:
        return list(findings)
    return [*findings, filter_finding(plan) or Finding(0, (), False, 0, statistics.segments // 2, 1)]


def _prune(key: IndexKey, found: Finding) -> KeyPrune:
    zones = found.zones > 0
    if key.kind in UNTOLD:
        return KeyPrune(Prune.NOTHING, zones=False)
    if key.kind is Kind.EQUALS:
        return KeyPrune(Prune.ALL_TERMS, zones, found.hashes, found.path_id)
    if not found.listed:
        return KeyPrune(Prune.DICTIONARY, zones, found.hashes, found.path_id)
    return KeyPrune(Prune.ANY_TERM, zones, found.hashes, found.path_id)


def _key_seconds(found: Finding) -> float:
    return (found.segments + found.zones) * _SEGMENT_SECONDS + found.terms * _TERM_SECONDS


def _terms_seconds(
    plan: SearchPlan, findings: Sequence[Finding], statistics: Statistics, recheck_seconds: float = _RECHECK_SECONDS
) -> float:
    known = _all_findings(plan, findings, statistics)
    driver = min(known, key=_key_seconds)
    rechecked = len(known) > 1 or driver.zones > 0 or _checks_each(plan)
    return _key_seconds(driver) + (driver.segments + driver.zones) * (recheck_seconds if rechecked else 0)


def _page_by_terms_seconds(plan: SearchPlan, findings: Sequence[Finding], statistics: Statistics) -> float:
    """Estimate a page: of a lone key, instances are sought in the order of the answer until the page is full."""
    if plan.level is not Level.INSTANCE or not plan.in_own_order or plan.filtered or len(findings) > 1:
        recheck_seconds = 0 if _are_proved(plan, findings) else _RECHECK_SECONDS
        return _terms_seconds(plan, findings, statistics, recheck_seconds)
    (found,) = findings
    opened = min(found.segments + found.zones, plan.offset + plan.limit + 1)
    return _key_seconds(found) + opened * (_RECHECK_SECONDS if found.zones else 0)


def _ordered_seconds(plan: SearchPlan, findings: Sequence[Finding], statistics: Statistics) -> float:
    known = _all_findings(plan, findings, statistics)
    share = _share_of_studies(known, statistics)
    reachable = statistics.studies * (_COLUMN_SHARE if plan.study else 1.0)
    wanted = plan.offset + plan.limit + 1
    looked_at = min(reachable, wanted / max(share, 1e-9))
    unlisted = any(not f.listed and k.nested for k, f in zip(plan.keys, findings, strict=True))
    if looked_at > WINDOW or unlisted:
        return inf
    listed = all(found.listed for found in known) and not _checks_each(plan)
    if (listed and len(known) == 1) or _are_proved(plan, findings):
        return looked_at * _LOOK_SECONDS * len(known)
    told = [f for k, f in zip(plan.keys, findings, strict=True) if f.listed and k.kind not in UNTOLD]
    if told:
        # Only what the row of a segment leaves over is opened.
        opened = _share_of_studies(told, statistics)
        return looked_at * (_LOOK_SECONDS * len(told) + opened * _RECHECK_SECONDS)
    # A study that does not match has all its segments opened.
    opened = 1.0 if plan.level is Level.INSTANCE else max(1.0, statistics.segments / statistics.studies)
    return looked_at * opened * _RECHECK_SECONDS


def _share_of_studies(known: Sequence[Finding], statistics: Statistics) -> float:
    """Estimate the share of the studies that have a segment which all findings leave over."""
    shares = sorted(min(1.0, (f.segments + f.zones) / statistics.segments) for f in known)
    # Keys go together more often than by chance: each further one counts with a smaller power.
    share = prod(float(share ** (0.5**n)) for n, share in enumerate(shares))
    return min(1.0, share * max(1.0, sqrt(statistics.segments / statistics.studies)))


def _are_proved(plan: SearchPlan, findings: Sequence[Finding]) -> bool:
    """Whether terms prove what matches wherever at most one key varies, which is almost everywhere."""
    values = all(isinstance(test, ValueTest) and test.kind not in UNTOLD for test in plan.tests)
    return values and not plan.filtered and all(found.listed and not found.zones for found in findings)


def _checks_each(plan: SearchPlan) -> bool:
    """Whether a key leaves every segment to its re-check."""
    return any(key.kind in UNTOLD for key in plan.keys)
