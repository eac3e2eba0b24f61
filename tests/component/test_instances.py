"""Locations: every instance is found where it lies, and never after it was deleted or hidden."""

import asyncio

import pytest
from tests.factories import ROOT, ct_series, encapsulated
from tests.stored import digest_of, pack_of, segment_of

from dicomweb_archive.errors import GoneError, NotFoundError
from dicomweb_archive.imaging.pixel_format import pixel_format_of
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading import instances as statements
from dicomweb_archive.index.reading.instances import InstanceIndex, InstanceLocation, Scope
from dicomweb_archive.index.reading.location_cache import FRESH_SECONDS
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.index.writing.removal import Removal

EVERYTHING = Visibility()
STUDY, SERIES, INSTANCE = f"{ROOT}.1", f"{ROOT}.1.1", f"{ROOT}.1.1.2"


class Clock:
    """A clock that goes when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def register(database: Database) -> Register:
    return Register(database)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def index(database: Database, clock: Clock) -> InstanceIndex:
    return InstanceIndex(database, clock=clock)


async def locate(index: InstanceIndex, visibility: Visibility = EVERYTHING) -> InstanceLocation:
    return await index.locate_instance(STUDY, SERIES, INSTANCE, visibility)


async def test_an_instance_is_located_with_all_that_serves_it(index: InstanceIndex, register: Register):
    segment = segment_of([*ct_series(2), encapsulated([b"ab", b"cdef"], instance=3)])
    pack = pack_of(segment)
    await register.register([pack], actor="tester")
    for stored in segment:
        found = await index.locate_instance(STUDY, SERIES, stored.scanned.sop_instance_uid, EVERYTHING)
        assert found == InstanceLocation(
            study_instance_uid=STUDY,
            series_instance_uid=SERIES,
            sop_instance_uid=stored.scanned.sop_instance_uid,
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            transfer_syntax_uid=stored.scanned.transfer_syntax_uid,
            object_key=pack.object_key,
            byte_offset=stored.byte_offset,
            byte_length=stored.byte_length,
            digest=digest_of(stored.scanned.sop_instance_uid),
            pixel_data=stored.scanned.pixel_data,
            bulk=stored.scanned.bulk,
            neutralised=False,
            pixel_format=pixel_format_of(stored.scanned.attributes()),
        )


async def test_a_study_is_located_in_the_order_of_its_packs(index: InstanceIndex, register: Register):
    packs = [pack_of(segment_of(ct_series(3, series=2))), pack_of(segment_of(ct_series(2)))]
    await register.register(packs, actor="tester")
    later = pack_of(segment_of(ct_series(4)[2:]))
    await register.register([later], actor="tester")
    study = [location for segment in await index.locate(Scope(STUDY), EVERYTHING) for location in segment]
    assert [location.object_key for location in study] == [
        *[packs[0].object_key] * 3,
        *[packs[1].object_key] * 2,
        *[later.object_key] * 2,
    ]
    series = await index.locate(Scope(STUDY, SERIES), EVERYTHING)
    assert [len(segment) for segment in series] == [2, 2]
    offsets = [location.byte_offset for segment in series for location in segment]
    assert offsets[:2] == sorted(offsets[:2])
    (one,) = await index.locate(Scope(STUDY, SERIES, INSTANCE), EVERYTHING)
    assert [location.sop_instance_uid for location in one] == [INSTANCE]


@pytest.mark.parametrize(
    "scope",
    [
        pytest.param(Scope("1.2.3"), id="study"),
        pytest.param(Scope(STUDY, "1.2.3"), id="series"),
        pytest.param(Scope(STUDY, SERIES, "1.2.3"), id="instance"),
        pytest.param(Scope(STUDY, f"{ROOT}.1.2", INSTANCE), id="instance of another series"),
        pytest.param(Scope("1.2.3", SERIES, INSTANCE), id="instance of another study"),
    ],
)
async def test_what_is_not_there_is_not_found(index: InstanceIndex, register: Register, scope: Scope):
    await register.register(
        [pack_of(segment_of(ct_series(2))), pack_of(segment_of(ct_series(1, series=2)))], actor="tester"
    )
    await locate(index)
    with pytest.raises(NotFoundError) as raised:
        await index.locate(scope, EVERYTHING)
    assert not isinstance(raised.value, GoneError)
    if scope.sop_instance_uid is not None:
        with pytest.raises(NotFoundError):
            await index.locate_instance(*scope.parameters(), EVERYTHING)


async def test_a_touched_segment_is_served_without_the_database(
    database: Database, index: InstanceIndex, register: Register
):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    found = await locate(index)
    await database.close()
    assert await locate(index) is found
    neighbour = await index.locate_instance(STUDY, SERIES, f"{SERIES}.3", EVERYTHING)
    assert neighbour.sop_instance_uid == f"{SERIES}.3"


async def test_many_requests_for_one_segment_ask_the_database_once(index: InstanceIndex, register: Register):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    found = await asyncio.gather(*(locate(index) for _ in range(50)))
    assert all(location is found[0] for location in found)


async def test_a_delete_by_this_process_shows_at_once(database: Database, index: InstanceIndex, register: Register):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    await locate(index)
    await Removal(database, index).delete_instance(STUDY, SERIES, INSTANCE, EVERYTHING, actor="tester")
    with pytest.raises(GoneError):
        await locate(index)
    assert (await index.locate_instance(STUDY, SERIES, f"{SERIES}.1", EVERYTHING)).sop_instance_uid == f"{SERIES}.1"


async def test_a_delete_by_another_process_shows_within_a_second(
    database: Database, index: InstanceIndex, register: Register, clock: Clock
):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    await locate(index)
    await Removal(database, InstanceIndex(database)).delete_series(STUDY, SERIES, EVERYTHING, actor="tester")
    assert FRESH_SECONDS < 1
    clock.seconds += FRESH_SECONDS
    with pytest.raises(GoneError):
        await locate(index)


async def test_a_location_read_while_a_delete_went_on_is_not_kept(
    database: Database, index: InstanceIndex, register: Register
):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    reading = asyncio.create_task(locate(index))
    while not reading.done():
        await asyncio.sleep(0)
        index.forget_deleted()
    await reading
    await Removal(database, InstanceIndex(database)).delete_series(STUDY, SERIES, EVERYTHING, actor="tester")
    with pytest.raises(GoneError):
        await locate(index)


async def test_an_unchanged_segment_stays_in_use_after_a_check(index: InstanceIndex, register: Register, clock: Clock):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    found = await locate(index)
    clock.seconds += 60
    assert await locate(index) is found


async def test_all_segments_in_use_are_asked_about_at_once(
    database: Database, index: InstanceIndex, register: Register, clock: Clock
):
    for series in range(1, 4):
        await register.register([pack_of(segment_of(ct_series(2, series=series)))], actor="tester")
        await index.locate_instance(STUDY, f"{ROOT}.1.{series}", f"{ROOT}.1.{series}.1", EVERYTHING)
    await Removal(database, InstanceIndex(database)).delete_series(STUDY, f"{ROOT}.1.3", EVERYTHING, actor="tester")
    clock.seconds += FRESH_SECONDS
    await locate(index)
    with pytest.raises(GoneError):
        await index.locate_instance(STUDY, f"{ROOT}.1.3", f"{ROOT}.1.3.1", EVERYTHING)
    await database.close()
    neighbour = await index.locate_instance(STUDY, f"{ROOT}.1.2", f"{ROOT}.1.2.1", EVERYTHING)
    assert neighbour.series_instance_uid == f"{ROOT}.1.2"


async def test_what_was_not_asked_for_lately_is_asked_about_when_it_is(
    database: Database, index: InstanceIndex, register: Register, clock: Clock
):
    for series in (1, 2):
        await register.register([pack_of(segment_of(ct_series(2, series=series)))], actor="tester")
        await index.locate_instance(STUDY, f"{ROOT}.1.{series}", f"{ROOT}.1.{series}.2", EVERYTHING)
    await Removal(database, InstanceIndex(database)).delete_series(STUDY, SERIES, EVERYTHING, actor="tester")
    clock.seconds += 60
    await index.locate_instance(STUDY, f"{ROOT}.1.2", f"{ROOT}.1.2.2", EVERYTHING)
    with pytest.raises(GoneError):
        await locate(index)


async def test_hidden_studies_are_not_found_and_hide_within_a_second(
    database: Database, index: InstanceIndex, register: Register, clock: Clock
):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    await locate(index)
    for hidden in (Visibility(spaces=(2,)), Visibility(collections=(7,)), Visibility(collections=())):
        with pytest.raises(NotFoundError):
            await locate(index, hidden)
    async with database.connection() as connection:
        await connection.execute("update study set embargo_until = current_date + 1")
    clock.seconds += FRESH_SECONDS
    with pytest.raises(NotFoundError):
        await locate(index)
    assert (await locate(index, Visibility(see_embargoed=True))).sop_instance_uid == INSTANCE


async def test_the_cache_stays_within_its_bound(database: Database, register: Register, clock: Clock):
    small = InstanceIndex(database, cache_bytes=5000, clock=clock)
    for series in range(1, 6):
        await register.register([pack_of(segment_of(ct_series(2, series=series)))], actor="tester")
        await small.locate_instance(STUDY, f"{ROOT}.1.{series}", f"{ROOT}.1.{series}.1", EVERYTHING)
    assert small._cache._weight <= 5000
    assert len(small._cache._by_uid) == 2 * len(small._cache._segments) <= 4


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        pytest.param(statements.LOCATE_SEGMENTS, ([1], None, False, STUDY, None), id="study"),
        pytest.param(statements.LOCATE_INSTANCE, ([1], None, False, STUDY, SERIES, INSTANCE), id="instance"),
        pytest.param(statements.CHECK_SEGMENTS, ([1], None, False, [1, 2]), id="check"),
    ],
)
async def test_point_look_ups_use_indexes(database: Database, statement: str, arguments: tuple[object, ...]):
    async with database.transaction() as connection:
        await connection.execute("set local enable_seqscan = off")
        plan = "\n".join(row[0] for row in await connection.fetch(f"explain (costs off) {statement}", *arguments))
    assert "Seq Scan" not in plan, plan
