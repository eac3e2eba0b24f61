"""The requests that a web viewer (OHIF 3) sends, spelled as it spells them, from study list to upload."""

import asyncio
import re
from urllib.parse import quote

import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG4HP41, JPEG2000Lossless
from tests.factories import ROOT as UID
from tests.factories import ct_series, identified, image, part10, pixels
from tests.http.archive import Archive, parts_of, values_of
from tests.http.conftest import StartArchive
from tests.pydicom_files import bundled, read

from dicomweb_archive.dicom.tags import parse_tag

STUDY = f"/studies/{UID}.1"
SERIES = f"{STUDY}/series/{UID}.1.1"
INSTANCE = f"{SERIES}/instances/{UID}.1.1.1"
JSON = {"accept": "application/dicom+json"}
FRAME = {"accept": "application/octet-stream; transfer-syntax=*"}
"""As our configuration has it."""

FRAME_ELSEWHERE = {"accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
"""As viewers ask that somebody else has set up."""

PAGE = "limit=101&offset=0&fuzzymatching=true"
LIST = f"{PAGE}&includefield=00081030%2C00080060%2C00080090%2C00100030"
SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
PDF_STORAGE = "1.2.840.10008.5.1.4.1.1.104.1"


def segmentation() -> bytes:
    return part10(image(series=2, SOPClassUID=SEGMENTATION_STORAGE))


def pdf() -> bytes:
    dataset = identified(series=3, sop_class=PDF_STORAGE, SeriesDescription="Report")
    dataset.EncapsulatedDocument = b"%PDF-1.4" + bytes(20_000)
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    return part10(dataset)


@pytest.fixture
async def filled(archive: Archive) -> Archive:
    instances = [*ct_series(3), segmentation(), pdf(), part10(image(study=2))]
    assert (await archive.store(*instances)).status_code == 200
    return archive


async def listed(archive: Archive, path: str) -> list[dict[str, object]]:
    answer = await archive.get(path, headers=JSON)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    found: list[dict[str, object]] = answer.json()
    return found


async def test_the_study_list_has_what_its_columns_show(filled: Archive) -> None:
    studies = await listed(filled, f"/studies?{LIST}")
    assert len(studies) == 2
    for study in studies:
        for keyword in (
            "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "StudyDescription",
            "PatientName", "PatientID", "PatientBirthDate", "ReferringPhysicianName", "NumberOfStudyRelatedInstances",
        ):  # fmt: skip
            tag = parse_tag(keyword)
            assert f"{tag:08X}" in study, keyword


FILTERS = {
    "PatientName=*jane*": 2,
    "PatientName=*nobody*": 0,
    "00100020=*P00002*": 1,
    "AccessionNumber=*A00001*": 1,
    "StudyDescription=*x*": 0,
    "ModalitiesInStudy=CT": 2,
    "StudyDate=20240101-20240201": 2,
    "StudyDate=20240201-20240301": 0,
    f"StudyInstanceUID={UID}.1": 1,
    f"StudyInstanceUID={UID}.1%5C{UID}.2": 2,
    "00100020=P00001": 1,
}


async def test_filters_of_the_study_list_filter(filled: Archive) -> None:
    for condition, count in FILTERS.items():
        assert len(await listed(filled, f"/studies?{LIST}&{condition}")) == count, condition


@pytest.mark.parametrize("identifier", ["A*b? c", "*", "what?", "two  blanks", "50%&more=1", "Ä#1"])
async def test_prior_studies_are_found_by_an_identifier_of_any_characters(archive: Archive, identifier: str) -> None:
    await archive.store(part10(identified(PatientID=identifier)), part10(identified(study=2, PatientID="other")))
    (study,) = await listed(archive, f"/studies?StudyInstanceUID={UID}.1")
    (sent,) = values_of(study, "00100020")
    priors = await listed(archive, f"/studies?00100020={quote(sent, safe='')}&{LIST}")
    assert f"{UID}.1" in [values_of(prior, "0020000D")[0] for prior in priors]
    assert len(priors) == 1 or identifier == "*"


async def test_an_identifier_with_a_backslash_finds_nothing_and_breaks_nothing(archive: Archive) -> None:
    # DICOM reads two values there, and the viewer asks for one with a backslash inside.
    await archive.store(part10(identified(PatientID="a\\b")))
    assert await listed(archive, f"/studies?00100020=a%5Cb&{LIST}") == []
    assert len(await listed(archive, f"/studies?00100020=a&{LIST}")) == 1


async def test_the_first_page_of_the_study_list_holds_101_studies(archive: Archive) -> None:
    answer = await archive.store(*(part10(identified(study=number)) for number in range(1, 104)))
    assert answer.status_code == 200
    assert len(await listed(archive, f"/studies?{LIST}")) == 101
    assert len(await listed(archive, f"/studies?{LIST.replace('offset=0', 'offset=101')}")) == 2


async def test_an_empty_list_is_no_error(archive: Archive) -> None:
    for path in (
        f"/studies?{LIST}",
        f"/studies?{LIST}&StudyInstanceUID=1.2.3",
        f"{STUDY}/series?includefield=00080021",
    ):
        assert await listed(archive, path) == []


async def test_series_are_listed_with_their_fields(filled: Archive) -> None:
    for fields in ("0008103E%2C00080021", "00080021%2C00080031%2C0008103E%2C00200011"):
        series = await listed(filled, f"{STUDY}/series?includefield={fields}")
        assert {values_of(each, "00080060")[0] for each in series} >= {"CT"}
        for each in series:
            assert {"0020000E", "00080060", "00200011", "0008103E", "00201209"} <= set(each)


async def test_metadata_of_all_series_at_once_are_whole(filled: Archive) -> None:
    series = await listed(filled, f"{STUDY}/series")
    paths = [f"{STUDY}/series/{values_of(each, '0020000E')[0]}/metadata" for each in series]
    documents = await asyncio.gather(*(listed(filled, path) for path in paths))
    assert sorted(map(len, documents)) == [1, 1, 3]
    assert all(values_of(document, "00080016") for found in documents for document in found)


async def test_metadata_go_out_gzipped_to_those_who_take_it(filled: Archive) -> None:
    answer = await filled.get(f"{SERIES}/metadata", headers={**JSON, "accept-encoding": "gzip, deflate, br"})
    assert answer.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["vary"]
    plain = await filled.get(f"{SERIES}/metadata", headers={**JSON, "accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == answer.json()


async def test_25_frames_in_flight_each_come_with_their_own_pixels(filled: Archive) -> None:
    paths = [f"{SERIES}/instances/{UID}.1.1.{1 + number % 3}/frames/1" for number in range(25)]
    answers = await asyncio.gather(*(filled.get(path, headers=FRAME) for path in paths))
    for number, answer in enumerate(answers):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
        assert answer.content == pixels(16, 16, seed=1 + number % 3)


async def test_frames_come_as_parts_to_viewers_set_up_elsewhere(filled: Archive) -> None:
    answer = await filled.get(f"{INSTANCE}/frames/1", headers=FRAME_ELSEWHERE)
    assert answer.content.startswith(b"--")
    assert b"\r\nContent-Type: application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1\r\n" in answer.content
    ((_, body),) = parts_of(answer)
    assert body == pixels(16, 16, seed=1)


async def test_a_compressed_frame_comes_as_stored_and_names_its_syntax(archive: Archive) -> None:
    stored = read(bundled("MR_small_jp2klossless.dcm"))
    await archive.store(bundled("MR_small_jp2klossless.dcm"))
    path = f"/studies/{stored.StudyInstanceUID}/series/{stored.SeriesInstanceUID}/instances/{stored.SOPInstanceUID}"
    single = await archive.get(f"{path}/frames/1", headers=FRAME)
    assert single.headers["content-type"].endswith(f"; transfer-syntax={JPEG2000Lossless}")
    assert single.content in stored.PixelData
    assert single.content.startswith(b"\xff\x4f\xff\x51")
    answer = await archive.get(f"{path}/frames/1", headers=FRAME_ELSEWHERE)
    ((headers, body),) = parts_of(answer)
    assert f"transfer-syntax={JPEG2000Lossless}" in headers["content-type"]
    # The viewer reads no other spelling of the field's name, and takes the first part's from the first line on.
    assert re.match(rb"--[^\r\n]+\r\nContent-Type: [a-z]+/[a-z0-9-]+; ?transfer-syntax=1\.2\.", answer.content)
    assert body == single.content


async def test_a_segmentation_is_fetched_whole(filled: Archive) -> None:
    path = f"{STUDY}/series/{UID}.1.2/instances/{UID}.1.2.1"
    answer = await filled.get(path, headers={"accept": 'multipart/related; type="application/dicom"'})
    ((headers, body),) = parts_of(answer)
    assert headers["content-type"].startswith("application/dicom")
    assert body == segmentation()


@pytest.mark.parametrize("accept", ["*/*", "application/octet-stream", "application/octet-stream, */*;q=0.1", None])
async def test_a_document_is_fetched_where_metadata_say(filled: Archive, accept: str | None) -> None:
    path = f"{STUDY}/series/{UID}.1.3/instances/{UID}.1.3.1"
    (document,) = await listed(filled, f"{path}/metadata")
    element = document["00420011"]
    assert isinstance(element, dict)
    answer = await filled.client.get(element["BulkDataURI"], headers={"accept": accept} if accept else None)
    assert answer.status_code == 200
    is_multipart = answer.headers["content-type"].startswith("multipart/")
    body = parts_of(answer)[0][1] if is_multipart else answer.content
    assert body == b"%PDF-1.4" + bytes(20_000)


AS_A_BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize("accept", [AS_A_BROWSER, "*/*", "application/pdf"])
@pytest.mark.parametrize(
    "path", ["rendered", "rendered?accept=application/pdf", "bulkdata/00420011?accept=application/pdf"]
)
async def test_a_document_opens_as_what_it_is(filled: Archive, path: str, accept: str) -> None:
    answer = await filled.get(f"{STUDY}/series/{UID}.1.3/instances/{UID}.1.3.1/{path}", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content == b"%PDF-1.4" + bytes(20_000)
    again = await filled.get(
        f"{STUDY}/series/{UID}.1.3/instances/{UID}.1.3.1/{path}",
        headers={"accept": accept, "if-none-match": answer.headers["etag"]},
    )
    assert again.status_code == 304


async def test_a_short_document_and_one_without_bytes(archive: Archive) -> None:
    short, empty = (identified(series=3, instance=number, sop_class=PDF_STORAGE) for number in (1, 2))
    short.EncapsulatedDocument = b"%PDF-1.4 tiny "
    await archive.store(part10(short), part10(empty))
    instances = f"{STUDY}/series/{UID}.1.3/instances"
    answer = await archive.get(f"{instances}/{UID}.1.3.1/rendered", headers={"accept": AS_A_BROWSER})
    assert (answer.status_code, answer.content) == (200, b"%PDF-1.4 tiny ")
    assert (await archive.get(f"{instances}/{UID}.1.3.2/rendered")).status_code == 404
    assert (await archive.get(f"{instances}/{UID}.1.3.1/thumbnail")).status_code == 404
    assert (await archive.get(f"{instances}/{UID}.1.3.1/rendered", headers={"accept": "image/png"})).status_code == 406


async def test_a_video_is_one_part_that_a_player_takes(archive: Archive) -> None:
    movie = bytes(range(256)) * 40
    dataset = image(NumberOfFrames=30, Modality="ES", SamplesPerPixel=3, PhotometricInterpretation="YBR_PARTIAL_420")
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.PixelData = encapsulate([movie], has_bot=False)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    assert (await archive.store(part10(dataset, MPEG4HP41))).status_code == 200
    (document,) = await listed(archive, f"{INSTANCE}/metadata")
    element = document["7FE00010"]
    assert isinstance(element, dict)
    answer = await archive.client.get(f"{element['BulkDataURI']}?accept=video/mp4", headers={"accept": "*/*"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("video/mp4")
    assert answer.content == movie
    assert (await archive.get(f"{SERIES}/thumbnail")).status_code == 404


async def test_small_pictures_are_rendered(filled: Archive) -> None:
    answer = await filled.get(f"{INSTANCE}/rendered?viewport=256%2C256", headers={"accept": "image/jpeg"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content.startswith(b"\xff\xd8")
    assert (await filled.get(f"{INSTANCE}/rendered", headers={"accept": AS_A_BROWSER})).status_code == 200
    thumbnail = await filled.get(f"{INSTANCE}/thumbnail?viewport=256%2C256", headers={"accept": "image/jpeg"})
    assert thumbnail.status_code == 200
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert thumbnail.content.startswith(b"\xff\xd8")


async def test_an_upload_is_spelled_with_quotes_and_takes_any_answer(archive: Archive) -> None:
    (instance,) = ct_series(1)
    body = b"--uuid\r\nContent-Type: application/dicom\r\n\r\n" + instance + b"\r\n--uuid--"
    content_type = 'multipart/related; type="application/dicom"; boundary="uuid"'
    answer = await archive.post(body, content_type=content_type, headers={"accept": "*/*"})
    assert answer.status_code == 200
    assert values_of(answer.json(), "00081199")


async def test_uploads_say_what_became_of_them_by_their_status(archive: Archive) -> None:
    good, other, bad = *ct_series(2), b"no instance"
    assert (await archive.store(good)).status_code == 200
    mixed = await archive.store(other, bad)
    assert mixed.status_code == 202
    assert values_of(mixed.json(), "00081199")
    refused = await archive.store(part10(identified(PatientID="changed")))
    assert refused.status_code == 409
    assert values_of(refused.json(), "00081198")


async def test_a_page_of_another_origin_may_ask_before_it_asks(start_archive: StartArchive) -> None:
    async with start_archive(cors_origins="https://viewer.example") as archive:
        asked = {
            "origin": "https://viewer.example",
            "access-control-request-method": "GET",
            "access-control-request-headers": "accept,authorization",
        }
        for path in ("/dicom-web/studies", f"/dicom-web{INSTANCE}", "/dicom-web"):
            answer = await archive.client.options(path, headers=asked)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == "https://viewer.example"
        stranger = await archive.client.options(
            "/dicom-web/studies", headers={**asked, "origin": "https://evil.example"}
        )
        assert stranger.status_code == 400
        assert "access-control-allow-origin" not in stranger.headers


async def test_options_are_never_an_error_of_ours(archive: Archive) -> None:
    for path in ("/dicom-web", "/dicom-web/"):
        assert (await archive.client.options(path)).status_code == 200
    for path in ("/", "/dicom-web/studies", f"/dicom-web{INSTANCE}"):
        assert (await archive.client.options(path)).status_code in (404, 405)
