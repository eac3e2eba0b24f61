"""Metadata: finished bytes that equal what the scanner wrote for each instance, fresh after each change."""

import asyncio
import gzip
import json
import sys
import zlib
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.factories import ROOT, ct_series, image, part10
from tests.pydicom_files import bundled_paths
from tests.stored import in_pack, pack_of, segment_of

from dicomweb_archive.dicom.instance import BULK_MARKER, ScannedInstance
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.errors import GoneError, InvalidInstanceError, NotFoundError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading import documents as statements
from dicomweb_archive.index.reading import metadata_answers
from dicomweb_archive.index.reading.documents import MetadataIndex
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.reading.metadata_answers import Coding, Finished, MetadataAnswer, RecentlyUsed
from dicomweb_archive.index.segments.gzip_members import Fragment, fragment_of
from dicomweb_archive.index.writing.register import Register, Registration
from dicomweb_archive.index.writing.removal import Removal

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
    assert await joined((await series_answer(index)).json()) == expected
    member = await joined((await series_answer(index)).gzip())
    assert gzip.decompress(member) == expected
    assert zlib.decompressobj(31).decompress(member) == expected, "one member, for plain readers"


async def test_metadata_of_a_study_are_those_of_its_series_in_order(index: MetadataIndex, register: Register):
    series = {number: ct_series(2, series=number) for number in (3, 1, 2)}
    for files in series.values():
        await register.register([pack_of(segment_of(files))], actor="tester")
    answer = await index.study_metadata(STUDY, EVERYTHING, service_root=URL)
    expected = [own_json(scan(data)) for number in (1, 2, 3) for data in series[number]]
    assert gzip.decompress(await joined(answer.gzip())) == b"[" + b",".join(expected) + b"]"
    answer = await index.study_metadata(STUDY, EVERYTHING, service_root=URL)
    assert await joined(answer.json()) == b"[" + b",".join(expected) + b"]"


async def test_each_coding_of_a_study_is_as_long_as_was_said(index: MetadataIndex, register: Register):
    for number in (1, 2, 3):
        await register.register([pack_of(segment_of(ct_series(2, series=number)))], actor="tester")
    for coding in Coding:
        answer = await index.study_metadata(STUDY, EVERYTHING, service_root=URL)
        assert await answer.length(coding) == len(await joined(answer.encoded(coding)))


def undeflated(text: bytes) -> Fragment:
    """Write a fragment that is as long as its text."""
    writer = zlib.compressobj(0, zlib.DEFLATED, -15)
    return Fragment(writer.compress(text) + writer.flush(zlib.Z_FULL_FLUSH), zlib.crc32(text), len(text))


@pytest.mark.parametrize("series", [0, 1, 5])
async def test_what_would_hold_too_much_is_streamed_without_a_length(series: int):
    texts = [b'"%07d"' % number * 100_000 for number in range(series)]
    expected = b"[" + b",".join(texts) + b"]"

    async def finished() -> AsyncIterator[Finished]:
        for number, text in enumerate(texts):
            yield Finished(number, undeflated(text))

    for coding, decompressed in ((Coding.GZIP, gzip.decompress), (Coding.ZSTD, decompress), (Coding.IDENTITY, bytes)):
        answer = MetadataAnswer("", finished(), RecentlyUsed(1024))
        length = await answer.length(coding)
        data = await joined(answer.encoded(coding))
        assert length == (None if series > 1 else len(data))
        assert decompressed(data) == expected


async def test_a_frame_is_made_once_an_answer_though_it_is_not_kept(monkeypatch: pytest.MonkeyPatch):
    made: list[bytes] = []

    def frame_of(fragments: Sequence[Fragment]) -> bytes:
        made.append(kept(fragments))
        return made[-1]

    kept = metadata_answers._frame_of
    monkeypatch.setattr(metadata_answers, "_frame_of", frame_of)

    async def finished() -> AsyncIterator[Finished]:
        yield Finished(None, fragment_of(b"{}"))

    answer = MetadataAnswer("", finished(), RecentlyUsed(1024))
    assert await answer.length(Coding.ZSTD) == len(made[0])
    assert await joined(answer.encoded(Coding.ZSTD)) == made[0]
    assert len(made) == 1


async def test_metadata_of_one_instance(index: MetadataIndex, register: Register):
    files = ct_series(3)
    await register.register([pack_of(segment_of(files))], actor="tester")
    answer = await index.instance_metadata(STUDY, SERIES, f"{SERIES}.2", EVERYTHING, service_root=URL)
    assert await joined(answer.json()) == b"[" + own_json(scan(files[1])) + b"]"
    other = await index.instance_metadata(STUDY, SERIES, f"{SERIES}.3", EVERYTHING, service_root=URL)
    assert other.etag != answer.etag


async def test_finished_metadata_come_from_memory_or_the_table(
    database: Database, index: MetadataIndex, register: Register
):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    first = await joined((await series_answer(index)).gzip())
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from series_metadata") == 1
        # Proof by removal: whoever answers now has not built it from the documents.
        await connection.execute("update segment_data set document = ''")
    assert await joined((await series_answer(index)).gzip()) == first
    assert await joined((await series_answer(MetadataIndex(database, kept_root=URL))).gzip()) == first


async def test_a_store_changes_metadata_and_etag(index: MetadataIndex, register: Register):
    files = ct_series(4)
    await register.register([pack_of(segment_of(files[:2]))], actor="tester")
    before = await series_answer(index)
    assert len(json.loads(await joined(before.json()))) == 2
    await register.register([pack_of(segment_of(files[2:]))], actor="tester")
    after = await series_answer(index)
    assert after.etag != before.etag
    assert len(json.loads(await joined(after.json()))) == 4
    assert (await series_answer(index)).etag == after.etag


async def test_a_delete_changes_metadata(database: Database, index: MetadataIndex, register: Register):
    await register.register([pack_of(segment_of(ct_series(3)))], actor="tester")
    before = await series_answer(index)
    await joined(before.json())
    removal = Removal(database, InstanceIndex(database))
    await removal.delete_instance(STUDY, SERIES, f"{SERIES}.2", EVERYTHING, actor="tester")
    after = await series_answer(index)
    uids = [each["00080018"]["Value"][0] for each in json.loads(await joined(after.json()))]
    assert uids == [f"{SERIES}.1", f"{SERIES}.3"]
    assert after.etag != before.etag
    await removal.delete_series(STUDY, SERIES, EVERYTHING, actor="tester")
    with pytest.raises(GoneError):
        await series_answer(index)


async def test_each_service_root_has_its_own_urls(database: Database, index: MetadataIndex, register: Register):
    await register.register([pack_of(segment_of(ct_series(2)))], actor="tester")
    own = await joined((await series_answer(index)).json())
    assert own.count(f'"BulkDataURI":"{URL}/studies/'.encode()) == 2
    async with database.connection() as connection:
        # Proof by removal: another root is made from what is kept.
        await connection.execute("update segment_data set document = ''")
    tags = set()
    for which in (index, MetadataIndex(database, kept_root=URL)):
        for root in ("https://other.example/longer", "http://h", URL):
            answer = await series_answer(which, root)
            expected = own.replace(URL.encode(), root.encode())
            assert gzip.decompress(await joined(answer.gzip())) == expected
            assert await joined((await series_answer(which, root)).json()) == expected
            tags.add(answer.etag)
    assert len(tags) == 3
    async with database.connection() as connection:
        assert await connection.fetchval("select array_agg(service_root) from series_metadata") == [URL]


async def test_a_value_that_looks_like_a_url_of_ours_stays_as_it_was_stored(index: MetadataIndex, register: Register):
    comments = f'"BulkDataURI":"{URL}/studies/1'
    await register.register([pack_of(segment_of([part10(image(ImageComments=comments))]))], actor="tester")
    (found,) = json.loads(await joined((await series_answer(index, "http://other.example")).json()))
    assert found["00204000"]["Value"] == [comments]
    assert found["7FE00010"]["BulkDataURI"].startswith("http://other.example/studies/")


async def test_made_up_roots_push_out_nothing_but_each_other(index: MetadataIndex, register: Register):
    await register.register([pack_of(segment_of(ct_series(2)))], actor="tester")
    await joined((await series_answer(index)).gzip())
    await joined((await series_answer(index)).zstd())
    index._other_roots.capacity_bytes = 3000
    for number in range(20):
        await joined((await series_answer(index, f"http://forged-{number}.example")).gzip())
        await joined((await series_answer(index, f"http://forged-{number}.example")).zstd())
    assert 0 < index._other_roots._size <= 3000
    assert [root for _, _, root in index._cache._kept] == [URL]
    assert [root for ((_, _, root),) in index._frames._kept] == [URL]


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
        return await joined((await series_answer(index)).gzip())

    assert len(set(await asyncio.gather(*(read() for _ in range(20))))) == 1


async def test_the_memory_cache_stays_within_its_bound(database: Database, register: Register):
    small = MetadataIndex(database, kept_root=URL, cache_bytes=1500)
    for number in range(1, 6):
        await register.register([pack_of(segment_of(ct_series(2, series=number)))], actor="tester")
        answer = await small.series_metadata(STUDY, f"{ROOT}.1.{number}", EVERYTHING, service_root=URL)
        assert len(json.loads(await joined(answer.json()))) == 2
    assert small._cache._size <= 1500


async def test_texts_of_every_script_come_back(index: MetadataIndex, register: Register):
    odd = image(SpecificCharacterSet="ISO_IR 192", PatientName="Ünï^Cödé=土井^=どい", PatientComments='"\\\t\u2028😀')
    await register.register([pack_of(segment_of([part10(odd)]))], actor="tester")
    (found,) = json.loads(await joined((await series_answer(index)).json()))
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
        assert await joined(answer.json()) == b"[" + own_json(instance) + b"]"


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        pytest.param(statements.FIND_SERIES, ([1], None, False, STUDY, SERIES), id="series"),
        pytest.param(statements.FIND_METADATA, (1, 1, URL), id="finished"),
        pytest.param(statements.READ_DOCUMENTS, (1,), id="documents"),
        pytest.param(statements.READ_INSTANCE, ([1], None, False, STUDY, SERIES, "1.2"), id="instance"),
    ],
)
async def test_look_ups_use_indexes(database: Database, statement: str, arguments: tuple[object, ...]):
    async with database.transaction() as connection:
        await connection.execute("set local enable_seqscan = off")
        plan = "\n".join(row[0] for row in await connection.fetch(f"explain (costs off) {statement}", *arguments))
    assert "Seq Scan" not in plan, plan
