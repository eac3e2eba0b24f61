"""Publication: what was moved is as if it had been stored there, whole or not at all, and nothing is lost."""

import asyncio
import contextlib
import random
from collections.abc import Sequence

import orjson
import pytest
from tests.factories import ROOT, ct_series, image, part10
from tests.spaces import content_of, disagreements, make_space
from tests.stored import digest_of, pack_of, segment_of

from dicomweb_archive.errors import ConflictError, DatabaseUnavailableError, GoneError, NotFoundError
from dicomweb_archive.index.access import ARCHIVE_SPACE, Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading.instances import InstanceIndex, Scope
from dicomweb_archive.index.upkeep.held_paths import HeldPathsIndex
from dicomweb_archive.index.upkeep.merging import Merged, SegmentMerger
from dicomweb_archive.index.writing.moving import Move, move_study
from dicomweb_archive.index.writing.publication import Publication
from dicomweb_archive.index.writing.rebuilding import Rebuilding
from dicomweb_archive.index.writing.register import Register, Registration
from dicomweb_archive.index.writing.removal import Removal

PUBLISHED = Visibility()
STUDY, SERIES = f"{ROOT}.1", f"{ROOT}.1.1"
HELD, OTHER = 1001, 1002
EMPTY: dict[str, list[object]] = {"studies": [], "series": [], "instances": []}


@pytest.fixture
async def spaces(database: Database) -> Database:
    async with database.connection() as connection:
        for space_id in (HELD, OTHER):
            await make_space(connection, space_id)
    return database


@pytest.fixture
def register(spaces: Database) -> Register:
    return Register(spaces)


@pytest.fixture
def index(spaces: Database) -> InstanceIndex:
    return InstanceIndex(spaces)


@pytest.fixture
def publication(spaces: Database, index: InstanceIndex) -> Publication:
    return Publication(spaces, index)


async def store(
    register: Register, files: Sequence[bytes], space_id: int, *, digests: dict[str, bytes] | None = None
) -> dict[str, Registration]:
    pack = pack_of(segment_of(files, digests=digests))
    return await register.register([pack], actor="sender", space_id=space_id)


async def test_a_published_study_is_as_if_it_had_been_stored_there(
    spaces: Database, register: Register, publication: Publication, index: InstanceIndex
):
    for files in (ct_series(7), ct_series(3, series=2, Modality="MR")):
        await store(register, files, HELD)
    before = await content_of(spaces, HELD)
    with pytest.raises(NotFoundError):
        await index.locate(Scope(STUDY), PUBLISHED)
    moved = await publication.publish(HELD, STUDY, actor="curator")
    assert (moved.instances, moved.same, moved.conflicts, moved.free_object_keys) == (10, 0, (), ())
    assert moved.size_bytes == before["studies"][0]["size_bytes"]
    assert await content_of(spaces, ARCHIVE_SPACE) == before
    assert await content_of(spaces, HELD) == EMPTY
    assert await disagreements(spaces) == [0] * 5
    assert sum(map(len, await index.locate(Scope(STUDY), PUBLISHED))) == 10
    with pytest.raises(NotFoundError):
        await index.locate(Scope(STUDY), Visibility(spaces=(HELD,)))


async def test_each_side_has_an_event_of_its_own(spaces: Database, register: Register, publication: Publication):
    await store(register, ct_series(2), HELD)
    await publication.publish(HELD, STUDY, actor="curator")
    async with spaces.connection() as connection:
        rows = await connection.fetch("select * from event where kind = 'study_published' order by id")
    assert [(row["space_id"], row["actor"], row["study_instance_uid"]) for row in rows] == [
        (ARCHIVE_SPACE, "curator", STUDY),
        (HELD, "curator", STUDY),
    ]
    assert orjson.loads(rows[0]["detail"])["instances"] == 2
    assert orjson.loads(rows[1]["detail"])["event"] == rows[0]["id"]


async def test_what_comes_to_a_published_study_is_counted_and_voted_on_with_the_rest(
    spaces: Database, register: Register, publication: Publication
):
    def named(name: str, numbers: Sequence[int], series: int) -> list[bytes]:
        return [part10(image(instance=number, series=series, PatientName=name)) for number in numbers]

    # The name that most have is in the minority on either side of one of the series.
    first = [named("A", [1, 2], 1), named("B", [3], 1)]
    second = [named("B", [4, 5], 1), named("B", [1], 2), named("A", [2], 3)]
    for files in first:
        await store(register, files, ARCHIVE_SPACE)
    for files in second:
        await store(register, files, HELD)
    for files in first + second:
        await store(register, files, OTHER)
    moved = await publication.publish(HELD, STUDY, actor="curator")
    assert moved.instances == 4
    published = await content_of(spaces, ARCHIVE_SPACE)
    assert published == await content_of(spaces, OTHER)
    assert published["studies"][0]["patient_name"] == "b"
    assert await content_of(spaces, HELD) == EMPTY
    assert await disagreements(spaces) == [0] * 5


async def test_the_same_bytes_are_kept_once_and_other_bytes_stay(
    spaces: Database, register: Register, publication: Publication
):
    files = ct_series(6)
    await store(register, files[:3], ARCHIVE_SPACE)
    # The first is the same, the two next are not.
    other = {f"{SERIES}.{number}": digest_of(f"other {number}") for number in (2, 3)}
    await store(register, files, HELD, digests=other)
    await store(register, ct_series(2, series=2, Modality="MR"), HELD)
    moved = await publication.publish(HELD, STUDY, actor="curator")
    assert (moved.instances, moved.same) == (5, 1)
    assert [each.sop_instance_uid for each in moved.conflicts] == sorted(other)
    published, held = await content_of(spaces, ARCHIVE_SPACE), await content_of(spaces, HELD)
    assert [row["sop_instance_uid"] for row in held["instances"]] == sorted(other)
    assert [row["digest"] for row in held["instances"]] == [other[uid] for uid in sorted(other)]
    assert (held["studies"][0]["modalities"], held["studies"][0]["instance_count"]) == (["CT"], 2)
    for part in (files[:3], files[3:], ct_series(2, series=2, Modality="MR")):
        await store(register, part, OTHER)
    stored = await content_of(spaces, OTHER)
    for row in published["instances"] + stored["instances"]:
        del row["byte_offset"]
    assert published == stored
    assert await disagreements(spaces) == [0] * 5
    # Asked for again, nothing more happens.
    again = await publication.publish(HELD, STUDY, actor="curator")
    assert (again.study_id, again.instances, again.same, len(again.conflicts)) == (None, 0, 0, 2)
    assert await content_of(spaces, HELD) == held


async def test_a_series_may_go_in_part_to_a_study_that_lacks_it(
    spaces: Database, register: Register, publication: Publication
):
    elsewhere = part10(image(instance=2, SOPInstanceUID=f"{SERIES}.2", study=9))
    await store(register, [elsewhere], ARCHIVE_SPACE)
    await store(register, ct_series(3), HELD)
    moved = await publication.publish(HELD, STUDY, actor="curator")
    assert (moved.instances, [each.sop_instance_uid for each in moved.conflicts]) == (2, [f"{SERIES}.2"])
    assert await disagreements(spaces) == [0] * 5
    published, held = await content_of(spaces, ARCHIVE_SPACE), await content_of(spaces, HELD)
    assert [row["instance_count"] for row in published["studies"]] == [2, 1]
    assert published["series"][0] | {"instance_count": 1, "size_bytes": 0} == held["series"][0] | {"size_bytes": 0}


async def test_a_pack_of_which_nothing_is_needed_is_free(register: Register, publication: Publication):
    await store(register, ct_series(2), ARCHIVE_SPACE)
    pack = pack_of(segment_of(ct_series(2)))
    await register.register([pack], actor="sender", space_id=HELD)
    moved = await publication.publish(HELD, STUDY, actor="curator")
    assert (moved.same, moved.study_id, moved.free_object_keys) == (2, None, (pack.object_key,))
    with pytest.raises(NotFoundError):
        await publication.publish(HELD, STUDY, actor="curator")


async def test_a_study_stays_in_its_collection(spaces: Database, register: Register, publication: Publication):
    async with spaces.connection() as connection:
        other = await connection.fetchval("insert into collection (accession, title) values ('X', 'X') returning id")
    await store(register, ct_series(1), ARCHIVE_SPACE)
    packs = [pack_of(segment_of(ct_series(1, series=2)))]
    await register.register(packs, actor="sender", space_id=HELD, collection_id=other)
    with pytest.raises(ConflictError):
        await publication.publish(HELD, STUDY, actor="curator")
    assert (await publication.count(HELD)).instances == 1


async def test_what_is_published_again_is_no_longer_gone(
    spaces: Database, register: Register, publication: Publication, index: InstanceIndex
):
    await store(register, ct_series(3), ARCHIVE_SPACE)
    removal = Removal(spaces, index)
    await removal.delete_instance(STUDY, SERIES, f"{SERIES}.3", PUBLISHED, actor="keeper")
    await removal.delete_study(STUDY, PUBLISHED, actor="keeper")
    await store(register, ct_series(2), HELD)
    with pytest.raises(GoneError):
        await index.locate(Scope(STUDY), PUBLISHED)
    await publication.publish(HELD, STUDY, actor="curator")
    assert sum(map(len, await index.locate(Scope(STUDY), PUBLISHED))) == 2
    with pytest.raises(GoneError):
        await index.locate(Scope(STUDY, SERIES, f"{SERIES}.3"), PUBLISHED)


async def test_another_process_stops_serving_a_study_from_where_it_was(
    spaces: Database, register: Register, publication: Publication
):
    now = 0.0
    there = InstanceIndex(spaces, clock=lambda: now)
    await store(register, ct_series(1), HELD)
    held = Visibility(spaces=(HELD,))
    await there.locate_instance(STUDY, SERIES, f"{SERIES}.1", held)
    await publication.publish(HELD, STUDY, actor="curator")
    now += 1.0
    with pytest.raises(NotFoundError):
        await there.locate_instance(STUDY, SERIES, f"{SERIES}.1", held)
    assert await there.locate_instance(STUDY, SERIES, f"{SERIES}.1", PUBLISHED)


async def test_attributes_are_counted_where_they_went(spaces: Database, register: Register, publication: Publication):
    paths = HeldPathsIndex(spaces)
    await store(register, ct_series(1), ARCHIVE_SPACE)
    await store(register, ct_series(1, series=2, ProtocolName="Head"), HELD)
    await paths.catch_up(seconds=5)
    assert "00181030" not in {each.path for each in (await paths.count(PUBLISHED, STUDY)).paths}
    await publication.publish(HELD, STUDY, actor="curator")
    held = {each.path: each.series for each in (await paths.count(PUBLISHED, STUDY)).paths}
    assert held["00181030"] == 1
    assert held["00100020"] == 2


async def test_a_reader_sees_a_study_whole_or_not_at_all(
    spaces: Database, register: Register, publication: Publication
):
    for series in range(1, 11):
        await store(register, ct_series(5, series=series), HELD)
    await store(register, ct_series(1, series=30), ARCHIVE_SPACE)
    reader = InstanceIndex(spaces)
    seen: set[int] = set()

    async def poll(publishing: "asyncio.Task[object]") -> None:
        while not publishing.done():
            seen.add(sum(map(len, await reader.locate(Scope(STUDY), PUBLISHED))))

    publishing = asyncio.create_task(publication.publish(HELD, STUDY, actor="curator"))
    await asyncio.gather(publishing, poll(publishing), poll(publishing))
    assert seen <= {1, 51}
    assert sum(map(len, await reader.locate(Scope(STUDY), PUBLISHED))) == 51


async def test_stores_merges_deletes_and_publications_at_once_end_in_agreement(
    spaces: Database, register: Register, publication: Publication, index: InstanceIndex
):
    chance = random.Random(6)
    removal = Removal(spaces, index)
    merger = SegmentMerger(spaces, quiet_seconds=-1, cold_seconds=-1)
    stored: set[str] = set()
    deleted: set[str] = set()

    async def put(number: int) -> None:
        space_id = chance.choice([HELD, HELD, ARCHIVE_SPACE])
        uid = f"{ROOT}.1.{number % 3 + 1}.{number}"
        file = part10(image(instance=number, series=number % 3 + 1, PatientName="AB"[number % 2]))
        await asyncio.sleep(chance.random() * 0.2)
        assert set((await store(register, [file], space_id)).values()) == {Registration.STORED}
        stored.add(uid)

    async def publish() -> None:
        await asyncio.sleep(chance.random() * 0.2)
        with contextlib.suppress(NotFoundError):
            await publication.publish(HELD, STUDY, actor="curator")

    async def delete(number: int) -> None:
        await asyncio.sleep(chance.random() * 0.2)
        with contextlib.suppress(NotFoundError):
            series = f"{ROOT}.1.{number % 3 + 1}"
            await removal.delete_instance(STUDY, series, f"{series}.{number}", PUBLISHED, actor="keeper")
            deleted.add(f"{series}.{number}")

    await asyncio.gather(
        *(put(number) for number in range(30)),
        *(publish() for _ in range(12)),
        *(merger.merge() for _ in range(3)),
        *(delete(number) for number in range(0, 30, 7)),
    )
    await publish()
    assert await disagreements(spaces) == [0] * 5
    assert await content_of(spaces, HELD) == EMPTY
    published = [row["sop_instance_uid"] for row in (await content_of(spaces, ARCHIVE_SPACE))["instances"]]
    assert published == sorted(stored - deleted)


async def test_publications_of_one_study_from_two_submissions_end_as_one(
    spaces: Database, register: Register, publication: Publication
):
    for space_id, series in ((HELD, 1), (OTHER, 2)):
        await store(register, ct_series(4, series=series), space_id)
    await asyncio.gather(*(publication.publish(space_id, STUDY, actor="curator") for space_id in (HELD, OTHER)))
    (study,) = (await content_of(spaces, ARCHIVE_SPACE))["studies"]
    assert (study["series_count"], study["instance_count"]) == (2, 8)
    assert await disagreements(spaces) == [0] * 5


async def waits_for_a_lock(database: Database) -> None:
    """Return as soon as a statement waits for a lock."""
    async with asyncio.timeout(10), database.connection() as connection:
        while not await connection.fetchval("select count(*) from pg_locks where not granted"):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("segments", [1, 2], ids=["a lone segment", "several segments"])
@pytest.mark.parametrize("whole", [True, False], ids=["handed over", "taken in, but for a conflict"])
async def test_a_store_that_meets_a_publication_stays_in_its_space(
    spaces: Database, register: Register, segments: int, whole: bool
):
    if not whole:
        await store(register, ct_series(1, series=5), ARCHIVE_SPACE, digests={f"{ROOT}.1.5.1": digest_of("other")})
    await store(register, ct_series(3, series=2), HELD)
    await store(register, ct_series(2, series=5), HELD)
    files = [ct_series(7, series=2 + place)[3:] for place in range(segments)]
    move = Move(STUDY, HELD, ARCHIVE_SPACE, Rebuilding(await spaces.term_secret(), "+0000"))
    async with spaces.transaction() as connection:
        assert (await move_study(connection, move)).instances == (5 if whole else 4)
        packs = [pack_of(*map(segment_of, files))]
        storing = asyncio.create_task(register.register(packs, actor="sender", space_id=HELD))
        await waits_for_a_lock(spaces)
    assert set((await storing).values()) == {Registration.STORED}
    assert await disagreements(spaces) == [0] * 5
    held = {row["sop_instance_uid"] for row in (await content_of(spaces, HELD))["instances"]}
    expected = {f"{ROOT}.1.{2 + place}.{number}" for place in range(segments) for number in range(4, 8)}
    assert held == expected | (set() if whole else {f"{ROOT}.1.5.1"})


async def test_a_merge_that_meets_a_publication_leaves_what_went_away_alone(spaces: Database, register: Register):
    await store(register, ct_series(1, series=5), ARCHIVE_SPACE, digests={f"{ROOT}.1.5.1": digest_of("other")})
    for number in range(3):
        await store(register, [ct_series(3)[number]], HELD)
    await store(register, ct_series(1, series=5), HELD)
    move = Move(STUDY, HELD, ARCHIVE_SPACE, Rebuilding(await spaces.term_secret(), "+0000"))
    async with spaces.transaction() as connection:
        await move_study(connection, move)
        merging = asyncio.create_task(SegmentMerger(spaces, quiet_seconds=-1, cold_seconds=-1).merge())
        await waits_for_a_lock(spaces)
    assert (await merging) == Merged()
    assert await disagreements(spaces) == [0] * 5


async def test_an_interrupted_publication_has_done_nothing_and_can_be_repeated(
    spaces: Database, register: Register, publication: Publication
):
    await store(register, ct_series(5), HELD)
    before = await content_of(spaces, HELD)
    move = Move(STUDY, HELD, ARCHIVE_SPACE, Rebuilding(await spaces.term_secret(), "+0000"))
    with pytest.raises(DatabaseUnavailableError):
        async with spaces.transaction() as connection:
            await move_study(connection, move)
            pid = connection.get_server_pid()
            async with spaces.connection() as other:
                # As the server does with the connection of a process that was killed.
                await other.execute("select pg_terminate_backend($1, 5000)", pid)
    assert await content_of(spaces, HELD) == before
    assert await content_of(spaces, ARCHIVE_SPACE) == EMPTY
    assert (await publication.publish(HELD, STUDY, actor="curator")).instances == 5
