"""The dictionary: stores of the same moment share their statements, and no store pays for another's rows."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.segments.terms import SegmentTerms, TermRow
from dicomweb_archive.index.writing.dictionary import Dictionary


class CountingDatabase:
    """A database that counts how often somebody borrows a connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.borrowed = 0

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        self.borrowed += 1
        async with self._database.connection() as connection:
            yield connection


def terms_of(number: int, *, text: str = "") -> SegmentTerms:
    """Terms of a segment: one value that all have, and one of its own."""
    rows = [TermRow(1, "00080060", "CT", None), TermRow(100 + number, "00200013", text or str(number), None)]
    return SegmentTerms([row.hash for row in rows], rows, [], {"00080060": "CS", "00200013": "IS"})


async def hashes_of(database: Database) -> set[int]:
    async with database.connection() as connection:
        return {row["hash"] for row in await connection.fetch("select hash from term")}


async def test_stores_of_the_same_moment_share_a_statement(database: Database):
    counting = CountingDatabase(database)
    dictionary = Dictionary(counting)  # type: ignore[arg-type]
    vocabularies = await asyncio.gather(*(dictionary.add([terms_of(n)]) for n in range(20)))
    assert counting.borrowed <= 4
    assert await hashes_of(database) == {1, *range(100, 120)}
    assert len({tuple(sorted(each.path_ids.items())) for each in vocabularies}) == 1
    assert all(each.path_ids.keys() == {"00080060", "00200013"} for each in vocabularies)


async def test_rows_that_cannot_be_written_fail_their_own_store_alone(database: Database):
    dictionary = Dictionary(database)
    # The scanner lets no NUL through; the server would refuse the whole statement.
    work = [dictionary.add([terms_of(n, text="a\0b" if n in (3, 7) else "")]) for n in range(12)]
    results = await asyncio.gather(*work, return_exceptions=True)
    assert [isinstance(result, Exception) for result in results] == [n in (3, 7) for n in range(12)]
    assert await hashes_of(database) == {1, *range(100, 112)} - {103, 107}


async def test_a_store_that_is_given_up_leaves_the_others_their_batch(database: Database):
    dictionary = Dictionary(database)
    tasks = [asyncio.create_task(dictionary.add([terms_of(n)])) for n in range(9)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert not any(isinstance(result, BaseException) for result in results[1:])
    assert await hashes_of(database) >= {1, *range(101, 109)}


@pytest.mark.parametrize("remembered", [False, True])
async def test_only_what_is_known_to_be_durable_is_not_sent_again(database: Database, remembered: bool):
    counting = CountingDatabase(database)
    dictionary = Dictionary(counting)  # type: ignore[arg-type]
    vocabulary = await dictionary.add([terms_of(1)])
    if remembered:
        dictionary.remember(vocabulary)
    await dictionary.add([terms_of(1)])
    assert counting.borrowed == (1 if remembered else 2)


async def test_a_store_waits_for_nobody_who_counts_terms(database: Database):
    await Dictionary(database).add([terms_of(1)])
    async with database.transaction() as connection:
        # What upkeep does to many rows at once, for as long as it takes (`upkeep.COUNT_TERMS`).
        await connection.execute("update term set segment_count = 7")
        await asyncio.wait_for(Dictionary(database).add([terms_of(1), terms_of(2)]), 60)
    assert await hashes_of(database) == {1, 101, 102}
