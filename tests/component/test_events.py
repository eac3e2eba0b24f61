"""Events: sealed in an order that nothing is ever put into, and bound so that a change of the past is found."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from click.testing import CliRunner
from tests.factories import ct_series
from tests.stored import pack_of, segment_of

from dicomweb_archive.cli.events import events as events_command
from dicomweb_archive.index.access import ARCHIVE_SPACE, Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.events import feed
from dicomweb_archive.index.events.chain import ChainHead
from dicomweb_archive.index.events.feed import FeedIndex
from dicomweb_archive.index.events.sealing import BATCH, Sealer
from dicomweb_archive.index.events.verifying import verify_events
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.writing.events import EventKind, insert_event
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.index.writing.removal import Removal

EVERYTHING = Visibility()
SUBMITTED = 1001


async def note(database: Database, number: int, *, space_id: int = ARCHIVE_SPACE, collection_id: int = 1) -> None:
    async with database.transaction() as connection:
        await insert_event(
            connection,
            EventKind.INSTANCES_STORED,
            actor="tester",
            space_id=space_id,
            study_instance_uid=f"1.2.{number}",
            detail={"instances": number},
            collection_id=collection_id,
        )


async def execute(database: Database, statement: str, *values: object) -> Any:
    async with database.connection() as connection:
        return await connection.fetchval(statement, *values)


async def studies(database: Database, visibility: Visibility = EVERYTHING, *, after: int = 0) -> Sequence[str | None]:
    found = await FeedIndex(database).changes(visibility, after=after, limit=10_000)
    return [change.study_instance_uid for change in found]


async def test_what_is_committed_late_comes_behind_what_was_sealed_and_nothing_is_left_out(database: Database) -> None:
    sealer = Sealer(database)
    async with database.transaction() as late:
        # It has its id first, and commits last.
        await insert_event(
            late,
            EventKind.STUDY_PUBLISHED,
            actor="t",
            space_id=1,
            study_instance_uid="1.2.9",
            detail={},
            collection_id=1,
        )
        await note(database, 1)
        assert await sealer.seal() == 1
        assert await studies(database) == ["1.2.1"]
    # Rolled back: its id is missing for ever, its place is not.
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as lost:
            await insert_event(lost, EventKind.STUDY_DELETED, actor="t", space_id=1, detail={})
            raise ZeroDivisionError
    await note(database, 2)
    assert await sealer.seal() == 2
    assert await sealer.seal() == 0
    assert await studies(database) == ["1.2.1", "1.2.9", "1.2.2"]
    positions = "select array_agg(position order by position) = array[1, 2, 3]::int8[] from event"
    assert await execute(database, positions)


async def test_many_sealers_and_writers_at_once_leave_no_gap(database: Database) -> None:
    sealers = [Sealer(database) for _ in range(3)]

    async def write(first: int) -> None:
        for number in range(first, first + 20):
            await note(database, number, space_id=SUBMITTED if number % 3 == 0 else 1)

    async def seal(sealer: Sealer) -> None:
        for _ in range(10):
            await sealer.seal()

    await asyncio.gather(*(write(100 * n) for n in range(3)), *(seal(sealer) for sealer in sealers))
    await sealers[0].seal()
    verified = await verify_events(database)
    assert (verified.head.position, verified.broken_at, verified.unsealed) == (60, None, 0)
    places = [c.position for c in await FeedIndex(database).changes(EVERYTHING, after=0, limit=100)]
    # What happens in a submission takes no place that a reader could miss.
    assert places == list(range(1, len(places) + 1))
    assert len(places) == await execute(database, "select count(*) from event where space_id = 1")


async def test_a_log_that_was_written_before_there_were_sealers_is_sealed_in_batches(database: Database) -> None:
    await execute(
        database,
        "insert into event (kind, actor, space_id, detail) "
        "select 'instances_stored', 't', 1, '{}' from generate_series(1, $1::int)",
        BATCH + 10,
    )
    assert await Sealer(database).seal() == BATCH + 10
    assert (await verify_events(database)).head.position == BATCH + 10


async def test_one_event_that_is_written_otherwise_keeps_no_other_unsealed(database: Database) -> None:
    await execute(
        database, "insert into event (kind, actor, space_id, detail) values ('odd', 't', 1, '{\"study\": \"x\"}')"
    )
    await note(database, 1)
    assert await Sealer(database).seal() == 2
    assert await studies(database) == ["1.2.1"]


TAMPERINGS = {
    "changed": ("update event set actor = 'nobody' where position = 2", 2),
    "taken out": ("delete from event where position = 2", 2),
    "moved to another space": ("update event set space_id = 7 where position = 3", 3),
    "put in another order": (
        """
        update event set position = -position;
        update event set position = case position when -1 then 2 when -2 then 1 else -position end
        """,
        1,
    ),
}


@pytest.mark.parametrize(("statement", "place"), TAMPERINGS.values(), ids=TAMPERINGS)
async def test_a_changed_past_is_found(database: Database, statement: str, place: int) -> None:
    for number in range(1, 4):
        await note(database, number)
    await Sealer(database).seal()
    assert (await verify_events(database)).broken_at is None
    async with database.connection() as connection:
        await connection.execute(statement)
    assert (await verify_events(database)).broken_at == place


async def test_a_log_that_was_cut_off_is_found_by_who_has_kept_its_end(database: Database) -> None:
    for number in range(1, 4):
        await note(database, number)
    await Sealer(database).seal()
    known = (await verify_events(database)).head
    await execute(database, "delete from event where position = 3")
    assert (await verify_events(database)).broken_at is None
    assert (await verify_events(database, known)).has_known is False
    assert (await verify_events(database, ChainHead(2, (await verify_events(database)).head.hash))).has_known


async def test_changes_are_those_of_collections_that_are_seen(database: Database) -> None:
    await execute(database, "insert into collection (id, accession, title) values (2, 'TEST-000002', 'Restricted')")
    register = Register(database)
    files = {collection: ct_series(1, study=collection) for collection in (1, 2)}
    uids = {}
    for collection, content in files.items():
        segment = segment_of(content)
        uids[collection] = segment[0].scanned.study_instance_uid
        await register.register([pack_of(segment)], actor="tester", collection_id=collection)
    # It is deleted before anything is sealed: then only the delete knows where it was.
    await Removal(database, InstanceIndex(database)).delete_study(uids[2], EVERYTHING, actor="tester")
    await Sealer(database).seal()
    assert await studies(database, Visibility(collections=(1,))) == [uids[1]]
    assert await studies(database, Visibility(collections=(2,))) == [uids[2], uids[2]]
    assert await studies(database) == [uids[1], uids[2], uids[2]]
    (change,) = await FeedIndex(database).changes(Visibility(collections=(1,)), after=0, limit=9)
    assert (change.kind, change.instances, change.collection) == ("instances_stored", 1, "default")
    assert len(change.series_instance_uids) == 1
    assert await FeedIndex(database).last(Visibility(collections=(1,))) == 1
    await execute(database, "update study set embargo_until = current_date + 1")
    assert await studies(database, Visibility(collections=(1,))) == []
    assert await studies(database, Visibility(collections=(1,), see_embargoed=True)) == [uids[1]]


async def test_who_sees_few_of_many_changes_finds_all_of_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "LOOKED_AT", 2)
    for number in range(1, 10):
        await note(database, number, collection_id=2 if number % 4 == 0 else 1)
    await Sealer(database).seal()
    assert await studies(database, Visibility(collections=(2,))) == ["1.2.4", "1.2.8"]
    found = await FeedIndex(database).changes(Visibility(collections=(2,)), after=1, limit=1)
    assert [change.study_instance_uid for change in found] == ["1.2.4"]
    assert not await FeedIndex(database).changes(Visibility(collections=(2,)), after=4, end=7, limit=9)


async def test_an_operator_verifies_the_log(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await note(database, 1)
    await Sealer(database).seal()
    head = (await verify_events(database)).head
    monkeypatch.setenv("DICOMWEB_ARCHIVE_DATABASE_URL", database_url)

    async def run(*arguments: str) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, events_command, ["verify", *arguments])
        return result.exit_code, result.output

    status, printed = await run("--known", f"{head.position}:{head.hash.hex()}")
    assert status == 0
    assert f"1:{head.hash.hex()}" in printed
    assert (await run("--known", f"1:{bytes(32).hex()}"))[0] == 1
    assert (await run("--known", "nonsense"))[0] == 2
    await execute(database, "update event set kind = 'other'")
    status, printed = await run("--json")
    assert status == 1
    assert '"broken_at":1' in printed
