"""WADO-RS through the door: bytes, metadata, frames, bulkdata, conditional requests, HEAD."""

import gzip
import io
import json
import sys
import xml.etree.ElementTree as ET
import zipfile

import pytest
from pydicom.uid import ImplicitVRLittleEndian
from starlette.requests import Request
from tests.factories import ROOT as UID
from tests.factories import ct_series, image, part10, pixels
from tests.http.archive import ROOT, Archive, parts_of

from dicomweb_archive.web.conditional import accepts_gzip

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor
else:
    from backports.zstd import ZstdDecompressor

STUDY = f"/studies/{UID}.1"
SERIES = f"{STUDY}/series/{UID}.1.1"
INSTANCE = f"{SERIES}/instances/{UID}.1.1.1"
BASE = "http://archive.example/dicom-web"
STORED = {"accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}


@pytest.fixture
async def instances(archive: Archive) -> list[bytes]:
    """A stored series of three instances, and a fourth instance in a second series."""
    stored = [*ct_series(3), *ct_series(1, series=2)]
    assert (await archive.store(*stored)).status_code == 200
    return stored


@pytest.mark.parametrize(("path", "count"), [(STUDY, 4), (SERIES, 3), (INSTANCE, 1)])
async def test_instances_come_back_byte_for_byte(
    archive: Archive, instances: list[bytes], path: str, count: int
) -> None:
    answer = await archive.get(path, headers=STORED)
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["content-location"] == BASE + path
    parts = parts_of(answer)
    assert sorted(body for _, body in parts) == sorted(instances[:count])
    for headers, body in parts:
        assert headers["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
        assert int(headers["content-length"]) == len(body)
        assert headers["content-location"].startswith(f"{BASE}{STUDY}/series/")


async def test_without_accept_the_default_representation_is_sent(archive: Archive, instances: list[bytes]) -> None:
    answer = await archive.get(INSTANCE, headers={"accept": "*/*"})
    assert answer.headers["content-type"].startswith('multipart/related; type="application/dicom"')


async def test_another_transfer_syntax_is_converted_on_the_way(archive: Archive) -> None:
    stored = part10(image(), ImplicitVRLittleEndian)
    await archive.store(stored)
    as_stored = await archive.get(INSTANCE, headers={"accept": "application/dicom; transfer-syntax=*"})
    assert as_stored.content == stored
    converted = await archive.get(INSTANCE, headers={"accept": "application/dicom"})
    assert "1.2.840.10008.1.2.1" in converted.headers["content-type"]
    assert converted.content != stored
    assert pixels(16, 16, seed=1) in converted.content


async def test_head_says_what_get_would(archive: Archive, instances: list[bytes]) -> None:
    for path in (STUDY, SERIES, INSTANCE, f"{INSTANCE}/frames/1"):
        head = await archive.client.head(ROOT + path, headers={"accept": "*/*"})
        get = await archive.get(path, headers={"accept": "*/*"})
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == get.headers["content-length"]


@pytest.mark.parametrize(("path", "count"), [(STUDY, 4), (SERIES, 3), (INSTANCE, 1)])
async def test_metadata_describe_every_instance(
    archive: Archive, instances: list[bytes], path: str, count: int
) -> None:
    plain = await archive.get(f"{path}/metadata", headers={"accept-encoding": "identity"})
    assert plain.headers["content-type"] == "application/dicom+json"
    assert "content-encoding" not in plain.headers
    documents = plain.json()
    assert len(documents) == count
    assert list(documents[0]) == sorted(documents[0])
    assert not any(tag.startswith("0002") for tag in documents[0])
    small = await archive.get(f"{path}/metadata", headers={"accept-encoding": "br, gzip;q=0.5"})
    assert small.headers["content-encoding"] == "gzip"
    assert small.json() == documents
    refused = await archive.get(f"{path}/metadata", headers={"accept-encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers


@pytest.mark.parametrize("path", [STUDY, SERIES, INSTANCE])
async def test_some_attributes_of_the_metadata_are_those_of_all(
    archive: Archive, instances: list[bytes], path: str
) -> None:
    everything = await archive.get(f"{path}/metadata")
    wanted = {"00080016", "00080018", "0020000D", "0020000E", "00200013", "7FE00010"}
    expected = [{tag: each[tag] for tag in each if tag in wanted} for each in everything.json()]
    found = await archive.get(f"{path}/metadata", params={"includefield": "InstanceNumber,7FE00010,PatientComments"})
    assert found.json() == expected
    assert "00200013" in expected[0]
    assert found.headers["etag"] != everything.headers["etag"]
    url, etag = found.headers["content-location"], found.headers["etag"]
    assert (await archive.client.get(url, headers={"if-none-match": etag})).status_code == 304
    for coding in ("gzip", "identity"):
        answer = await archive.client.get(url, headers={"accept-encoding": coding})
        assert answer.json() == expected
    refused = await archive.get(f"{path}/metadata", params={"includefield": "Smith"})
    assert refused.status_code == 400
    assert "includefield" in refused.json()["detail"]


async def test_utf_8_is_the_one_character_set(archive: Archive, instances: list[bytes]) -> None:
    plain = await archive.get(f"{INSTANCE}/metadata")
    for named in ("utf-8", "UTF-8", "iso-8859-1,utf-8;q=0.5"):
        answer = await archive.get(f"{INSTANCE}/metadata", params={"charset": named})
        assert answer.content == plain.content
    refused = await archive.get(f"{INSTANCE}/metadata", params={"charset": "iso-8859-1"})
    assert refused.status_code == 400
    assert "charset" in refused.json()["detail"]


async def test_gzipped_metadata_are_one_sound_member(archive: Archive, instances: list[bytes]) -> None:
    async with archive.client.stream("GET", f"{ROOT}{STUDY}/metadata", headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert len(json.loads(gzip.decompress(raw))) == 4


async def test_metadata_can_be_xml(archive: Archive, instances: list[bytes]) -> None:
    accept = {"accept": 'multipart/related; type="application/dicom+xml"'}
    answer = await archive.get(f"{STUDY}/metadata", headers=accept)
    parts = parts_of(answer)
    assert len(parts) == 4
    for _, body in parts:
        names = [element.get("keyword") for element in ET.fromstring(body)]
        assert "PatientName" in names


async def test_a_client_that_has_it_is_told_so(archive: Archive, instances: list[bytes]) -> None:
    single = {"accept": "application/dicom; transfer-syntax=*"}
    for path, headers in ((f"{SERIES}/metadata", {}), (INSTANCE, single), (f"{INSTANCE}/frames/1", {})):
        first = await archive.get(path, headers=headers)
        etag = first.headers["etag"]
        for condition in (etag, f'"other", {etag}', "*", etag.removeprefix("W/")):
            again = await archive.get(path, headers={**headers, "if-none-match": condition})
            assert again.status_code == 304
            assert again.content == b""
            assert again.headers["etag"] == etag
        assert (await archive.get(path, headers={**headers, "if-none-match": '"x"'})).status_code == 200
    before = (await archive.get(f"{SERIES}/metadata")).headers["etag"]
    await archive.store(*ct_series(5))
    assert (await archive.get(f"{SERIES}/metadata", headers={"if-none-match": before})).status_code == 200


async def test_metadata_come_in_the_coding_that_is_liked_best_with_their_length(
    archive: Archive, instances: list[bytes]
) -> None:
    for path in (STUDY, SERIES, INSTANCE):
        plain = await archive.get(f"{path}/metadata", headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        for accepted, expected in LIKED.items():
            async with archive.client.stream(
                "GET", f"{ROOT}{path}/metadata", headers={"accept-encoding": accepted}
            ) as answer:
                raw = b"".join([chunk async for chunk in answer.aiter_raw()])
            assert answer.headers.get("content-encoding") == expected
            assert int(answer.headers["content-length"]) == len(raw)
            assert answer.headers["etag"] == plain.headers["etag"]
            assert {"zstd": one_frame, "gzip": gzip.decompress, None: bytes}[expected](raw) == plain.content


LIKED = {
    "gzip, deflate, br, zstd": "zstd",
    "gzip, zstd;q=0.5": "gzip",
    "zstd;q=0.5, gzip;q=0.4": "zstd",
    "zstd;q=0, gzip": "gzip",
    "*": "gzip",
    "zstd;q=0.5, identity": None,
    "br": None,
}


def one_frame(data: bytes) -> bytes:
    """Decompress as plain readers do, who stop after the first of several frames."""
    decompressor = ZstdDecompressor()
    text = decompressor.decompress(data)
    assert decompressor.eof
    assert decompressor.unused_data == b""
    return text


CODINGS = {
    "gzip": True,
    "x-gzip": True,
    "*": True,
    "gzip, *;q=0": True,
    "*;q=0, gzip": True,
    "identity;q=0.5, gzip;q=1.0": True,
    "GZIP ; Q=0.001": True,
    "": False,
    "br": False,
    "gzip;q=0": False,
    "gzip;q=0.000, br": False,
    "*, gzip;q=0": False,
    "gzip;q=0, *": False,
    "*;q=0": False,
}


@pytest.mark.parametrize(("accepted", "expected"), CODINGS.items())
def test_the_coding_that_is_named_counts_before_the_wild_card(accepted: str, expected: bool) -> None:
    request = Request({"type": "http", "headers": [(b"accept-encoding", accepted.encode())]})
    assert accepts_gzip(request) is expected


async def test_a_condition_may_come_in_several_lines(archive: Archive, instances: list[bytes]) -> None:
    first = await archive.get(f"{SERIES}/metadata")
    lines = [("if-none-match", '"other"'), ("if-none-match", first.headers["etag"])]
    again = await archive.get(f"{SERIES}/metadata", headers=lines)
    assert again.status_code == 304
    for name in ("cache-control", "content-location", "etag", "vary"):
        assert again.headers[name] == first.headers[name]
    assert "content-length" not in again.headers
    assert "content-type" not in again.headers


async def test_each_representation_has_a_tag_of_its_own(archive: Archive, instances: list[bytes]) -> None:
    answers = {
        INSTANCE: ("application/dicom", 'multipart/related; type="application/dicom"'),
        f"{INSTANCE}/frames/1": ("application/octet-stream", 'multipart/related; type="application/octet-stream"'),
        f"{INSTANCE}/metadata": ("application/dicom+json", 'multipart/related; type="application/dicom+xml"'),
    }
    for path, accepted in answers.items():
        one, other = [(await archive.get(path, headers={"accept": accept})).headers["etag"] for accept in accepted]
        assert one.removeprefix("W/") != other.removeprefix("W/")
        again = await archive.get(path, headers={"accept": accepted[1], "if-none-match": one})
        assert again.status_code == 200


async def test_frames_are_the_pixels(archive: Archive, instances: list[bytes]) -> None:
    viewer = {"accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
    answer = await archive.get(f"{INSTANCE}/frames/1", headers=viewer)
    ((headers, body),) = parts_of(answer)
    assert body == pixels(16, 16, seed=1)
    assert headers["content-type"].startswith("application/octet-stream")
    # Viewers look for exactly this spelling.
    assert b"Content-Type: application/octet-stream" in answer.content
    single = await archive.get(f"{INSTANCE}/frames/1", headers={"accept": "application/octet-stream"})
    assert single.content == pixels(16, 16, seed=1)


async def test_bulkdata_are_found_where_metadata_say(archive: Archive, instances: list[bytes]) -> None:
    (document,) = (await archive.get(f"{INSTANCE}/metadata")).json()
    url = document["7FE00010"]["BulkDataURI"]
    assert url == f"{BASE}{INSTANCE}/bulkdata/7FE00010"
    answer = await archive.client.get(url, headers={"accept": "application/octet-stream"})
    assert answer.content == pixels(16, 16, seed=1)


async def test_bulkdata_and_pixel_data_of_a_resource_are_all_that_metadata_refer_to(
    archive: Archive, instances: list[bytes]
) -> None:
    for path, count in ((STUDY, 4), (SERIES, 3), (INSTANCE, 1)):
        documents = (await archive.get(f"{path}/metadata")).json()
        wanted = {document["7FE00010"]["BulkDataURI"] for document in documents}
        assert len(wanted) == count
        for resource in (f"{path}/bulkdata", f"{path}/pixeldata"):
            answer = await archive.get(resource)
            assert int(answer.headers["content-length"]) == len(answer.content)
            assert answer.headers["content-location"] == BASE + resource
            parts = parts_of(answer)
            assert {headers["content-location"] for headers, _ in parts} == wanted
            octets = {"accept": "application/octet-stream"}
            for headers, body in parts:
                assert body == (await archive.client.get(headers["content-location"], headers=octets)).content
            head = await archive.client.head(ROOT + resource)
            assert head.headers["content-length"] == answer.headers["content-length"]
            assert (await archive.get(resource, headers=octets)).status_code == 406
        older = await archive.get(path, headers={"accept": 'multipart/related; type="application/octet-stream"'})
        assert {headers["content-location"] for headers, _ in parts_of(older)} == wanted


SINGLE_PARTS = {
    INSTANCE: "application/dicom; transfer-syntax=*",
    f"{INSTANCE}/frames/1": "application/octet-stream",
    f"{INSTANCE}/bulkdata/7FE00010": "application/octet-stream",
}


async def test_a_range_of_a_single_part(archive: Archive, instances: list[bytes]) -> None:
    for path, accept in SINGLE_PARTS.items():
        whole = await archive.get(path, headers={"accept": accept})
        assert whole.headers["accept-ranges"] == "bytes"
        size, etag = len(whole.content), whole.headers["etag"]
        ranges = {"bytes=10-19": (10, 20), "bytes=-5": (size - 5, size), f"bytes={size - 1}-": (size - 1, size)}
        for text, (start, stop) in ranges.items():
            part = await archive.get(path, headers={"accept": accept, "range": text, "if-range": etag})
            assert part.status_code == 206
            assert part.content == whole.content[start:stop]
            assert part.headers["content-length"] == str(len(part.content))
            assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
            assert part.headers["etag"] == etag
            assert part.headers["content-type"] == whole.headers["content-type"]
        head = await archive.client.head(ROOT + path, headers={"accept": accept, "range": "bytes=0-0"})
        assert head.status_code == 200
        assert head.headers["accept-ranges"] == "bytes"
        assert head.headers["content-length"] == str(size)
        behind = await archive.get(path, headers={"accept": accept, "range": f"bytes={size}-"})
        assert behind.status_code == 416
        assert behind.headers["content-range"] == f"bytes */{size}"
        assert behind.headers["content-type"] == "application/problem+json"


async def test_a_range_of_what_has_changed_or_of_several_parts_is_the_whole(
    archive: Archive, instances: list[bytes]
) -> None:
    accept = {"accept": SINGLE_PARTS[INSTANCE], "range": "bytes=0-0"}
    for condition in ('"other"', 'W/"other"', "Wed, 21 Oct 2015 07:28:00 GMT"):
        answer = await archive.get(INSTANCE, headers={**accept, "if-range": condition})
        assert answer.status_code == 200
        assert answer.content == instances[0]
    known = await archive.get(INSTANCE, headers={**accept, "if-none-match": answer.headers["etag"]})
    assert known.status_code == 304
    several = await archive.get(INSTANCE, headers={**STORED, "range": "bytes=0-0"})
    assert several.status_code == 200
    assert "accept-ranges" not in several.headers


async def test_a_study_or_series_can_be_an_archive_of_files(archive: Archive, instances: list[bytes]) -> None:
    for path, count, name in ((STUDY, 4, f"{UID}.1.zip"), (SERIES, 3, f"{UID}.1.1.zip")):
        answer = await archive.get(path, headers={"accept": "application/zip"})
        assert answer.headers["content-type"] == "application/zip"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert int(answer.headers["content-length"]) == len(answer.content)
        with zipfile.ZipFile(io.BytesIO(answer.content)) as files:
            assert files.testzip() is None
            assert sorted(map(files.read, files.namelist())) == sorted(instances[:count])
            assert files.namelist()[0] == f"{UID}.1.1/{UID}.1.1.1.dcm"
        link = await archive.get(f"{path}?accept=application/zip", headers={"accept": "text/html,*/*;q=0.8"})
        assert link.content == answer.content
        head = await archive.client.head(ROOT + path, headers={"accept": "application/zip"})
        assert head.headers["content-length"] == answer.headers["content-length"]
        rest = {"accept": "application/zip", "range": "bytes=1000-", "if-range": answer.headers["etag"]}
        resumed = await archive.get(path, headers=rest)
        assert resumed.status_code == 206
        assert resumed.content == answer.content[1000:]
        known = {"accept": "application/zip", "if-none-match": answer.headers["etag"]}
        assert (await archive.get(path, headers=known)).status_code == 304
        unacceptable = await archive.get(path, headers={"accept": "image/png"})
        assert any(offer.startswith("application/zip") for offer in unacceptable.json()["available"])
    assert (await archive.get("/studies/1.2.3", headers={"accept": "application/zip"})).status_code == 404


async def test_a_list_of_series_is_one_archive(archive: Archive, instances: list[bytes]) -> None:
    uids = {"StudyInstanceUID": f"{UID}.1"}
    both = [{**uids, "SeriesInstanceUID": f"{UID}.1.2"}, {**uids, "SeriesInstanceUID": f"{UID}.1.1"}]
    address = f"{ROOT}/series/zip"
    answer = await archive.client.post(address, json=[*both, both[0]])
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="series.zip"'
    assert int(answer.headers["content-length"]) == len(answer.content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as files:
        assert files.testzip() is None
        assert [files.read(name) for name in files.namelist()] == [instances[3], *instances[:3]]
    wrong = {
        "one is missing": ([*both, {**uids, "SeriesInstanceUID": "1.2.3"}], 404),
        "of another study": ([{**both[0], "StudyInstanceUID": "1.2.3"}], 404),
        "empty": ([], 400),
        "no list": (both[0], 400),
        "no UID": ([{**uids, "SeriesInstanceUID": "../1"}], 400),
        "more than UIDs": ([{**both[0], "PatientID": "1"}], 400),
        "nested": ([[both]], 400),
        "too many": ([{**uids, "SeriesInstanceUID": f"1.{number}"} for number in range(1001)], 413),
        "too large": ([{"StudyInstanceUID": "1" * 300_000}], 413),
    }
    for name, (body, status) in wrong.items():
        refused = await archive.client.post(address, json=body)
        assert refused.status_code == status, name
        assert refused.headers["content-type"] == "application/problem+json"
    assert (await archive.client.post(address, content=b"[")).status_code == 415
    # Not a reading method, so a condition that does not hold ends it (RFC 9110 13.1.2).
    known = await archive.client.post(address, json=both, headers={"if-none-match": answer.headers["etag"]})
    assert known.status_code == 412
    assert known.json()["type"].endswith(":precondition-failed")
    assert (await archive.client.post(address, json=both, headers={"accept": "image/png"})).status_code == 406


NOT_SOUND = [
    (f"{INSTANCE}/frames/0", 400),
    (f"{INSTANCE}/frames/-1", 400),
    (f"{INSTANCE}/frames/1,,1", 400),
    (f"{INSTANCE}/frames/abc", 400),
    (f"{INSTANCE}/frames/" + "1" + "0" * 20, 400),
    (f"{INSTANCE}/frames/" + ",".join(map(str, range(1, 3001))), 404),
    (f"{INSTANCE}/frames/2", 404),
    (f"{INSTANCE}/bulkdata/..%2f..%2fetc%2fpasswd", 400),
    (f"{INSTANCE}/bulkdata/7fe00010%00", 400),
    (f"{INSTANCE}/bulkdata/00091001", 404),
    (f"{INSTANCE}/metadata?accept=%zz", 400),
    (f"{INSTANCE}/metadata?charset=iso-8859-1", 400),
    (f"{INSTANCE}?charset=", 400),
    (f"{STUDY}/series/{UID}.1.2/instances/{UID}.1.1.1", 404),
    ("/studies/1.2.3", 404),
    ("/studies/1.2.3/metadata", 404),
    ("/studies/1.2.3/bulkdata", 404),
    ("/studies/1.2.3/pixeldata", 404),
    ("/studies/abc/bulkdata", 400),
]


async def test_what_is_not_there_or_not_sound(archive: Archive, instances: list[bytes]) -> None:
    for path, status in NOT_SOUND:
        answer = await archive.get(path)
        assert answer.status_code == status, path
        assert answer.headers["content-type"] == "application/problem+json"


async def test_the_unacceptable_is_406_and_says_what_can_be_had(archive: Archive, instances: list[bytes]) -> None:
    for path in (STUDY, INSTANCE, f"{INSTANCE}/frames/1", f"{SERIES}/metadata"):
        answer = await archive.get(path, headers={"accept": "audio/wav"})
        assert answer.status_code == 406
        assert answer.json()["available"]


async def test_a_missing_object_is_an_error_and_never_a_short_answer(archive: Archive, instances: list[bytes]) -> None:
    for path in archive.files():
        path.unlink()
    answer = await archive.get(STUDY, headers=STORED)
    assert answer.status_code == 500
    assert answer.json()["type"].endswith(":object-missing")
    assert (await archive.get(f"{STUDY}/metadata")).status_code == 200
