"""Removal: rows, counters, tombstones and events agree, and what remains is as if nothing else had been there."""

import asyncio

import orjson
import pytest
from tests.factories import ROOT, ct_series, image, part10
from tests.stored import pack_of, segment_of

from dicomweb_archive.errors import ArchiveError, GoneError, NotFoundError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.reading.instances import InstanceIndex, Scope
from dicomweb_archive.index.writing.register import Register, Registration
from dicomweb_archive.index.writing.removal import Removal

EVERYTHING = Visibility()
STUDY, SERIES = f"{ROOT}.1", f"{ROOT}.1.1"


@pytest.fixture
def register(database: Database) -> Register:
    return Register(database)


@pytest.fixture
def index(database: Database) -> InstanceIndex:
    return InstanceIndex(database)


@pytest.fixture
def removal(database: Database, index: InstanceIndex) -> Removal:
    return Removal(database, index)


async def rows_of(connection: Connection) -> dict[str, int]:
    tables = ("study", "series", "pack", "segment", "segment_data", "zone", "instance", "series_metadata")
    return {table: await connection.fetchval(f"select count(*) from {table}") for table in tables}


async def contents(database: Database) -> list[tuple[object, ...]]:
    """Return what the segments hold, without ids."""
    async with database.connection() as connection:
        rows = await connection.fetch(
            "select s.terms, d.common, d.columns, d.document, d.locations, s.study_facts, s.series_facts"
            " from segment s join segment_data d on d.segment_id = s.id order by s.id"
        )
    return [(r[0], orjson.loads(r[1]), orjson.loads(r[2]), *r[3:]) for r in rows]


async def test_a_deleted_study_leaves_an_event_and_a_tombstone(
    database: Database, register: Register, removal: Removal, index: InstanceIndex
):
    packs = [pack_of(segment_of(ct_series(40))), pack_of(segment_of(ct_series(1, series=2)))]
    await register.register(packs, actor="tester")
    removed = await removal.delete_study(STUDY, EVERYTHING, actor="keeper")
    assert (removed.series, removed.instances) == (2, 41)
    assert sorted(removed.free_object_keys) == sorted(pack.object_key for pack in packs)
    async with database.connection() as connection:
        assert set((await rows_of(connection)).values()) == {0}
        event = await connection.fetchrow("select * from event order by id desc limit 1")
        tombstones = await connection.fetch("select level, study_instance_uid, event_id from tombstone")
    assert (event["kind"], event["actor"], event["study_instance_uid"]) == ("study_deleted", "keeper", STUDY)
    assert orjson.loads(event["detail"])["instances"] == 41
    assert [tuple(row) for row in tombstones] == [("study", STUDY, event["id"])]
    for scope in (Scope(STUDY), Scope(STUDY, SERIES), Scope(STUDY, SERIES, f"{SERIES}.1")):
        with pytest.raises(GoneError):
            await index.locate(scope, EVERYTHING)
    with pytest.raises(GoneError):
        await removal.delete_study(STUDY, EVERYTHING, actor="keeper")


async def test_a_deleted_series_is_taken_off_its_study(
    database: Database, register: Register, removal: Removal, index: InstanceIndex
):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    mr = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"}
    await register.register([pack_of(segment_of(ct_series(2, series=2, **mr)))], actor="tester")
    removed = await removal.delete_series(STUDY, f"{ROOT}.1.2", EVERYTHING, actor="keeper")
    assert (removed.series, removed.instances, len(removed.free_object_keys)) == (1, 2, 1)
    async with database.connection() as connection:
        study = await connection.fetchrow("select * from study")
        sizes = await connection.fetchrow("select size_bytes from series")
    assert (study["series_count"], study["instance_count"], study["revision"]) == (1, 3, 3)
    assert study["size_bytes"] == sizes["size_bytes"]
    assert study["modalities"] == ["CT"]
    assert study["sop_classes"] == ["1.2.840.10008.5.1.4.1.1.2"]
    with pytest.raises(GoneError):
        await index.locate(Scope(STUDY, f"{ROOT}.1.2"), EVERYTHING)
    assert len(await index.locate(Scope(STUDY), EVERYTHING)) == 1


async def test_a_segment_that_loses_an_instance_is_as_if_it_had_never_been(
    database: Database, register: Register, removal: Removal, index: InstanceIndex
):
    files = ct_series(5, SpecificCharacterSet="ISO_IR 192")
    pack = pack_of(segment_of(files))
    await register.register([pack], actor="tester")
    removed = await removal.delete_instance(STUDY, SERIES, f"{SERIES}.3", EVERYTHING, actor="keeper")
    assert (removed.series, removed.instances, removed.free_object_keys) == (1, 1, ())
    rebuilt = await contents(database)
    (segment,) = await index.locate(Scope(STUDY), EVERYTHING)
    places = {location.sop_instance_uid: (location.object_key, location.byte_offset) for location in segment}
    assert places == {
        stored.scanned.sop_instance_uid: (pack.object_key, stored.byte_offset)
        for stored in pack.segments[0]
        if stored.scanned.sop_instance_uid != f"{SERIES}.3"
    }
    async with database.connection() as connection:
        series = await connection.fetchrow("select instance_count, size_bytes, revision from series")
    assert series["instance_count"] == 4
    assert series["size_bytes"] == sum(location.byte_length for location in segment)
    # The same four stored afresh give the same rows.
    await removal.delete_study(STUDY, EVERYTHING, actor="keeper")
    await register.register([pack_of(pack.segments[0][:2] + pack.segments[0][3:])], actor="tester")
    fresh = await contents(database)
    assert rebuilt[0][:4] == fresh[0][:4]
    assert rebuilt[0][5:] == fresh[0][5:]


async def test_the_last_instance_takes_series_and_study_with_it(
    database: Database, register: Register, removal: Removal, index: InstanceIndex
):
    await register.register([pack_of(segment_of(ct_series(1)))], actor="tester")
    removed = await removal.delete_instance(STUDY, SERIES, f"{SERIES}.1", EVERYTHING, actor="keeper")
    assert len(removed.free_object_keys) == 1
    async with database.connection() as connection:
        assert set((await rows_of(connection)).values()) == {0}
    for scope in (Scope(STUDY), Scope(STUDY, SERIES), Scope(STUDY, SERIES, f"{SERIES}.1")):
        with pytest.raises(GoneError):
            await index.locate(scope, EVERYTHING)


async def test_what_is_stored_again_is_no_longer_gone(register: Register, removal: Removal, index: InstanceIndex):
    await register.register([pack_of(segment_of(ct_series(2)))], actor="tester")
    await removal.delete_instance(STUDY, SERIES, f"{SERIES}.1", EVERYTHING, actor="keeper")
    await removal.delete_study(STUDY, EVERYTHING, actor="keeper")
    outcome = await register.register([pack_of(segment_of(ct_series(2)))], actor="tester")
    assert set(outcome.values()) == {Registration.STORED}
    assert (await index.locate_instance(STUDY, SERIES, f"{SERIES}.1", EVERYTHING)).byte_length > 0
    with pytest.raises(NotFoundError) as raised:
        await index.locate(Scope(STUDY, SERIES, "1.2.3"), EVERYTHING)
    assert not isinstance(raised.value, GoneError)


async def test_a_study_is_voted_on_again_by_those_that_remain(database: Database, register: Register, removal: Removal):
    for number, name in ((1, "A"), (2, "B"), (3, "A")):
        data = part10(image(instance=number, PatientName=name))
        await register.register([pack_of(segment_of([data]))], actor="tester")
    await removal.delete_instance(STUDY, SERIES, f"{SERIES}.1", EVERYTHING, actor="keeper")
    async with database.connection() as connection:
        assert await connection.fetchval("select patient_name from study") == "b", "of equals the oldest"


async def test_tombstones_are_told_only_to_who_may_know(register: Register, removal: Removal, index: InstanceIndex):
    await register.register([pack_of(segment_of(ct_series(1)))], actor="tester")
    await removal.delete_study(STUDY, EVERYTHING, actor="keeper")
    for visibility in (Visibility(spaces=(2,)), Visibility(collections=(2,))):
        with pytest.raises(NotFoundError) as raised:
            await index.locate(Scope(STUDY), visibility)
        assert not isinstance(raised.value, GoneError)
    # Other collections may be hidden from those who see its own.
    with pytest.raises(GoneError):
        await index.locate(Scope(STUDY), Visibility(collections=(1,)))


async def test_a_tombstone_does_not_betray_a_hidden_study(
    database: Database, register: Register, removal: Removal, index: InstanceIndex
):
    await register.register([pack_of(segment_of(ct_series(2)))], actor="tester")
    await removal.delete_instance(STUDY, SERIES, f"{SERIES}.1", EVERYTHING, actor="keeper")
    async with database.connection() as connection:
        await connection.execute("update study set embargo_until = current_date + 1")
    with pytest.raises(NotFoundError) as raised:
        await index.locate(Scope(STUDY, SERIES, f"{SERIES}.1"), EVERYTHING)
    assert not isinstance(raised.value, GoneError)


async def test_what_may_not_be_seen_cannot_be_deleted(register: Register, removal: Removal, index: InstanceIndex):
    await register.register([pack_of(segment_of(ct_series(1)))], actor="tester")
    with pytest.raises(NotFoundError):
        await removal.delete_study(STUDY, Visibility(collections=(7,)), actor="keeper")
    with pytest.raises(NotFoundError):
        await removal.delete_series(STUDY, "1.2.3", EVERYTHING, actor="keeper")
    with pytest.raises(NotFoundError):
        await removal.delete_instance(STUDY, SERIES, "1.2.3", EVERYTHING, actor="keeper")
    assert len(await index.locate(Scope(STUDY), EVERYTHING)) == 1


async def test_stores_and_deletes_of_one_study_at_once_end_in_agreement(
    database: Database, register: Register, removal: Removal
):
    async def store(number: int) -> None:
        files = ct_series(3, series=number % 3 + 1)
        await register.register([pack_of(segment_of(files))], actor="tester")

    async def delete(number: int) -> None:
        try:
            if number % 2:
                await removal.delete_study(STUDY, EVERYTHING, actor="keeper")
            else:
                uids = f"{ROOT}.1.{number % 3 + 1}", f"{ROOT}.1.{number % 3 + 1}.2"
                await removal.delete_instance(STUDY, *uids, EVERYTHING, actor="keeper")
        except NotFoundError:
            pass

    await asyncio.gather(*(action(number) for number in range(12) for action in (store, delete)))
    async with database.connection() as connection:
        study = await connection.fetchrow("select series_count, instance_count, size_bytes from study")
        true = await connection.fetchrow(
            "select count(distinct s.series_id)::int4, count(*)::int4, coalesce(sum(i.byte_length), 0)::int8"
            " from instance i join segment s on s.id = i.segment_id"
        )
        orphans = await connection.fetchval(
            "select count(*) from pack p where not exists (select 1 from instance i where i.pack_id = p.id)"
        )
        series = await connection.fetch(
            "select se.instance_count, (select count(*) from instance i join segment s on s.id = i.segment_id"
            " where s.series_id = se.id) from series se"
        )
    assert tuple(study or (0, 0, 0)) == tuple(true)
    assert orphans == 0
    assert all(said == counted for said, counted in series)


async def test_messages_hold_no_identifier(register: Register, removal: Removal):
    await register.register([pack_of(segment_of(ct_series(1)))], actor="tester")
    with pytest.raises(ArchiveError) as raised:
        await removal.delete_series(STUDY, "1.2.3.4.5.6.7", EVERYTHING, actor="keeper")
    assert "1.2.3.4.5.6.7" not in str(raised.value)
