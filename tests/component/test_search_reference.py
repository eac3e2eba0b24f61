"""Search equals the reference: generated studies, searches as text, every level and both shapes of statement.

A bounded number runs with the suite; `DICOMWEB_ARCHIVE_TEST_SEARCHES` raises it, `DICOMWEB_ARCHIVE_TEST_SEED` varies it
(`tests/reference_search.py`, `reference_filter.py`, `reference_words.py` and `reference_order.py` say what is right).
Half of the searches come after deletes, merges and late arrivals.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from tests.both_archives import Both
from tests.generated_pages import BINS
from tests.generated_searches import SEARCHES, SEED, Search, searches
from tests.reference_filter import evaluate, step_of, vr_of
from tests.reference_order import counts, out_of_order, same
from tests.reference_search import (
    UNIQUE,
    Plain,
    as_told,
    in_own_zone,
    meaning,
    tag,
    zone_of,
)
from tests.searching import ROOT_URL, always_by_terms, always_ordered, objects

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.facets import Calendar, FacetField
from dicomweb_archive.dicom.query import Level
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.search.execution import SearchIndex, SearchPage
from dicomweb_archive.index.search.facets import FacetIndex
from dicomweb_archive.index.search.planning.shape import choose_shape
from dicomweb_archive.wire.page_tokens import PageTokens
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.search_parameters import SearchRequest, parse_search

SHAPES = {"ordered": always_ordered, "by terms": always_by_terms, "chosen": choose_shape}


def parsed(search: Search, **more: str) -> SearchRequest:
    """Read a search as the archive reads what a client sends."""
    pairs = [*search.parameters, *(("includefield", name) for name in search.asked.fields)]
    pairs += [("orderby", ",".join(search.asked.order))] if search.asked.order else []
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in [*pairs, *more.items()])
    found = parse_search(
        split_query(text.encode()),
        Level(search.level),
        study_instance_uid=search.study,
        series_instance_uid=search.series,
        relational=search.study is None and search.level != "study",
    )
    assert not any("ignored" in warning for warning in found.warnings)
    return found


@dataclass
class Checking:
    """One search in the archive, beside what the reference says of it."""

    both: Both
    search: Search
    indexes: Sequence[SearchIndex]

    async def check(self) -> int:
        """Compare; returns how many are found."""
        search = self.search
        expected = self.both.reference.search(
            search.level,
            search.pairs,
            study=search.study,
            series=search.series,
            collections=search.collections,
            passes=lambda view: search.filter is None or evaluate(view, search.filter) is True,
        )
        rows, remaining = await self._rows(self.indexes[0], parsed(search, limit="5000"))
        whole = list(rows)
        missing, added = sorted(expected - set(whole))[:3], sorted(set(whole) - expected)[:3]
        assert (missing, added, len(whole), remaining) == ([], [], len(expected), 0), (missing, added, remaining)
        self._check_order(whole)
        self._check_fields(rows)
        if search.asked.limit < 5000:
            await self._check_page(whole)
        if search.asked.walk:
            await self._check_walk(whole)
        if search.asked.counted:
            await self._check_counts(whole)
        return len(whole)

    async def _rows(self, index: SearchIndex, asked: SearchRequest) -> tuple[dict[str, dict[str, Any]], int]:
        page = await self._page(index, asked)
        rows = await objects(page)
        unique = f"{tag(UNIQUE[self.search.level]):08X}"
        found = {row[unique]["Value"][0]: row for row in rows}
        assert len(found) == len(rows)
        return found, page.remaining

    async def _page(self, index: SearchIndex, asked: SearchRequest) -> SearchPage:
        return await index.search(asked.query, Visibility(collections=self.search.collections), service_root=ROOT_URL)

    def _check_order(self, whole: list[str]) -> None:
        level, reference = self.search.level, self.both.reference
        if self.search.asked.order:
            views = reference.views(level)
            place = out_of_order([views[uid][0] for uid in whole], self.search.asked.order)
            assert place is None, whole[place - 1 : place + 1]
        elif level == "instance":
            in_series = [(reference.series_of(uid), uid) for uid in whole]
            groups = list(dict.fromkeys(series for series, _ in in_series))
            assert in_series == sorted(in_series, key=lambda entry: (groups.index(entry[0]), entry[1]))
        else:
            place_of = reference.order(level)
            assert whole == sorted(whole, key=place_of.__getitem__), whole

    def _check_fields(self, rows: dict[str, dict[str, Any]]) -> None:
        """Fields of instances are those of their data sets; the patient's birth date is that of the study's row."""
        level, reference = self.search.level, self.both.reference
        for uid, row in list(rows.items())[:20] if self.search.asked.fields else ():
            for name in {field.split(".")[0] for field in self.search.asked.fields}:
                if level != "instance" and name != "PatientBirthDate":
                    continue
                stored = reference.fields(level, uid)
                told = in_own_zone(
                    as_told({key: row[key] for key in row if key == f"{tag(name):08X}"}), zone_of(stored)
                )
                assert _compared(told, tag(name)) == _compared(stored, tag(name)), (
                    uid,
                    name,
                    told,
                    stored.get(tag(name)),
                )

    async def _check_page(self, whole: list[str]) -> None:
        asked, begin = self.search.asked, self.search.asked.offset
        more = {"count": asked.count} if asked.count else {}
        page = await self._page(self.indexes[1], parsed(self.search, limit=str(asked.limit), offset=str(begin), **more))
        found = [row[f"{tag(UNIQUE[self.search.level]):08X}"]["Value"][0] for row in await objects(page)]
        left = max(0, len(whole) - begin - asked.limit)
        assert found == whole[begin : begin + asked.limit]
        if asked.count == "none":
            assert (page.uncounted or page.remaining > 0) == (left > 0), (page.remaining, page.uncounted, left)
        else:
            assert (page.remaining, page.capped, page.uncounted) == (left, False, False)

    async def _check_walk(self, whole: list[str]) -> None:
        """Follow page tokens, sealed and opened, to the end."""
        walked: list[str] = []
        asked = parsed(self.search, limit=str(self.search.asked.walk), count="none")
        tokens = PageTokens(await self.indexes[1].secret())
        while len(walked) <= len(whole):
            page = await self._page(self.indexes[1], asked)
            walked += [row[f"{tag(UNIQUE[self.search.level]):08X}"]["Value"][0] for row in await objects(page)]
            if page.last is None or len(walked) > 40 * self.search.asked.walk:
                break
            token = tokens.seal(asked.query, page.last)
            asked = replace(asked, query=replace(asked.query, after=tokens.open(asked.query, token)))
        assert walked == whole[: len(walked)], (walked, whole)
        assert len(walked) == len(whole) or page.last is not None

    async def _check_counts(self, whole: list[str]) -> None:
        views = self.both.reference.views(self.search.level)
        fields = [_field(name) for name in self.search.asked.counted]
        index = FacetIndex(
            self.both.database, self.indexes[0], unfold_seconds=self.both.chance.choice([0.0, 1.0, 4e-5])
        )
        visibility = Visibility(collections=self.search.collections)
        found = await index.count(parsed(self.search).query, visibility, fields, limit=1000)
        assert found.total == len(whole)
        for facet in found.facets:
            expected = counts([views[uid] for uid in whole], facet.field.name, BINS.get(facet.field.name, ""))
            vr = vr_of(facet.field.name.split(".")[-1])
            told = {
                value.value if facet.field.interval else _same(vr, value.value): value.count for value in facet.values
            }
            assert (told, facet.distinct) == (expected, len(expected)), (
                facet.field.name,
                set(told.items()) ^ set(expected.items()),
            )


def _field(name: str) -> FacetField:
    steps = tuple(PathStep(step.tag, step.creator) for step in map(step_of, name.split(".")))
    interval = {"year": Calendar.YEAR, "month": Calendar.MONTH}.get(BINS.get(name, ""))
    width = float(BINS[name]) if name in BINS and interval is None else None
    return FacetField(
        AttributePath(steps, "UN" if steps[-1].private_creator else vr_of(name.split(".")[-1])), name, interval or width
    )


def _same(vr: str, value: Any) -> Any:
    return same(vr, value if vr == "PN" else meaning(vr, value))


def _compared(attributes: Plain, number: int) -> Any:
    """Return what the values of an attribute mean, without empty ones at the end."""
    vr, values = attributes.get(number, ("", []))
    if vr == "SQ":
        return [{key: _compared(item, key) for key in item} for item in values]
    found = [
        value.split("=") if vr == "PN" and value else meaning(vr, "" if value is None else value) for value in values
    ]
    while found and found[-1] in (None, [], [""]):
        found.pop()
    return found


async def test_every_search_finds_what_the_reference_finds(database: Database):
    both = await Both.begun(database, SEED)
    indexes = [SearchIndex(database, choose=choose) for choose in SHAPES.values()]
    hits = 0
    for phase in range(2):
        if phase:
            await both.change(SEED)
        for search in searches(f"{SEED} {phase}", SEARCHES // 2, both.instances):
            shapes = both.chance.sample(range(len(indexes)), 2)
            try:
                hits += bool(await Checking(both, search, [indexes[shape] for shape in shapes]).check())
            except Exception as error:
                error.add_note(f"shapes {shapes} of {list(SHAPES)}, after changes: {bool(phase)}: {search}")
                raise
    assert hits > SEARCHES / 2
