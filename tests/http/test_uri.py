"""WADO-URI: one address for any instance, as its file, as a picture, as its document (PS3.18 9)."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import imagecodecs
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from tests.database import TestServer
from tests.factories import encapsulated, identified, image, part10
from tests.http.archive import ROOT, Archive, parts_of
from tests.pydicom_files import bundled, read

from dicomweb_archive.app import create_app
from dicomweb_archive.settings import Settings

# One archive for the module, because its decoding process takes long to start.
pytestmark = pytest.mark.asyncio(loop_scope="module")

Address = dict[str, str]
JPEG_XL = "1.2.840.10008.1.2.4.110"
PNG = {"contentType": "image/png"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def archive(database_server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Archive]:
    name = await database_server.create_database()
    folder: Path = tmp_path_factory.mktemp("wado")
    settings = Settings(
        data_dir=folder,
        database_url=database_server.url_of(name),
        public_url="http://archive.example",
        free_space_watermark_bytes=0,
        decode_workers=1,
        viewer_dir="none",
        job_slots=0,
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://archive.example") as client:
            yield Archive(app, client, settings)
    await database_server.drop_database(name)


async def stored(archive: Archive, data: bytes) -> Address:
    """Store an instance and return the parameters that name it."""
    answer = await archive.store(data)
    assert answer.status_code in (200, 202), answer.text
    instance = read(data)
    uids = (instance.StudyInstanceUID, instance.SeriesInstanceUID, instance.SOPInstanceUID)
    return {"requestType": "WADO", **dict(zip(("studyUID", "seriesUID", "objectUID"), uids, strict=True))}


async def ask(archive: Archive, address: Address, method: str = "GET", **parameters: str) -> httpx.Response:
    headers = {name: parameters.pop(name) for name in ("accept", "range") if name in parameters}
    return await archive.client.request(method, "/wado", params={**address, **parameters}, headers=headers)


def shown(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def path_of(address: Address) -> str:
    return f"/studies/{address['studyUID']}/series/{address['seriesUID']}/instances/{address['objectUID']}"


async def test_a_file_comes_by_its_address_as_by_its_path(archive: Archive) -> None:
    data = bundled("MR_small_RLE.dcm")
    address = await stored(archive, data)
    address["contentType"] = "application/dicom"
    plain = await ask(archive, address)
    assert plain.status_code == 200
    assert plain.headers["content-type"] == f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"
    assert plain.headers["content-location"] == f"http://archive.example{ROOT}{path_of(address)}"
    assert read(plain.content).pixel_array.tobytes() == read(bundled("MR_small.dcm")).pixel_array.tobytes()
    for syntax in (RLELossless, "*"):
        as_stored = await ask(archive, address, transferSyntax=syntax)
        assert as_stored.content == data
        assert as_stored.headers["content-type"] == f"application/dicom; transfer-syntax={RLELossless}"
    etag = as_stored.headers["etag"]
    again = await archive.client.get(
        "/wado", params={**address, "transferSyntax": "*"}, headers={"if-none-match": etag}
    )
    assert (again.status_code, again.content) == (304, b"")
    part = await ask(archive, address, transferSyntax="*", range="bytes=128-131")
    assert (part.status_code, part.content) == (206, b"DICM")
    head = await ask(archive, address, "HEAD", transferSyntax="*")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(data)))


async def test_what_of_a_file_cannot_be_had_is_406_and_never_another_thing(archive: Archive) -> None:
    address = await stored(archive, bundled("CT_small.dcm"))
    address["contentType"] = "application/dicom"
    unsupported = await ask(archive, address, transferSyntax="1.2.840.10008.1.2.4.108")
    assert unsupported.status_code == 406
    anonymous = await ask(archive, address, anonymize="yes")
    assert anonymous.status_code == 406
    assert "does not anonymize" in anonymous.json()["detail"]
    picture = await ask(archive, address, rows="8")
    assert picture.status_code == 400
    assert picture.json()["detail"].startswith("rows ")
    assert (await ask(archive, address, accept="image/jpeg")).status_code == 406


async def test_pictures_are_those_of_the_rendered_resource(archive: Archive) -> None:
    address = await stored(archive, bundled("CT_small.dcm"))
    rendered = await archive.get(f"{path_of(address)}/rendered")
    for parameters in ({}, {"contentType": "image/jpeg"}, {"contentType": "image/jp2, image/jpeg;q=0.1"}):
        answer = await ask(archive, address, **parameters)
        assert answer.content == rendered.content
        assert answer.headers["etag"] == rendered.headers["etag"]
    query = "window=-100,400,linear&viewport=64,32&quality=40"
    described = await ask(
        archive, address, windowCenter="-100", windowWidth="400", columns="64", rows="32", imageQuality="40"
    )
    assert described.content == (await archive.get(f"{path_of(address)}/rendered?{query}")).content
    assert shown(await ask(archive, address, contentType="image/gif")).format == "GIF"
    unchanged = await archive.client.get("/wado", params=address, headers={"if-none-match": rendered.headers["etag"]})
    assert unchanged.status_code == 304
    assert (await ask(archive, address, "HEAD")).content == b""


async def test_a_region_is_cut_out_in_fractions_and_scaled_without_distortion(archive: Archive) -> None:
    pixels = np.arange(24 * 32, dtype="<u2").reshape(24, 32)
    data = image(study=7701, rows=24, columns=32, PixelData=pixels.tobytes())
    address = {**await stored(archive, part10(data)), **PNG, "windowCenter": "384", "windowWidth": "768"}
    whole = np.asarray(shown(await ask(archive, address)))
    assert whole.shape == (24, 32)
    assert (np.asarray(shown(await ask(archive, address, region="0,0,1,1"))) == whole).all()
    middle = shown(await ask(archive, address, region="0.25,0.5,0.75,1"))
    assert (np.asarray(middle) == whole[12:24, 8:24]).all()
    for parameters, size in (
        ({"columns": "64"}, (64, 48)),
        ({"rows": "12"}, (16, 12)),
        ({"columns": "64", "rows": "12"}, (16, 12)),
        ({"columns": "8", "rows": "100", "region": "0.25,0.5,0.75,1"}, (8, 6)),
        ({"rows": "24", "region": "0.25,0.5,0.75,1"}, (32, 24)),
        ({"region": "0.9999,0,1,1"}, (1, 24)),
    ):
        assert shown(await ask(archive, address, **parameters)).size == size, parameters


async def test_a_frame_is_chosen_by_its_number_and_others_are_refused(archive: Archive) -> None:
    address = {**await stored(archive, bundled("rtdose.dcm")), **PNG}
    for number in ("1", "15"):
        by_path = await archive.get(f"{path_of(address)}/frames/{number}/rendered", headers={"accept": "image/png"})
        assert (await ask(archive, address, frameNumber=number)).content == by_path.content
    refused = await ask(archive, address, frameNumber="16")
    assert refused.status_code == 400
    assert "frameNumber" in refused.json()["detail"]


async def test_what_has_no_picture_comes_as_its_document_or_file(archive: Archive) -> None:
    report = identified(study=7702, sop_class="1.2.840.10008.5.1.4.1.1.104.1")
    report.EncapsulatedDocument = b"%PDF-1.4" + bytes(20_000)
    report.MIMETypeOfEncapsulatedDocument = "application/pdf"
    address = await stored(archive, part10(report))
    for parameters in ({}, {"contentType": "application/pdf"}, {"accept": "application/pdf"}):
        document = await ask(archive, address, **parameters)
        assert document.headers["content-type"] == "application/pdf"
        assert document.content == report.EncapsulatedDocument
        assert "warning" not in document.headers
    assert "parameters of pictures have been ignored" in (await ask(archive, address, rows="8")).headers["warning"]
    assert (await ask(archive, address, contentType="image/jpeg")).status_code == 406
    plan = bundled("rtplan.dcm")
    address = await stored(archive, plan)
    assert (await ask(archive, address, accept="*/*")).headers["content-type"].startswith("application/dicom")
    assert (await ask(archive, address, accept="image/png")).status_code == 406


async def test_a_video_comes_as_it_is_stored_and_many_frames_as_an_animation(archive: Archive) -> None:
    stream = bytes(range(256)) * 10
    video = encapsulated([stream], transfer_syntax="1.2.840.10008.1.2.4.102", study=7704)
    address = await stored(archive, video)
    for parameters in ({}, {"contentType": "video/mp4"}):
        answer = await ask(archive, address, **parameters)
        assert (answer.headers["content-type"], answer.content) == ("video/mp4", stream)
    part = await ask(archive, address, contentType="video/mp4", range="bytes=0-9")
    assert (part.status_code, part.content) == (206, stream[:10])
    assert (await ask(archive, address, contentType="image/jpeg")).status_code == 406
    address = await stored(archive, bundled("rtdose.dcm"))
    assert shown(await ask(archive, address, contentType="image/gif")).n_frames == 15
    assert shown(await ask(archive, address, contentType="image/gif", frameNumber="2")).n_frames == 1
    assert shown(await ask(archive, address)).format == "JPEG"
    parts = await ask(archive, address, accept='multipart/related; type="image/png", image/jpeg;q=0.1')
    assert parts.headers["content-type"] == "image/jpeg"


async def test_an_annotation_is_burned_in_as_in_the_rendered_resource(archive: Archive) -> None:
    address = {**await stored(archive, bundled("CT_small.dcm")), **PNG}
    plain = await ask(archive, address)
    for name in ("imageAnnotation", "annotation"):
        annotated = await ask(archive, address, **{name: "patient,technique"})
        assert shown(annotated).size == shown(plain).size
        assert annotated.content != plain.content
        assert "warning" not in annotated.headers


async def test_what_cannot_be_done_to_a_picture_is_refused_or_warned_of(archive: Archive) -> None:
    address = await stored(archive, bundled("CT_small.dcm"))
    state = await ask(archive, address, presentationUID="1.2", presentationSeriesUID="1.3")
    assert state.status_code == 406
    assert "presentation states are not applied" in state.json()["detail"]
    for parameter, value in (("transferSyntax", "1.2.840.10008.1.2"), ("anonymize", "yes")):
        refused = await ask(archive, address, **{parameter: value})
        assert refused.status_code == 400
        assert parameter in refused.json()["detail"]
    warned = await ask(archive, address, charset="ISO-8859-1", overlays="true")
    assert warned.status_code == 200
    assert len(warned.headers.get_list("warning")) == 2
    file = await ask(archive, address, contentType="application/dicom", overlays="true")
    assert len(file.headers.get_list("warning")) == 1


async def test_an_instance_of_another_series_is_not_there(archive: Archive) -> None:
    address = await stored(archive, part10(image(study=7703)))
    for name in ("studyUID", "seriesUID", "objectUID"):
        assert (await ask(archive, {**address, name: "1.2.3"})).status_code == 404
    broken = await ask(archive, {**address, "studyUID": "Doe^Jane"})
    assert broken.status_code == 400
    assert "studyUID" in broken.json()["detail"]
    assert "Doe" not in broken.text
    assert (await ask(archive, {**address, "requestType": "MEGADO"})).status_code == 400
    assert (await archive.client.delete(ROOT + path_of(address))).status_code == 204
    for kind in ("image/jpeg", "application/dicom"):
        assert (await ask(archive, address, contentType=kind)).status_code == 410


async def test_a_report_comes_as_a_page_or_as_lines_by_either_way(archive: Archive) -> None:
    address = await stored(archive, bundled("reportsi.dcm"))
    path = f"{path_of(address)}/rendered"
    page = await archive.get(path)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "sandbox" in page.headers["content-security-policy"]
    assert "<h1>" in page.text
    by_address = await ask(archive, address)
    assert by_address.content == page.content
    lines = await archive.get(path, headers={"accept": "text/plain"})
    assert lines.headers["content-type"] == "text/plain; charset=utf-8"
    assert (await ask(archive, address, contentType="text/plain")).content == lines.content
    assert lines.headers["etag"] != page.headers["etag"]
    again = await archive.get(path, headers={"if-none-match": page.headers["etag"]})
    assert again.status_code == 304
    head = await archive.client.head(ROOT + path)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", page.headers["etag"])
    ignored = await ask(archive, address, rows="8")
    assert "parameters of pictures have been ignored" in ignored.headers["warning"]
    refused = await archive.get(path, headers={"accept": "image/jpeg"})
    assert refused.status_code == 406
    assert refused.json()["available"][0] == "text/html"
    (part,) = parts_of(await archive.get(f"/studies/{address['studyUID']}/rendered"))
    assert part == (
        {
            "content-type": page.headers["content-type"],
            "content-location": f"http://archive.example{ROOT}{path}",
            "content-length": str(len(page.content)),
        },
        page.content,
    )
    assert (await archive.get(f"{path_of(address)}/thumbnail")).status_code == 404


async def test_jpeg_xl_goes_as_it_is_stored_and_decoded(archive: Archive) -> None:
    pixels = np.arange(256, dtype="u1").reshape(16, 16)
    codestream = bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, numthreads=1))
    # pydicom's writer does not know the transfer syntax: UIDs of one length.
    data = encapsulated([codestream], study=7791, transfer_syntax="1.2.840.10008.1.2.4.201")
    data = data.replace(b"1.2.840.10008.1.2.4.201", JPEG_XL.encode())
    path = path_of(await stored(archive, data))
    for accept in (
        'multipart/related; type="image/jxl"',
        f'multipart/related; type="image/jxl"; transfer-syntax={JPEG_XL}',
    ):
        ((headers, frame),) = parts_of(await archive.get(f"{path}/frames/1", headers={"accept": accept}))
        assert headers["content-type"] == f"image/jxl; transfer-syntax={JPEG_XL}"
        assert frame.startswith(codestream)
    decoded = await archive.get(f"{path}/frames/1", headers={"accept": "application/octet-stream"})
    assert decoded.content == pixels.tobytes()
    kept = await archive.get(path, headers={"accept": "application/dicom; transfer-syntax=*"})
    assert (kept.content, kept.headers["content-type"]) == (data, f"application/dicom; transfer-syntax={JPEG_XL}")
    assert (await archive.get(f"{path}/rendered")).status_code == 200
