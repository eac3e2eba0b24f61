"""Rendered resources over HTTP, from every kind of stored pixels."""

import io

import numpy as np
import pytest
from PIL import Image
from tests.http.archive import Archive
from tests.pydicom_files import bundled, read

# One archive for the module, because its decoding process takes long to start.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def archive(emptied_archive: Archive) -> Archive:
    """An open archive that is empty when a test begins."""
    return emptied_archive


async def store_file(archive: Archive, name: str) -> str:
    """Store one of pydicom's own files and return the instance's path."""
    data = bundled(name)
    answer = await archive.store(data)
    assert answer.status_code in (200, 202), answer.text
    instance = read(data)
    return (
        f"/studies/{instance.StudyInstanceUID}/series/{instance.SeriesInstanceUID}/instances/{instance.SOPInstanceUID}"
    )


def shown(answer) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


async def test_the_instances_window_is_applied_as_pydicom_applies_it(archive):
    path = await store_file(archive, "CT_small.dcm")
    picture = shown(await archive.get(path + "/rendered?window=0,1000,linear", headers={"accept": "image/png"}))
    original = read(bundled("CT_small.dcm"))
    values = original.pixel_array * float(original.RescaleSlope) + float(original.RescaleIntercept)
    expected = np.clip(((values + 0.5) / 999 + 0.5) * 255, 0, 255)
    assert np.abs(np.asarray(picture) - expected).max() <= 1


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "image_dfl.dcm",
        "SC_rgb_jpeg_gdcm.dcm", "SC_ybr_full_422_uncompressed.dcm", "examples_palette.dcm", "liver_1frame.dcm",
        "rtdose_1frame.dcm",
    ],
)  # fmt: skip
async def test_each_kind_of_pixels_makes_a_picture_of_its_size(archive, name):
    path = await store_file(archive, name)
    picture = shown(await archive.get(path + "/rendered"))
    header = read(bundled(name))
    assert picture.format == "JPEG"
    assert picture.size == (header.Columns, header.Rows)


async def test_a_frame_of_many_is_chosen_by_its_number(archive):
    path = await store_file(archive, "rtdose.dcm")
    first, last = [
        np.asarray(shown(await archive.get(f"{path}/frames/{number}/rendered", headers={"accept": "image/png"})))
        for number in (1, 15)
    ]
    assert not np.array_equal(first, last)
    assert (await archive.get(f"{path}/frames/16/rendered")).status_code == 404


async def test_viewport_and_media_type_are_obeyed(archive):
    path = await store_file(archive, "CT_small.dcm")
    picture = shown(await archive.get(path + "/rendered?viewport=32,64", headers={"accept": "image/gif"}))
    assert (picture.format, picture.size) == ("GIF", (32, 32))


@pytest.mark.parametrize(
    "query",
    ["window=1,2", "viewport=0,1", "viewport=100000,1", "quality=0", "viewport=8,8,500,0,1,1", "window=nan,1,linear"],
)
async def test_parameters_that_break_their_grammar_are_refused(archive, query):
    path = await store_file(archive, "CT_small.dcm")
    assert (await archive.get(f"{path}/rendered?{query}")).status_code == 400


async def test_what_has_no_pixels_has_no_picture(archive):
    path = await store_file(archive, "rtplan.dcm")
    assert (await archive.get(path + "/rendered")).status_code == 404


async def test_a_media_type_that_is_no_picture_is_not_acceptable(archive):
    path = await store_file(archive, "CT_small.dcm")
    assert (await archive.get(path + "/rendered", headers={"accept": "text/html"})).status_code == 406


async def test_text_and_a_colour_profile_are_added_when_asked_for(archive, caplog):
    path = await store_file(archive, "CT_small.dcm")
    picture = shown(
        await archive.get(path + "/rendered?annotation=patient,technique&iccprofile=adobergb&viewport=512,512")
    )
    assert b"Adobe RGB" in picture.info["icc_profile"]
    plain = shown(await archive.get(path + "/rendered?viewport=512,512")).convert("RGB")
    differs = np.abs(np.asarray(picture.convert("RGB")).astype(int) - np.asarray(plain)).max(axis=2) > 100
    assert differs[:150, :200].any()
    assert differs[-150:, -200:].any()
    assert not differs[200:300].any()
    assert "CompressedSamples" not in caplog.text


async def test_what_is_asked_for_and_not_done_is_said(archive):
    path = await store_file(archive, "CT_small.dcm")
    answer = await archive.get(path + "/rendered?presentationUID=1.2")
    assert answer.status_code == 200
    assert "The parameter presentationUID is not supported and has been ignored." in answer.headers["warning"]
    assert "warning" not in (await archive.get(path + "/rendered?quality=50&annotation=patient&charset=utf-8")).headers
    for query in ("annotation=doctor", "quality=50&quality=60", "iccprofile=cmyk", "annotation=", "charset=latin-1"):
        assert (await archive.get(f"{path}/rendered?{query}")).status_code == 400
    answer = await archive.get(f"{path}/rendered?iccprofile=yes", headers={"accept": "image/gif"})
    assert answer.status_code == 400
