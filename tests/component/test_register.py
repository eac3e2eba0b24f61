"""Register: everything of a request becomes visible together, once, and in agreement with the counters."""

import asyncio
import threading
from dataclasses import replace

import orjson
import pytest
from tests.factories import ROOT, ct_series, identified, image, part10
from tests.stored import digest_of, in_pack, pack_of, segment_of, sharing_base

from dicomweb_archive.dicom.instance import Element
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.segments.terms import term_hash
from dicomweb_archive.index.writing import counts, lone_segment, study_rows
from dicomweb_archive.index.writing import register as statements
from dicomweb_archive.index.writing.register import PackRecord, Register, Registration

STUDY_COUNTS = "select series_count, instance_count, size_bytes, modalities, sop_classes, revision from study"


async def counted(connection: Connection) -> dict[str, int]:
    """Count the rows of the tables that a store writes."""
    tables = ("study", "series", "pack", "segment", "segment_data", "zone", "instance", "event")
    return {table: await connection.fetchval(f"select count(*) from {table}") for table in tables}


@pytest.fixture
def register(database: Database) -> Register:
    return Register(database)


async def test_a_stored_series_has_all_its_rows(database: Database, register: Register):
    pack = pack_of(segment_of(ct_series(3)))
    outcome = await register.register([pack], actor="tester")
    assert outcome == {f"{ROOT}.1.1.{n}": Registration.STORED for n in (1, 2, 3)}
    async with database.connection() as connection:
        assert await counted(connection) == {
            "study": 1, "series": 1, "pack": 1, "segment": 1, "segment_data": 1, "zone": 0, "instance": 3, "event": 1
        }  # fmt: skip
        study = await connection.fetchrow("select * from study")
        series = await connection.fetchrow("select * from series")
        event = await connection.fetchrow("select * from event")
        stored = await connection.fetchrow("select * from instance where position = 1")
    assert study["patient_name"] == "doe^jane"
    assert study["patient_id"] == "P00001"
    assert study["study_time"] == 36900.0
    assert (study["series_count"], study["instance_count"], study["revision"]) == (1, 3, 1)
    assert study["modalities"] == ["CT"]
    assert study["sop_classes"] == ["1.2.840.10008.5.1.4.1.1.2"]
    assert study["size_bytes"] == series["size_bytes"] == sum(s.byte_length for s in pack.segments[0])
    assert (series["modality"], series["series_number"], series["instance_count"]) == ("CT", 1, 3)
    assert (event["kind"], event["actor"], event["study_instance_uid"]) == ("instances_stored", "tester", f"{ROOT}.1")
    assert stored["sop_instance_uid"] == f"{ROOT}.1.1.2"
    assert stored["digest"] == digest_of(f"{ROOT}.1.1.2")
    assert stored["byte_offset"] == pack.segments[0][1].byte_offset


async def test_terms_of_a_segment_are_in_the_dictionary(database: Database, register: Register):
    await register.register([pack_of(segment_of(ct_series(40)))], actor="tester")
    secret = await database.term_secret()
    async with database.connection() as connection:
        found = await connection.fetch(
            "select p.path, t.value, t.number from segment s join term t on t.hash = any(s.terms)"
            " join path p on p.id = t.path_id where s.terms @> array[$1::int8]",
            term_hash(secret, '0019"PHANTOM_01"23', "0"),
        )
        unknown = await connection.fetchval(
            "select count(*) from segment s, unnest(s.terms) h where not exists (select 1 from term where hash = h)"
        )
        zone = await connection.fetchrow(
            "select z.low, z.high, p.vr from zone z join path p on p.id = z.path_id where p.path = '00200013'"
        )
    values = {(row["path"], row["value"]): row["number"] for row in found}
    assert values["00081032.00080100", "24725-4"] is None
    assert values["00180050", "5"] == 5.0
    assert unknown == 0
    assert tuple(zone) == (1.0, 40.0, "IS")


async def test_the_same_bytes_again_are_the_same_and_change_nothing(database: Database, register: Register):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    async with database.connection() as connection:
        before = await counted(connection)
    outcome = await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    assert set(outcome.values()) == {Registration.SAME}
    async with database.connection() as connection:
        assert await counted(connection) == before


async def test_other_bytes_under_a_known_uid_are_a_conflict_and_the_others_are_stored(
    database: Database, register: Register
):
    await register.register([pack_of(segment_of(ct_series(2)))], actor="tester")
    uid = f"{ROOT}.1.1.1"
    outcome = await register.register([pack_of(segment_of(ct_series(3), digests={uid: bytes(32)}))], actor="tester")
    assert outcome == {
        uid: Registration.CONFLICT,
        f"{ROOT}.1.1.2": Registration.SAME,
        f"{ROOT}.1.1.3": Registration.STORED,
    }
    async with database.connection() as connection:
        assert (await connection.fetchrow(STUDY_COUNTS))["instance_count"] == 3
    series = (f"{ROOT}.1", f"{ROOT}.1.1")
    assert await register.find_series(1, series, most=3) == {f"{ROOT}.1.1.{number}" for number in (1, 2, 3)}
    assert await register.find_series(1, series, most=2) is None
    assert await register.find_series(2, series, most=2) == frozenset()
    known = await register.find_digests(1, [uid, "1.2.3"])
    assert known.keys() == {uid}
    assert known[uid].digest == digest_of(uid)
    assert (known[uid].study_instance_uid, known[uid].series_instance_uid) == (f"{ROOT}.1", f"{ROOT}.1.1")


async def test_a_uid_that_is_known_in_another_study_is_a_conflict(register: Register):
    await register.register([pack_of(segment_of(ct_series(1)))], actor="tester")
    moved = part10(image(SOPInstanceUID=f"{ROOT}.1.1.1", study=2))
    outcome = await register.register([pack_of(segment_of([moved]))], actor="tester")
    assert outcome == {f"{ROOT}.1.1.1": Registration.CONFLICT}


async def test_a_uid_that_comes_twice_in_one_request_counts_once(database: Database, register: Register):
    packs = [pack_of(segment_of(ct_series(2))), pack_of(segment_of(ct_series(1)))]
    outcome = await register.register(packs, actor="tester")
    assert set(outcome.values()) == {Registration.STORED}
    async with database.connection() as connection:
        assert (await counted(connection))["pack"] == 1
        assert (await counted(connection))["instance"] == 2


async def test_racing_stores_of_one_instance_have_one_winner(database: Database, register: Register):
    others = [Register(database) for _ in range(3)]
    same = [pack_of(segment_of(ct_series(1))) for _ in range(16)]
    different = [pack_of(segment_of(ct_series(1), digests={f"{ROOT}.1.1.1": bytes([n] * 32)})) for n in range(16)]
    outcomes = await asyncio.gather(
        *(
            [register, *others][n % 4].register([pack], actor="tester")
            for n, pack in enumerate(pack for pair in zip(same, different, strict=True) for pack in pair)
        )
    )
    results = [outcome[f"{ROOT}.1.1.1"] for outcome in outcomes]
    assert results.count(Registration.STORED) == 1
    if results.index(Registration.STORED) % 2 == 0:
        assert results.count(Registration.SAME) == 15
        assert results.count(Registration.CONFLICT) == 16
    else:
        assert results.count(Registration.CONFLICT) == 31
    async with database.connection() as connection:
        assert await counted(connection) == {
            "study": 1, "series": 1, "pack": 1, "segment": 1, "segment_data": 1, "zone": 0, "instance": 1, "event": 1
        }  # fmt: skip
        assert (await connection.fetchrow(STUDY_COUNTS))["instance_count"] == 1


async def test_the_loser_of_a_race_keeps_its_other_instances(database: Database, register: Register):
    packs = []
    for number in range(8):
        own = ct_series(2, series=number + 1)
        shared = [scan(part10(image(SOPInstanceUID=f"{ROOT}.9", SeriesInstanceUID=f"{ROOT}.1.{number + 1}")))]
        packs.append(pack_of(in_pack(sharing_base([*map(scan, own), *shared]))))
    outcomes = await asyncio.gather(*(register.register([pack], actor="tester") for pack in packs))
    assert sum(outcome[f"{ROOT}.9"] is Registration.STORED for outcome in outcomes) == 1
    for outcome in outcomes:
        assert [result for uid, result in outcome.items() if uid != f"{ROOT}.9"] == [Registration.STORED] * 2
    async with database.connection() as connection:
        row = await connection.fetchrow(STUDY_COUNTS)
        assert (row["series_count"], row["instance_count"]) == (8, 17)


async def test_counts_agree_after_concurrent_stores_of_one_study(database: Database, register: Register):
    packs = []
    for series in range(1, 5):
        modality = "CT" if series % 2 else "MR"
        files = ct_series(12, series=series, Modality=modality)
        packs += [pack_of(segment_of(files[start : start + 3])) for start in range(0, 12, 3)]
    await asyncio.gather(*(register.register([pack], actor="tester") for pack in packs))
    async with database.connection() as connection:
        row = await connection.fetchrow(STUDY_COUNTS)
        true = await connection.fetchrow(
            "select count(distinct s.series_id) series, count(*) instances, sum(i.byte_length)::int8 size_bytes"
            " from instance i join segment s on s.id = i.segment_id"
        )
        per_series = await connection.fetch("select instance_count, revision from series")
    assert (row["series_count"], row["instance_count"], row["size_bytes"]) == tuple(true) == (4, 48, true["size_bytes"])
    assert row["modalities"] == ["CT", "MR"]
    assert row["revision"] == 16
    assert [tuple(each) for each in per_series] == [(12, 4)] * 4


async def test_crosswise_stores_of_many_studies_all_arrive(database: Database, register: Register):
    """Two requests with the same new studies and terms in opposite order would wait for each other in a circle."""
    studies = [ct_series(1, study=n, PatientID=f"X{n}") for n in range(1, 9)]
    forth = [[pack_of(segment_of(files)) for files in studies] for _ in range(4)]
    back = [[pack_of(segment_of(files)) for files in reversed(studies)] for _ in range(4)]
    outcomes = await asyncio.gather(*(register.register(packs, actor="tester") for packs in [*forth, *back]))
    stored = [uid for outcome in outcomes for uid, result in outcome.items() if result is Registration.STORED]
    assert sorted(stored) == sorted(f"{ROOT}.{n}.1.1" for n in range(1, 9))


def named(number: int, name: str, **overrides: object) -> bytes:
    return part10(image(instance=number, PatientName=name, **overrides))


async def study_name(database: Database) -> str:
    async with database.connection() as connection:
        name: str = await connection.fetchval("select patient_name from study")
    return name


async def test_a_study_says_what_most_of_its_instances_say(database: Database, register: Register):
    await register.register([pack_of(segment_of([named(1, "A"), named(2, "A")]))], actor="tester")
    await register.register([pack_of(segment_of([named(3, "B"), named(4, "B")]))], actor="tester")
    assert await study_name(database) == "a", "of equals the oldest"
    await register.register([pack_of(segment_of([named(5, "C"), named(6, "B")]))], actor="tester")
    assert await study_name(database) == "b"
    async with database.connection() as connection:
        attributes = await connection.fetchval("select attributes from study")
    assert b'"Alphabetic":"B"' in attributes


async def test_a_series_says_what_most_of_its_instances_say(database: Database, register: Register):
    first, second, third = (named(n, "A", Modality=m, SeriesNumber=n) for n, m in ((1, "CT"), (2, "MR"), (3, "MR")))
    await register.register([pack_of(segment_of([first]))], actor="tester")
    await register.register([pack_of(segment_of([second]))], actor="tester")
    await register.register(
        [pack_of(segment_of([part10(image(instance=4, Modality="MR", SeriesNumber=2))]))], actor="x"
    )
    await register.register([pack_of(segment_of([third]))], actor="tester")
    async with database.connection() as connection:
        series = await connection.fetchrow("select modality, series_number from series")
        modalities = await connection.fetchval("select modalities from study")
    assert series["modality"] == "MR"
    assert modalities == ["MR"]


async def test_a_failure_leaves_nothing_visible(database: Database, register: Register):
    segment = segment_of(ct_series(2))
    broken = [replace(segment[0], byte_length=2**70), *segment[1:]]
    with pytest.raises(Exception, match=r"int8|out of|range|integer|value"):
        await register.register([pack_of(segment_of(ct_series(1, study=2))), pack_of(broken)], actor="tester")
    async with database.connection() as connection:
        assert set((await counted(connection)).values()) == {0}
    outcome = await register.register([pack_of(segment)], actor="tester")
    assert set(outcome.values()) == {Registration.STORED}


async def test_a_server_that_crashes_before_the_commit_costs_no_value_its_row(database: Database, register: Register):
    """The rows of the dictionary are written without waiting for the disk: a crash can take them along."""
    segment = segment_of(ct_series(1))
    broken = [replace(segment[0], byte_length=2**70)]
    with pytest.raises(Exception, match=r"int8|out of|range|integer|value"):
        await register.register([pack_of(broken)], actor="tester")
    async with database.connection() as connection:
        await connection.execute("truncate term, path restart identity")
        await connection.execute("insert into path (path, vr) values ('00104000', 'LT')")
    await register.register([pack_of(segment)], actor="tester")
    async with database.connection() as connection:
        missing = "select count(*) from (select unnest(terms) from segment except select hash from term) lost"
        strays = "select count(*) from term t left join path p on p.id = t.path_id where p.id is null"
        misled = "select count(*) from term t join path p on p.id = t.path_id where p.path = '00104000'"
        assert [await connection.fetchval(query) for query in (missing, strays, misled)] == [0, 0, 0]


async def test_instances_without_any_optional_attribute_register(database: Database, register: Register):
    bare = identified()
    for keyword in ("StudyDate", "StudyTime", "PatientName", "PatientID", "Modality", "SeriesNumber", "StudyID"):
        delattr(bare, keyword)
    await register.register([pack_of(segment_of([part10(bare)]))], actor="tester")
    async with database.connection() as connection:
        study = await connection.fetchrow(
            "select patient_name, patient_id, study_date, study_time, modalities from study"
        )
        series = await connection.fetchrow("select modality, series_number from series")
    assert tuple(study) == ("", "", -1.0, -1.0, [])
    assert tuple(series) == ("", None)


class WatchedAttributes(dict[int, Element]):
    """Attributes that note in which thread they are read one by one."""

    threads: set[threading.Thread]

    def __getitem__(self, tag: int) -> Element:
        self.threads.add(threading.current_thread())
        return super().__getitem__(tag)


@pytest.mark.parametrize(("characters", "at_once"), [(10, True), (9000, False)])
async def test_a_lone_large_instance_is_prepared_in_a_thread(register: Register, characters: int, at_once: bool):
    (scanned,) = sharing_base([scan(part10(image(ImageComments="z" * characters, TextComments="z" * characters)))])
    watched = WatchedAttributes(scanned.base)
    watched.threads = set()
    await register.register([pack_of(in_pack([replace(scanned, base=watched)]))], actor="tester")
    assert watched.threads
    assert (watched.threads == {threading.main_thread()}) is at_once


async def test_odd_values_register(database: Database, register: Register):
    odd = identified(
        SpecificCharacterSet="ISO_IR 192",
        PatientName="X" * 60 + "^Ünï=土井^" + "あ" * 200,
        PatientID="id\x00with nul",
        StudyDescription='quote " back \\ tab \t esc \x1b fs \x1c',
        ImageComments="z" * 9000,
        SeriesNumber=str(2**31 - 1),
        StudyDate="20249999",
        StudyTime="999999",
    )
    odd.PatientComments = "\U0001f600" * 600
    odd.private_block(0x0029, 'we"ird.creator', create=True).add_new(0x01, "UT", "x" * 100)
    outcome = await register.register([pack_of(segment_of([part10(odd)]))], actor="tester")
    assert set(outcome.values()) == {Registration.STORED}
    async with database.connection() as connection:
        assert await connection.fetchval("select study_date from study") == -1.0


async def test_retries_end_with_an_error_that_says_try_again(database: Database):
    """Somebody else always wins the race: here, a uniqueness that no leaving out can solve."""
    register = Register(database)
    pack = pack_of(segment_of(ct_series(1)))
    await register.register([pack], actor="tester")
    clash = PackRecord(pack.object_key, 1, [segment_of(ct_series(1, study=2))])
    with pytest.raises(statements.DatabaseUnavailableError, match="try again"):
        await register.register([clash], actor="tester")


async def test_a_vote_of_another_store_in_between_counts_both(database: Database, register: Register):
    """The facts that the one statement of a store began with are no longer those of the row when it adds to it."""
    await register.register([pack_of(segment_of([named(1, "A")]))], actor="tester")
    async with database.transaction() as other:
        await other.execute("update study set facts = facts + 1, patient_name = 'nobody'")
        storing = asyncio.create_task(register.register([pack_of(segment_of([named(2, "A")]))], actor="tester"))
        async with database.connection() as connection, asyncio.timeout(60):
            waits = "select exists(select 1 from pg_locks where not granted), pg_sleep(0.01)"
            while not await connection.fetchval(waits):
                pass
    assert set((await storing).values()) == {Registration.STORED}
    assert await study_name(database) == "a"
    async with database.connection() as connection:
        assert await counted(connection) == {
            "study": 1, "series": 1, "pack": 2, "segment": 2, "segment_data": 2, "zone": 0, "instance": 2, "event": 2
        }  # fmt: skip
        row = await connection.fetchrow(STUDY_COUNTS)
    assert (row["series_count"], row["instance_count"], row["revision"]) == (1, 2, 2)


async def test_a_store_of_one_segment_leaves_what_a_store_of_several_does(database: Database, register: Register):
    def packs(study: int) -> list[PackRecord]:
        series = [ct_series(4, study=study), ct_series(2, study=study, series=2, Modality="SR")]
        return [pack_of(segment_of(files)) for files in [*series, ct_series(6, study=study)[4:]]]

    for pack in packs(1):
        await register.register([pack], actor="tester")
    await register.register(packs(2), actor="tester")
    async with database.connection() as connection:
        studies = await connection.fetch(
            "select series_count, instance_count, size_bytes, modalities, sop_classes, patient_name_words from study"
        )
        series = await connection.fetch(
            "select study_id, modality, series_number, instance_count, size_bytes from series order by id"
        )
        details = await connection.fetch("select detail from event order by id")
    assert tuple(studies[0]) == tuple(studies[1])
    assert [tuple(row)[1:] for row in series[:2]] == [tuple(row)[1:] for row in series[2:]]
    *alone, together = [orjson.loads(row["detail"]) for row in details]
    assert all(detail.keys() == together.keys() for detail in alone)
    assert sum(detail["size_bytes"] for detail in alone) == together["size_bytes"]


async def explain(connection: Connection, statement: str, *arguments: object) -> str:
    """Return the plan that is used once the tables are large: sequential scans only where nothing else is."""
    await connection.execute("set local enable_seqscan = off")
    rows = await connection.fetch(f"explain (costs off) {statement}", *arguments)
    return "\n".join(row[0] for row in rows)


LONE_SEGMENT = (
    "1", "2", 1, 1, 1, [1], "{}", "{}", b"", b"", [1], [1.0], [1.0], [""], [""], 1, "0", "1.2", "key", "0", "9", b"1",
    None, [1], [1.0], 1, b"", "", "", -1.0, -1.0, "", "", "", "", "", b"", "CT", 1, ["1.2"], 9, 9, "kind", "actor",
)  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "arguments", "indexes"),
    [
        pytest.param(statements.FIND_DIGESTS, (1, ["1.2"]), ["instance_space_id_sop_instance_uid_key"], id="digests"),
        pytest.param(
            statements.FIND_SEEN,
            ([1], [1], False, ["1.2"]),
            ["instance_space_id_sop_instance_uid_key"],
            id="digests of what may be seen",
        ),
        pytest.param(
            counts.ADD_TO_STUDY,
            (1, 1, "1", ["2"], ["3"], "k", "a", "{}", 1, 1, 1, ["CT"], ["1.2"], [1], [1], [1]),
            ["study_pkey", "series_pkey", "tombstone_pkey"],
            id="counts",
        ),
        pytest.param(
            lone_segment.STORE_SEGMENT,
            LONE_SEGMENT,
            [
                "study_space_id_study_instance_uid_key",
                "series_study_id_series_instance_uid_key",
                "study_pkey",
                "series_pkey",
                "tombstone_pkey",
            ],
            id="one segment",
        ),
        pytest.param(
            lone_segment.STORE_SEGMENT_WHILE_OPEN,
            LONE_SEGMENT,
            [
                "study_space_id_study_instance_uid_key",
                "series_study_id_series_instance_uid_key",
                "study_pkey",
                "series_pkey",
                "tombstone_pkey",
                "submission_space_id_key",
            ],
            id="one segment of a submission",
        ),
        pytest.param(counts.VOTE_STUDY, (1,), ["segment_study_id_idx"], id="study vote"),
        pytest.param(counts.VOTE_SERIES, (1,), ["segment_series_id_idx"], id="series vote"),
        pytest.param(
            study_rows.FIND_ROWS,
            (1, ["1"], ["2"]),
            ["study_space_id_study_instance_uid_key", "series_study_id_series_instance_uid_key"],
            id="rows",
        ),
    ],
)
async def test_hot_statements_use_their_index(
    database: Database, statement: str, arguments: tuple[object, ...], indexes: list[str]
):
    async with database.transaction() as connection:
        plan = await explain(connection, statement, *arguments)
    for index in indexes:
        assert index in plan, plan
    assert "Seq Scan" not in plan, plan
