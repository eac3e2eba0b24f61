"""Fill a private PostgreSQL through the register and time searches by kind, rows read and joined.

    python -m benchmarks.search [--instances 20000] [--per-series 40] [--repeat 15]

The kinds are those of a QIDO-RS client's day, and the two shapes of the planner for one common value.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.searching import always_by_terms, always_ordered, key, path
from tests.synthetic import MAKERS, ROOT, packs

from dicomweb_archive.dicom.matching_keys import DateTimeRange, Fuzzy, Key, Range, UidList, WildCard
from dicomweb_archive.dicom.name_words import key_words
from dicomweb_archive.dicom.query import Level, OrderKey, SearchQuery
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.database.migrate import upgrade
from dicomweb_archive.index.search.execution import SearchIndex
from dicomweb_archive.index.writing.register import Register

SERIES_PER_STUDY = 3
_BATCH = 20
_YEAR = 365 * 86_400.0


def studies(*keys: Key, limit: int = 100, offset: int = 0, everything: bool = False) -> SearchQuery:
    """A search for studies."""
    return SearchQuery(Level.STUDY, keys, limit=limit, offset=offset, include_all=everything)


def fuzzy(name: str, words: str) -> Key:
    """A key of fuzzy matching."""
    return Key(path(name), Fuzzy(key_words(words)))


def ordered(query: SearchQuery) -> SearchQuery:
    """The same by patient name."""
    return replace(query, order=(OrderKey(path("PatientName")),))


def kinds(series_count: int, instances: int) -> dict[str, list[SearchQuery]]:
    """Queries by kind, with changing values."""
    count = series_count // SERIES_PER_STUDY
    picked = [count * part // 30 for part in range(30)]
    uid = [f"{ROOT}.{number}" for number in picked]
    first = [f"{ROOT}.{number}.{number * SERIES_PER_STUDY}" for number in picked]
    day = 736_000 * 86_400.0
    starts = [day + part * 30 * 86_400 for part in range(30)]
    makers = [key("Manufacturer", maker) for maker in MAKERS]
    return {
        "study_by_uid": [studies(key("StudyInstanceUID", UidList((one,)))) for one in uid],
        "patient_id": [studies(key("PatientID", f"P{number // 2:07}")) for number in picked],
        "accession": [studies(key("AccessionNumber", f"A{number:07}")) for number in picked],
        "name_prefix": [studies(key("PatientName", WildCard(f"{prefix}*"))) for prefix in ("Cast", "EVAN", "hub")],
        "name_substring": [studies(key("PatientName", WildCard(f"*{part}*"))) for part in ("ranz1", "arla2", "ma3")],
        "fuzzy_name": [studies(fuzzy("PatientName", words)) for words in ("cast", "evan emma1", "Hüber")],
        "fuzzy_operator": [studies(fuzzy("OperatorsName", words)) for words in ("cast anna", "Эванс", "bernd12")],
        "date_range": [studies(key("StudyDate", Range(start, start + 28 * 86_400))) for start in starts],
        "date_modality": [
            studies(
                key("StudyDate", Range(start, start + _YEAR)),
                key("ModalitiesInStudy", "CT"),
                key("PatientName", WildCard("d*")),
            )
            for start in starts
        ],
        "date_and_time": [
            SearchQuery(
                Level.STUDY,
                combined=(DateTimeRange(path("StudyDate"), path("StudyTime"), start, start + 9e6),),
                limit=100,
            )
            for start in starts
        ],
        "modality": [studies(key("ModalitiesInStudy", modality), limit=25) for modality in ("CT", "MR")],
        "series_in_study": [SearchQuery(Level.SERIES, study_instance_uid=one) for one in uid],
        "instances_in_series": [
            SearchQuery(Level.INSTANCE, study_instance_uid=one, series_instance_uid=own)
            for one, own in zip(uid, first, strict=True)
        ],
        "include_all_study": [studies(key("StudyInstanceUID", UidList((one,))), everything=True) for one in uid],
        "worklist_first": [studies(limit=101)],
        "include_all_page": [studies(limit=25, everything=True)],
        "studies_deep_page": [studies(limit=25, offset=int(count * share)) for share in (0.8, 0.9)],
        "studies_behind_a_row": [replace(studies(limit=25), after=(start, 1)) for start in starts],
        "studies_by_name": [ordered(studies(limit=25))],
        "studies_by_name_behind_a_row": [replace(ordered(studies(limit=25)), after=("m", 1))],
        "instances_behind_a_row": [
            SearchQuery(Level.INSTANCE, limit=50, after=(int(series_count * share), ROOT), relational=True)
            for share in (0.8, 0.9)
        ],
        "instances_deep_page": [
            SearchQuery(Level.INSTANCE, limit=50, offset=int(instances * share), relational=True)
            for share in (0.8, 0.9)
        ],
        "series_by_manufacturer": [SearchQuery(Level.SERIES, (maker,), limit=25, relational=True) for maker in makers],
        "series_by_kvp_in_study": [
            SearchQuery(
                Level.SERIES, (key("StudyInstanceUID", UidList((one,))), key("KVP", "120")), relational=True
            )
            for one in uid
        ],
        "rare_value": [studies(key("ProtocolName", f"Protocol {number}")) for number in range(30)],
        "absent_value": [studies(key("ProtocolName", f"none {number}")) for number in range(30)],
        "two_common_values": [studies(maker, key("KVP", "120"), limit=100) for maker in makers],
        "pattern_of_many_terms": [studies(key("SeriesDescription", WildCard(f"*{digit}")))for digit in range(10)],
        "range_of_numbers": [
            SearchQuery(Level.INSTANCE, (key("SliceLocation", f"{1.25 * number}"),), limit=50, relational=True)
            for number in (1, 7, 20, 33)
        ],
    }  # fmt: skip


async def time_kind(index: SearchIndex, queries: Sequence[SearchQuery], repeat: int) -> tuple[list[float], int]:
    """Return milliseconds of each search, and the rows of the last."""
    times, rows = [], 0
    for number in range(repeat + 2):
        query = queries[number % len(queries)]
        start = time.perf_counter()
        page = await index.search(query, Visibility(), service_root="http://127.0.0.1:8000/dicom-web")
        rows = len([row async for row in page.rows])
        # The first two compose and prepare the statement.
        if number >= 2:
            times.append((time.perf_counter() - start) * 1000)
    return times, rows


async def fill(url: str, series_count: int, per_series: int) -> None:
    """Register synthetic series, and let PostgreSQL look at them."""
    await upgrade(url)
    async with await Database.open(url) as database:
        register = Register(database)
        for first in range(0, series_count, _BATCH):
            count = min(_BATCH, series_count - first)
            await register.register(list(packs(count, per_series, first=first)), actor="benchmark")
        async with database.connection() as connection:
            await connection.execute("vacuum (analyze)")


async def run(url: str, series_count: int, per_series: int, repeat: int) -> None:
    """Fill and measure."""
    start = time.perf_counter()
    await fill(url, series_count, per_series)
    instances = series_count * per_series
    print(f"{instances} instances in {series_count} series registered in {time.perf_counter() - start:.1f} s")
    print(f"{'kind':28} {'rows':>5} {'p50 ms':>8} {'p95 ms':>8}")
    async with await Database.open(url) as database:
        index = SearchIndex(database)
        by_kind = kinds(series_count, instances)
        for name, queries in by_kind.items():
            report(name, *await time_kind(index, queries, repeat))
        for name, choose in (("ordered", always_ordered), ("by terms", always_by_terms)):
            forced = SearchIndex(database, choose=choose)
            report(f"common value, {name}", *await time_kind(forced, by_kind["two_common_values"], repeat))


def report(name: str, times: list[float], rows: int) -> None:
    """Print one line."""
    p95 = sorted(times)[int(len(times) * 0.95)]
    print(f"{name:28} {rows:5} {statistics.median(times):8.2f} {p95:8.2f}")


def main() -> None:
    """Run the benchmark on a private server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=20_000)
    parser.add_argument("--per-series", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dwa-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with EmbeddedPostgres(folder, durable=False) as postgres:
            series_count = arguments.instances // arguments.per_series
            asyncio.run(run(postgres.url, series_count, arguments.per_series, arguments.repeat))


if __name__ == "__main__":
    main()
