"""Metadata: finished bytes that equal what the scanner wrote for each instance, fresh after each change."""

import asyncio
import gzip
import json
import pickle
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from tests.factories import ROOT, ct_series, image, part10
from tests.pydicom_files import bundled_paths
from tests.stored import in_pack, pack_of, segment_of

from dicomweb_archive.dicom.instance import BULK_MARKER, ScannedInstance
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.errors import GoneError, InvalidInstanceError, NotFoundError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading import documents, finished_series, metadata_answers
from dicomweb_archive.index.reading.documents import MetadataIndex
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.reading.metadata_answers import Coding, MetadataAnswer, SeriesAnswer
from dicomweb_archive.index.reading.recently_used import ENTRY_BYTES, RecentlyUsed
from dicomweb_archive.index.segments.gzip_members import Fragment
from dicomweb_archive.index.writing.register import Register, Registration
from dicomweb_archive.index.writing.removal import Removal
from dicomweb_archive.wire.metadata_fields import ALWAYS

if sys.version_info >= (3, 14):
    from compression.zstd import decompress
else:
    from backports.zstd import decompress

EVERYTHING = Visibility()
STUDY, SERIES = f"{ROOT}.1", f"{ROOT}.1.1"
URL = "http://archive.example/dicom-web"


@pytest.fixture
def register(database: Database) -> Register:
    return Register(database)


@pytest.fixture
def index(database: Database) -> MetadataIndex:
    return MetadataIndex(database, kept_root=URL)


async def joined(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def own_json(scanned: ScannedInstance, root: str = URL) -> bytes:
    """Write the instance's metadata the plain way, from what the scanner found."""
    path = (
        f"{root}/studies/{scanned.study_instance_uid}/series/{scanned.series_instance_uid}"
        f"/instances/{scanned.sop_instance_uid}/bulkdata/"
    )
    members = (b'"%08X":%b' % (tag, e.json) for tag, e in scanned.attributes().items())
    return b"{" + b",".join(members).replace(BULK_MARKER.encode(), path.encode()) + b"}"


async def series_answer(index: MetadataIndex, root: str = URL) -> MetadataAnswer:
    return await index.series_metadata(STUDY, SERIES, EVERYTHING, service_root=root)


async def test_metadata_of_a_series_are_those_of_its_instances(index: MetadataIndex, register: Register):
    files = ct_series(5)
    await register.register([pack_of(segment_of(files[:3]))], actor="tester")
    await register.register([pack_of(segment_of(files[3:]))], actor="tester")
    expected = b"[" + b",".join(own_json(scan(data)) for data in files) + b"]"
    assert b'"BulkDataURI":"http://archive.example/dicom-web/studies/' in expected
    assert await joined((await series_answer(index)).encoded(Coding.IDENTITY)) == expected
    member = await joined((await series_answer(index)).encoded(Coding.GZIP))
    assert gzip.decompress(member) == expected
    assert zlib.decompressobj(31).decompress(member) == expected, "one member, for plain readers"


async def test_metadata_of_a_study_are_those_of_its_series_in_order(index: MetadataIndex, register: Register):
    series = {number: ct_series(2, series=number) for number in (3, 1, 2)}
    for files in series.values():
        await register.register([pack_of(segment_of(files))], actor="tester")
    answer = await index.study_metadata(STUDY, EVERYTHING, service_root=URL)
    expected = [own_json(scan(data)) for number in (1, 2, 3) for data in series[number]]
    assert gzip.decompress(await joined(answer.encoded(Coding.GZIP))) == b"[" + b",".join(expected) + b"]"
    answer = await index.study_metadata(STUDY, EVERYTHING, service_root=URL)
    assert await joined(answer.encoded(Coding.IDENTITY)) == b"[" + b",".join(expected) + b"]"


async def test_each_coding_is_as_long_as_was_said_whole_or_as_a_stream(index: MetadataIndex, register: Register):
    for number in (1, 2, 3):
        await register.register([pack_of(segment_of(ct_series(2, series=number)))], actor="tester")
    for coding in Coding:
        for _ in range(2):
            answer = await index.study_metadata(STUDY, EVERYTHING, service_root=URL)
            data = await joined(answer.encoded(coding))
            assert await answer.length(coding) == len(data)
            assert b"".join(await answer.whole(coding) or ()) == data
        one = await index.instance_metadata(STUDY, SERIES, f"{SERIES}.2", EVERYTHING, service_root=URL)
        data = await joined(one.encoded(coding))
        assert await one.length(coding) == len(data)
        assert b"".join(await one.whole(coding) or ()) == data


def undeflated(text: bytes) -> Fragment:
    """Write a fragment that is as long as its text."""
    writer = zlib.compressobj(0, zlib.DEFLATED, -15)
    return Fragment(writer.compress(text) + writer.flush(zlib.Z_FULL_FLUSH), zlib.crc32(text), len(text))


DECODED: dict[Coding, Callable[[bytes], bytes]] = {
    Coding.GZIP: gzip.decompress,
    Coding.ZSTD: decompress,
    Coding.IDENTITY: bytes,
}


def answer_of(texts: Sequence[bytes], *, asked: list[int] | None = None) -> SeriesAnswer:
    """Answer with series of these texts; one without text has been deleted."""

    async def find(place: int) -> Fragment:
        if asked is not None:
            asked.append(place)
        return undeflated(texts[place]) if texts[place] else Fragment(b"", 0, 0)

    return SeriesAnswer("", range(len(texts)), find, RecentlyUsed(16 * 1024 * 1024))


@pytest.mark.parametrize("series", [0, 1, 5])
async def test_what_would_hold_too_much_is_streamed_without_a_length(series: int):
    texts = [b'"%07d"' % number * 100_000 for number in range(series)]
    expected = b"[" + b",".join(texts) + b"]"
    for coding, decoded in DECODED.items():
        answer = answer_of(texts)
        whole = await answer.whole(coding)
        length = await answer.length(coding)
        data = await joined(answer.encoded(coding))
        assert (length, whole is None) == ((None, True) if series > 1 else (len(data), False))
        assert decoded(data) == expected


@pytest.mark.parametrize("sizes", [(metadata_answers.WHOLE_BYTES,), (10, metadata_answers.WHOLE_BYTES, 10)])
async def test_a_long_text_is_inflated_as_it_is_sent_and_not_kept(sizes: tuple[int, ...]):
    texts = [b"1" * size for size in sizes]
    answer = answer_of(texts)
    assert await answer.whole(Coding.IDENTITY) is None
    assert await joined(answer.encoded(Coding.IDENTITY)) == b"[" + b",".join(texts) + b"]"
    assert all(len(kept) < 100 for kept, _ in answer._kept._kept.values())


async def test_a_series_that_was_deleted_meanwhile_is_left_out_and_not_kept():
    for texts in ([b"", b"{}", b"", b"{}"], [b"{}", b""], [b"", b""]):
        expected = b"[" + b",".join(filter(None, texts)) + b"]"
        for coding, decoded in DECODED.items():
            answer = answer_of(texts)
            for _ in range(2):
                assert decoded(b"".join(await answer.whole(coding) or ())) == expected
                assert decoded(await joined(answer.encoded(coding))) == expected


@pytest.mark.parametrize("coding", Coding)
async def test_what_is_kept_as_it_goes_out_is_not_made_again(coding: Coding):
    asked: list[int] = []
    answer = answer_of([b"{}", b"{}"], asked=asked)
    first = b"".join(await answer.whole(coding) or ())
    assert asked == [0, 1]
    again = SeriesAnswer("", range(2), answer._find, answer._kept)
    assert b"".join(await again.whole(coding) or ()) == first
    assert asked == [0, 1]


async def test_metadata_of_one_instance(index: MetadataIndex, register: Register):
    files = ct_series(3)
    await register.register([pack_of(segment_of(files))], actor="tester")
    answer = await index.instance_metadata(STUDY, SERIES, f"{SERIES}.2", EVERYTHING, service_root=URL)
    assert await joined(answer.encoded(Coding.IDENTITY)) == b"[" + own_json(scan(files[1])) + b"]"
    other = await index.instance_metadata(STUDY, SERIES, f"{SERIES}.3", EVERYTHING, service_root=URL)
    assert other.etag != answer.etag


async def test_finished_metadata_come_from_memory_or_the_table(
    database: Database, index: MetadataIndex, register: Register
):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    first = await joined((await series_answer(index)).encoded(Coding.GZIP))
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from series_metadata") == 1
        # Proof by removal: whoever answers now has not built it from the documents.
        await connection.execute("update segment_data set document = ''")
    assert await joined((await series_answer(index)).encoded(Coding.GZIP)) == first
    assert await joined((await series_answer(MetadataIndex(database, kept_root=URL))).encoded(Coding.GZIP)) == first


async def test_a_store_changes_metadata_and_etag(index: MetadataIndex, register: Register):
    files = ct_series(4)
    await register.register([pack_of(segment_of(files[:2]))], actor="tester")
    before = await series_answer(index)
    assert len(json.loads(await joined(before.encoded(Coding.IDENTITY)))) == 2
    await register.register([pack_of(segment_of(files[2:]))], actor="tester")
    after = await series_answer(index)
    assert after.etag != before.etag
    assert len(json.loads(await joined(after.encoded(Coding.IDENTITY)))) == 4
    assert (await series_answer(index)).etag == after.etag


async def test_an_etag_cannot_be_found_by_trying_numbers(database: Database, register: Register):
    await register.register([pack_of(segment_of(ct_series(1)))], actor="tester")
    before = (await series_answer(MetadataIndex(database, kept_root=URL))).etag
    assert (await series_answer(MetadataIndex(database, kept_root=URL))).etag == before
    async with database.connection() as connection:
        # Only the archive has it; ids and revisions are the same.
        await connection.execute("update archive_state set value = sha256(value) where name = 'term_secret'")
    assert (await series_answer(MetadataIndex(database, kept_root=URL))).etag != before


async def test_a_delete_changes_metadata(database: Database, index: MetadataIndex, register: Register):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    before = await series_answer(index)
    await joined(before.encoded(Coding.IDENTITY))
    removal = Removal(database, InstanceIndex(database))
    await removal.delete_instance(STUDY, SERIES, f"{SERIES}.2", EVERYTHING, actor="tester")
    after = await series_answer(index)
    uids = [each["00080018"]["Value"][0] for each in json.loads(await joined(after.encoded(Coding.IDENTITY)))]
    assert uids == [f"{SERIES}.1", f"{SERIES}.3"]
    assert after.etag != before.etag
    await removal.delete_series(STUDY, SERIES, EVERYTHING, actor="tester")
    with pytest.raises(GoneError):
        await series_answer(index)


async def test_each_service_root_has_its_own_urls(database: Database, index: MetadataIndex, register: Register):
    await register.register([pack_of(segment_of(ct_series(2)))], actor="tester")
    own = await joined((await series_answer(index)).encoded(Coding.IDENTITY))
    assert own.count(f'"BulkDataURI":"{URL}/studies/'.encode()) == 2
    async with database.connection() as connection:
        # Proof by removal: another root is made from what is kept.
        await connection.execute("update segment_data set document = ''")
    tags = set()
    for which in (index, MetadataIndex(database, kept_root=URL)):
        for root in ("https://other.example/longer", "http://h", URL):
            answer = await series_answer(which, root)
            expected = own.replace(URL.encode(), root.encode())
            assert gzip.decompress(await joined(answer.encoded(Coding.GZIP))) == expected
            assert await joined((await series_answer(which, root)).encoded(Coding.IDENTITY)) == expected
            tags.add(answer.etag)
    assert len(tags) == 3
    async with database.connection() as connection:
        assert await connection.fetchval("select array_agg(service_root) from series_metadata") == [URL]


async def test_a_value_that_looks_like_a_url_of_ours_stays_as_it_was_stored(index: MetadataIndex, register: Register):
    comments = f'"BulkDataURI":"{URL}/studies/1'
    await register.register([pack_of(segment_of([part10(image(ImageComments=comments))]))], actor="tester")
    (found,) = json.loads(await joined((await series_answer(index, "http://other.example")).encoded(Coding.IDENTITY)))
    assert found["00204000"]["Value"] == [comments]
    assert found["7FE00010"]["BulkDataURI"].startswith("http://other.example/studies/")


async def test_made_up_roots_push_out_nothing_but_each_other(index: MetadataIndex, register: Register):
    await register.register([pack_of(segment_of(ct_series(2)))], actor="tester")
    for coding in Coding:
        await (await series_answer(index)).whole(coding)
    index._finished._other_roots.capacity_bytes = 3000
    index._other_answers.capacity_bytes = 20_000
    for number in range(20):
        for coding in Coding:
            await (await series_answer(index, f"http://forged-{number}.example")).whole(coding)
    assert 0 < index._finished._other_roots._size <= 3000
    assert [root for _, _, root in index._finished._cache._kept] == [URL]
    assert 0 < index._other_answers._size <= 20_000
    assert len(index._answers._kept) == len(Coding)


async def test_made_up_selections_take_no_more_memory_than_is_counted(index: MetadataIndex, register: Register):
    await register.register([pack_of(segment_of(ct_series(1)))], actor="tester")
    for number in range(10):
        fields = ALWAYS | frozenset(range(0x00100000 + 500 * number, 0x00100000 + 500 * (number + 1)))
        answer = await index.series_metadata(STUDY, SERIES, EVERYTHING, service_root=URL, fields=fields)
        for coding in Coding:
            assert await answer.whole(coding)
    kept = index._selections._kept
    assert len(kept) == 10 * len(Coding)
    assert len(pickle.dumps(list(kept))) < ENTRY_BYTES * len(kept)


async def test_what_is_missing_or_hidden_is_not_found(index: MetadataIndex, register: Register):
    await register.register([pack_of(segment_of(ct_series(1)))], actor="tester")
    for visibility, study, series in (
        (EVERYTHING, STUDY, "1.2.3"),
        (EVERYTHING, "1.2.3", SERIES),
        (Visibility(spaces=(2,)), STUDY, SERIES),
    ):
        with pytest.raises(NotFoundError):
            await index.series_metadata(study, series, visibility, service_root=URL)
        with pytest.raises(NotFoundError):
            await index.instance_metadata(study, series, f"{SERIES}.1", visibility, service_root=URL)


async def test_one_of_many_clients_builds(index: MetadataIndex, register: Register):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")

    async def read() -> bytes:
        return await joined((await series_answer(index)).encoded(Coding.GZIP))

    assert len(set(await asyncio.gather(*(read() for _ in range(20))))) == 1


async def test_the_memory_cache_stays_within_its_bound(database: Database, register: Register):
    small = MetadataIndex(database, kept_root=URL, cache_bytes=6000)
    for number in range(1, 6):
        await register.register([pack_of(segment_of(ct_series(2, series=number)))], actor="tester")
        answer = await small.series_metadata(STUDY, f"{ROOT}.1.{number}", EVERYTHING, service_root=URL)
        assert len(json.loads(await joined(answer.encoded(Coding.IDENTITY)))) == 2
    assert small._finished._cache._size <= 2000


async def test_texts_of_every_script_come_back(index: MetadataIndex, register: Register):
    odd = image(SpecificCharacterSet="ISO_IR 192", PatientName="Ünï^Cödé=土井^=どい", PatientComments='"\\\t\u2028😀')
    await register.register([pack_of(segment_of([part10(odd)]))], actor="tester")
    (found,) = json.loads(await joined((await series_answer(index)).encoded(Coding.IDENTITY)))
    assert found["00104000"]["Value"] == ['"\\\t\u2028😀']
    assert found["00100010"]["Value"][0]["Ideographic"] == "土井^"


async def test_pydicoms_files_register_and_come_back(index: MetadataIndex, register: Register):
    scanned = []
    for path in bundled_paths():
        try:
            scanned.append(scan(path.read_bytes()))
        except InvalidInstanceError:
            continue
    assert len(scanned) > 50
    seen: set[str] = set()
    for instance in scanned:
        if instance.sop_instance_uid in seen:
            continue
        seen.add(instance.sop_instance_uid)
        outcome = await register.register([pack_of(in_pack([instance]))], actor="tester")
        assert outcome == {instance.sop_instance_uid: Registration.STORED}
        uids = instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid
        answer = await index.instance_metadata(*uids, EVERYTHING, service_root=URL)
        assert await joined(answer.encoded(Coding.IDENTITY)) == b"[" + own_json(instance) + b"]"


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        pytest.param(documents.FIND_SERIES, ([1], None, False, STUDY, SERIES), id="series"),
        pytest.param(finished_series.FIND_METADATA, (1, 1, URL), id="finished"),
        pytest.param(finished_series.READ_DOCUMENTS, (1,), id="documents"),
        pytest.param(documents.FIND_INSTANCE, ([1], None, False, STUDY, SERIES, "1.2"), id="instance"),
        pytest.param(documents.READ_INSTANCE, ([1], None, False, STUDY, SERIES, "1.2"), id="its document"),
    ],
)
async def test_look_ups_use_indexes(database: Database, statement: str, arguments: tuple[object, ...]):
    async with database.transaction() as connection:
        await connection.execute("set local enable_seqscan = off")
        plan = "\n".join(row[0] for row in await connection.fetch(f"explain (costs off) {statement}", *arguments))
    assert "Seq Scan" not in plan, plan
