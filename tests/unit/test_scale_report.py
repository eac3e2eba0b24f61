"""The scale benchmark reports what it has measured."""

from typing import Any
from xml.etree import ElementTree as ET

from benchmarks.search_scale.chart import draw
from benchmarks.search_scale.headers import Shape
from benchmarks.search_scale.kinds import KINDS, Archive
from benchmarks.search_scale.measure import Searcher, percentile, time_kind
from benchmarks.search_scale.report import markdown, p95_by_kind

from dicomweb_archive.errors import ArchiveError, DatabaseUnavailableError, QueryTooExpensiveError


def _run(instances: int, **p95: float) -> dict[str, Any]:
    timings = [
        {"kind": kind, "clients": 1, "counted": True, "p50": 1.0, "p95": value, "rows": 7}
        for kind, value in p95.items()
    ]
    return {
        "instances": instances,
        "built": {"tables": {"segment": {"rows": 30 * instances, "indexes": 10 * instances}}},
        "timings": timings,
    }


def test_the_table_has_the_growth_between_the_two_largest_sizes() -> None:
    text = markdown([_run(100, a=9), _run(1000, a=2), _run(10_000, a=3, b=5)])
    assert "| a | 1.0 / 9.0 | 1.0 / 2.0 | 1.0 / 3.0 | 1.50 |" in text
    assert "| b |  |  | 1.0 / 5.0 |  |" in text
    assert "page alone" in text
    assert "40 bytes an instance (segment 40)" in text


def test_growth_says_where_the_larger_archive_has_a_longer_answer() -> None:
    runs = [_run(100, a=2), _run(1000, a=3)]
    runs[1]["timings"][0]["rows"] = 100
    assert "| 1.50 (7 and 100 rows) |" in markdown(runs)


def test_the_table_has_the_page_without_its_count_and_more_clients_at_the_largest_size() -> None:
    runs = [_run(100, a=2), _run(1000, a=9)]
    page, many = dict(runs[1]["timings"][0]), dict(runs[1]["timings"][0])
    page.update(counted=False, p95=4.0)
    many.update(clients=8, p95=30.0)
    runs[1]["timings"] += [page, many]
    assert "| a | 1.0 / 2.0 | 1.0 / 9.0 | 4.50 | 1.0 / 4.0 | 1.0 / 30.0 |" in markdown(runs)


def test_the_chart_is_an_image_with_a_line_a_kind() -> None:
    runs = [_run(100, a=9, b=300), _run(1000, a=2)]
    root = ET.fromstring(draw(p95_by_kind(runs), [100, 1000]))
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 2


def test_a_percentile_is_a_measured_value() -> None:
    assert [percentile([4, 1, 3, 2], percent) for percent in (50, 75, 76, 99)] == [2, 3, 4, 4]


def test_every_kind_asks_with_paths_and_parameters_of_the_archive() -> None:
    archive = Archive(Shape(2, 2), 50)
    for urls in (kind(archive) for kind in KINDS.values()):
        assert urls
        assert all(url.startswith(("/studies", "/series", "/instances")) for url in urls)


class _Overloaded(Searcher):
    """Answers every third search."""

    def __init__(self) -> None:
        self._searches = 0

    async def processor_seconds(self) -> float:
        return 0.0

    async def search(self, url: str) -> tuple[int, int]:
        self._searches += 1
        errors: list[ArchiveError] = [DatabaseUnavailableError(), QueryTooExpensiveError()]
        if self._searches % 3:
            raise errors[self._searches % 3 - 1]
        return 1, 0


async def test_searches_that_are_refused_are_counted_and_the_others_go_on() -> None:
    timing = await time_kind(_Overloaded(), "slow", ["/studies"] * 3, clients=2, searches=12, seconds=5)
    assert (timing.searches, timing.refused, timing.too_expensive, timing.rows) == (12, 4, 4, 1)
