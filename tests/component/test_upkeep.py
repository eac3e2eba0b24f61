"""Upkeep: searches are planned by what is in the archive now, and nobody sorts in what others have left."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from tests.searching import EVERYTHING, ROOT_URL, key
from tests.synthetic import packs

from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.errors import DatabaseUnavailableError
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.database.lease import maintenance_lease
from dicomweb_archive.index.jobs.queue import JobQueue
from dicomweb_archive.index.search.execution import SearchIndex
from dicomweb_archive.index.search.terms import READ_STATISTICS
from dicomweb_archive.index.upkeep.merging import Merged, SegmentMerger
from dicomweb_archive.index.upkeep.statistics import IndexUpkeep, Refreshed
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.observability import JsonFormatter
from dicomweb_archive.services.jobs.kinds import JobKind, JobKinds, JobRun
from dicomweb_archive.services.jobs.runner import JobRunner
from dicomweb_archive.services.maintenance import IndexMaintenance

SERIES = 70


@pytest.fixture
async def archive(database_url: str) -> AsyncIterator[Database]:
    # One connection, so that what it has counted can be told to the statistics at once.
    async with await Database.open(database_url, point_connections=1) as database:
        yield database


async def fill(database: Database, series: int = SERIES, *, first: int = 0) -> None:
    await Register(database).register(list(packs(series, 1, first=first)), actor="tester")
    async with database.connection() as connection:
        await connection.execute("select pg_stat_force_next_flush()")


async def test_a_first_ingest_is_analysed_and_its_terms_counted_once(archive: Database):
    upkeep = IndexUpkeep(archive)
    await fill(archive)
    done = await upkeep.refresh()
    assert done is not None
    assert {"segment", "term", "instance"} <= set(done.analysed)
    assert done.terms_counted
    async with archive.connection() as connection:
        wrong = await connection.fetchval(
            "select count(*) from term t where greatest(t.segment_count, 1) <> greatest(1,"
            " (select count(*) from segment s where s.terms @> array[t.hash]))"
        )
        common = await connection.fetchval("select max(segment_count) from term")
        await connection.execute("select pg_stat_force_next_flush()")
    assert wrong == 0
    assert common == SERIES
    again = await upkeep.refresh()
    assert again == Refreshed(analysed=again.analysed if again else (), terms_counted=False)
    assert again is not None
    assert "segment" not in again.analysed


async def test_what_only_a_sample_was_asked_is_counted_roughly(archive: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dicomweb_archive.index.upkeep.statistics.SAMPLED_SEGMENTS", SERIES // 2)
    await fill(archive)
    done = await IndexUpkeep(archive).refresh()
    assert done is not None
    assert done.terms_counted


async def test_rows_are_estimated_before_the_first_analysis(archive: Database):
    await fill(archive)
    async with archive.connection() as connection:
        before = await connection.fetchrow(READ_STATISTICS)
        await connection.execute("analyze segment")
        after = await connection.fetchrow(READ_STATISTICS)
    assert SERIES / 3 < before["segments"] < SERIES * 3
    assert after["segments"] == SERIES


async def test_upkeep_leaves_another_process_alone(archive: Database, database_url: str):
    async with await Database.open(database_url, point_connections=1) as other, maintenance_lease(other):
        assert await IndexUpkeep(archive).refresh() is None
        assert await IndexMaintenance(SegmentMerger(archive), IndexUpkeep(archive)).work() == (None, None)
    assert await IndexUpkeep(archive).refresh() is not None


async def test_pending_lists_are_sorted_in(archive: Database):
    await fill(archive, 5)
    await IndexUpkeep(archive).refresh()
    async with archive.connection() as connection:
        assert await connection.fetchval("select gin_clean_pending_list('segment_terms_idx')") == 0
    page = await SearchIndex(archive).search(
        SearchQuery(Level.SERIES, (key("Rows", "512"),), limit=10), EVERYTHING, service_root=ROOT_URL
    )
    assert len([row async for row in page.rows]) == 5


class FailingOnce(SegmentMerger):
    """Fails in its first round."""

    def __init__(self, database: Database, error: Exception) -> None:
        super().__init__(database)
        self.error = error
        self.rounds = 0
        self.went_on = asyncio.Event()

    async def merge(self) -> Merged | None:
        self.rounds += 1
        if self.rounds == 3:
            self.went_on.set()
        if self.rounds == 1:
            raise self.error
        return await super().merge()


@pytest.mark.parametrize("error", [DatabaseUnavailableError("away"), ValueError("of Doe^Jane")])
async def test_rounds_go_on_after_one_that_failed(
    archive: Database, caplog: pytest.LogCaptureFixture, error: Exception
):
    merger = FailingOnce(archive, error)
    maintenance = IndexMaintenance(merger, IndexUpkeep(archive))

    async def work(run: JobRun) -> None:
        await maintenance.work()

    runner = JobRunner(JobQueue(archive), JobKinds([JobKind("upkeep", work, every_seconds=0.01)]), poll_seconds=0.01)
    task = asyncio.create_task(runner.run())
    with caplog.at_level(logging.WARNING):
        await asyncio.wait_for(merger.went_on.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (record,) = (record for record in caplog.records if record.name.endswith("runner"))
    assert "a job has failed" in record.getMessage()
    assert "Doe" not in JsonFormatter().format(record)
