"""Thumbnails over HTTP: which picture stands for what, how it is made, and that it is made once."""

import asyncio
import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from tests.factories import ROOT as UID
from tests.factories import ct_series, identified, image, part10
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.http.test_rendered import store_file

STUDY = f"/studies/{UID}.1"
SERIES = f"{STUDY}/series/{UID}.1.1"
INSTANCE = f"{SERIES}/instances/{UID}.1.1.1"
PNG = {"accept": "image/png"}
SEGMENTATION, SLIDE, REPORT = (
    "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.77.1.6", "1.2.840.10008.5.1.4.1.1.88.11",
)  # fmt: skip


def grey(value: int, **overrides: Any) -> bytes:
    """An instance that is shown in one grey, so that a picture tells which one it is of."""
    dataset = image(PixelData=np.full(256, value, "<u2").tobytes(), **overrides)
    dataset.RescaleIntercept, dataset.WindowCenter, dataset.WindowWidth = "0", "128", "256"
    dataset.VOILUTFunction = "LINEAR_EXACT"
    return part10(dataset)


def seen(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


async def grey_at(archive: Archive, path: str) -> int:
    """Return the grey of a thumbnail's first pixel."""
    return int(np.asarray(seen(await archive.get(f"{path}/thumbnail", headers=PNG)).convert("L"))[0, 0])


async def test_every_level_has_a_thumbnail(archive: Archive) -> None:
    await archive.store(*ct_series(3))
    for path in (STUDY, SERIES, INSTANCE, f"{INSTANCE}/frames/1"):
        answer = await archive.get(f"{path}/thumbnail")
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["cache-control"].startswith("private")
        assert answer.headers["vary"] == "Accept"
        assert seen(answer).size == (16, 16)


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif"])
async def test_the_format_is_negotiated_by_header_and_parameter(archive: Archive, kind: str) -> None:
    await archive.store(*ct_series(1))
    by_header = await archive.get(f"{STUDY}/thumbnail", headers={"accept": f"image/{kind}"})
    by_parameter = await archive.get(f"{STUDY}/thumbnail?accept=image/{kind}", headers={"accept": "*/*"})
    for answer in (by_header, by_parameter):
        assert answer.headers["content-type"] == f"image/{kind}"
        assert seen(answer).format == kind.upper()
    assert (await archive.get(f"{STUDY}/thumbnail", headers={"accept": "application/dicom"})).status_code == 406


async def test_a_viewport_is_fitted_and_without_one_nothing_is_enlarged(archive: Archive) -> None:
    await archive.store(part10(image(rows=512, columns=1024)), part10(image(instance=2, series=2)))
    assert seen(await archive.get(f"{SERIES}/thumbnail")).size == (256, 128)
    assert seen(await archive.get(f"{SERIES}/thumbnail?viewport=64%2C64")).size == (64, 32)
    small = f"{STUDY}/series/{UID}.1.2"
    assert seen(await archive.get(f"{small}/thumbnail")).size == (16, 16)
    assert seen(await archive.get(f"{small}/thumbnail?viewport=64,64")).size == (64, 64)


async def test_a_region_and_bad_viewports_are_refused_and_other_parameters_warned_of(archive: Archive) -> None:
    await archive.store(*ct_series(1))
    for viewport in ("64,64,0,0,8,8", "64", "0,64", "100000,1", "64,64,", "a,b"):
        assert (await archive.get(f"{STUDY}/thumbnail?viewport={viewport}")).status_code == 400
    assert (await archive.get(f"{STUDY}/thumbnail?viewport=8,8&viewport=9,9")).status_code == 400
    answer = await archive.get(f"{STUDY}/thumbnail?window=1,2,linear&annotation=patient")
    assert answer.status_code == 200
    assert len(answer.headers.get_list("warning")) == 2
    assert "warning" not in (await archive.get(f"{STUDY}/thumbnail?viewport=8,8")).headers


async def test_a_series_is_shown_by_the_instance_in_its_middle(archive: Archive) -> None:
    numbers = [5, 1, 4, 2, 3]
    instances = [grey(40 * n, instance=10 + place, InstanceNumber=n) for place, n in enumerate(numbers)]
    await archive.store(*instances[:3])
    await archive.store(*instances[3:])
    assert abs(await grey_at(archive, SERIES) - 120) <= 1
    assert abs(await grey_at(archive, STUDY) - 120) <= 1


async def test_a_study_is_shown_by_its_first_series_that_shows_the_patient(archive: Archive) -> None:
    localizer = grey(10, series=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    mask = grey(20, series=2, SOPClassUID=SEGMENTATION, Modality="SEG")
    report = part10(identified(series=3, sop_class=REPORT, Modality="SR"))
    await archive.store(report)
    missing = await archive.get(f"{STUDY}/thumbnail")
    assert missing.status_code == 404
    assert "nothing in this study is an image" in missing.json()["detail"]
    await archive.store(mask)
    assert abs(await grey_at(archive, STUDY) - 20) <= 1
    await archive.store(localizer)
    assert abs(await grey_at(archive, STUDY) - 10) <= 1
    await archive.store(grey(60, series=9), grey(50, series=8, instance=3))
    assert abs(await grey_at(archive, STUDY) - 50) <= 1


async def test_what_has_no_pixels_has_no_thumbnail(archive: Archive) -> None:
    await archive.store(part10(identified(sop_class=REPORT, Modality="SR")))
    for path in (STUDY, SERIES, INSTANCE, f"{INSTANCE}/frames/1"):
        answer = await archive.get(f"{path}/thumbnail?viewport=256%2C256", headers={"accept": "image/jpeg"})
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    for path in ("/studies/1.2.3", f"{STUDY}/series/1.2.3", f"{SERIES}/instances/1.2.3"):
        assert (await archive.get(f"{path}/thumbnail")).status_code == 404
    assert (await archive.get("/studies/nonsense/thumbnail")).status_code == 400


async def test_many_frames_are_shown_by_the_middle_one(archive: Archive) -> None:
    path = await store_file(archive, "rtdose.dcm")
    middle = await archive.get(f"{path}/thumbnail")
    assert middle.content == (await archive.get(f"{path}/frames/8/thumbnail")).content
    assert middle.content != (await archive.get(f"{path}/frames/1/thumbnail")).content
    assert (await archive.get(f"{path}/frames/16/thumbnail")).status_code == 404
    assert (await archive.get(f"{path}/frames/1,2/thumbnail")).status_code == 400


async def test_a_segmentation_is_shown_as_white_on_black(archive: Archive) -> None:
    path = await store_file(archive, "liver_1frame.dcm")
    pixels = np.asarray(seen(await archive.get(f"{path}/thumbnail", headers=PNG)))
    assert {int(pixels.min()), int(pixels.max())} == {0, 255}


def level(value: int, flavour: str, width: int, number: int) -> bytes:
    return grey(
        value, instance=number, SOPClassUID=SLIDE, Modality="SM", TotalPixelMatrixColumns=width,
        ImageType=["DERIVED", "PRIMARY", flavour, "RESAMPLED"],
    )  # fmt: skip


async def test_a_slide_is_shown_by_its_lowest_resolution_and_never_by_its_label(archive: Archive) -> None:
    await archive.store(level(10, "LABEL", 16, 1), level(20, "OVERVIEW", 16, 2))
    assert (await archive.get(f"{SERIES}/thumbnail")).status_code == 404
    await archive.store(level(30, "VOLUME", 40_000, 3), level(40, "VOLUME", 500, 4))
    assert abs(await grey_at(archive, SERIES) - 40) <= 1
    await archive.store(level(50, "THUMBNAIL", 700, 5))
    assert abs(await grey_at(archive, SERIES) - 50) <= 1


async def test_instances_without_pixels_and_video_are_passed_over(archive: Archive) -> None:
    without = image(instance=2)
    del without.PixelData
    await archive.store(grey(10, instance=1), part10(without), grey(30, instance=3, Rows=16))
    assert await grey_at(archive, SERIES) in (9, 10, 11, 29, 30, 31)


async def test_a_client_that_has_the_thumbnail_is_told_so(archive: Archive) -> None:
    await archive.store(*ct_series(3))
    for path in (f"{STUDY}/thumbnail", f"{INSTANCE}/thumbnail", f"{INSTANCE}/rendered"):
        first = await archive.get(path)
        again = await archive.get(path, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        other = await archive.get(f"{path}?viewport=8,8", headers={"if-none-match": first.headers["etag"]})
        assert other.status_code == 200


async def test_what_is_stored_later_changes_the_thumbnail(archive: Archive) -> None:
    await archive.store(grey(50, instance=1, InstanceNumber=5))
    before = await archive.get(f"{SERIES}/thumbnail", headers=PNG)
    await archive.store(grey(200, instance=2, InstanceNumber=3), grey(200, instance=3, InstanceNumber=4))
    after = await archive.get(f"{SERIES}/thumbnail", headers={**PNG, "if-none-match": before.headers["etag"]})
    assert after.status_code == 200
    assert abs(await grey_at(archive, SERIES) - 200) <= 1


async def test_a_thumbnail_goes_with_what_it_shows(archive: Archive) -> None:
    await archive.store(*ct_series(1))
    for path in (STUDY, SERIES, INSTANCE):
        assert (await archive.get(f"{path}/thumbnail")).status_code == 200
    assert (await archive.client.delete(f"/dicom-web{STUDY}")).status_code == 204
    for path in (STUDY, SERIES, INSTANCE):
        assert (await archive.get(f"{path}/thumbnail")).status_code == 410


async def test_a_thumbnail_that_was_drawn_needs_neither_object_nor_codec_any_more(archive: Archive) -> None:
    await archive.store(*ct_series(3))
    first = await archive.get(f"{STUDY}/thumbnail")
    for path in archive.files():
        path.unlink()
    for path in (STUDY, SERIES, f"{SERIES}/instances/{UID}.1.1.2"):
        assert (await archive.get(f"{path}/thumbnail")).content == first.content
    assert (await archive.get(f"{STUDY}/thumbnail?viewport=8,8")).status_code == 500


async def test_thumbnails_asked_for_at_once_are_the_same(archive: Archive) -> None:
    await archive.store(*ct_series(3))
    answers = await asyncio.gather(*(archive.get(f"{path}/thumbnail") for path in [STUDY, SERIES] * 10))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1


async def test_a_thumbnail_needs_the_role_of_a_reader(start_archive: StartArchive) -> None:
    async with start_archive(api_key="secret-key-of-the-test", anonymous_read=False) as archive:
        key = {"authorization": "Bearer secret-key-of-the-test"}
        await archive.store(*ct_series(1), headers=key)
        for path in (STUDY, SERIES, INSTANCE):
            assert (await archive.get(f"{path}/thumbnail")).status_code == 401
            assert (await archive.get(f"{path}/thumbnail", headers=key)).status_code == 200
            assert (await archive.get(f"{path}/thumbnail")).status_code == 401


async def test_head_says_what_get_would_of_a_thumbnail(archive: Archive) -> None:
    await archive.store(*ct_series(1))
    got = await archive.get(f"{STUDY}/thumbnail")
    head = await archive.client.head(f"/dicom-web{STUDY}/thumbnail")
    for name in ("content-type", "content-length", "etag", "cache-control"):
        assert head.headers[name] == got.headers[name]


async def test_pixels_that_cannot_be_decoded_are_said_to_be_so(archive: Archive) -> None:
    dataset = image()
    dataset.Rows = 4000
    await archive.store(part10(dataset))
    answer = await archive.get(f"{INSTANCE}/thumbnail")
    assert answer.status_code == 406
    assert answer.json()["type"].endswith("undecodable")


async def test_an_enhanced_image_is_shown_by_the_window_of_its_middle_frame(archive: Archive) -> None:
    groups = []
    for number in range(1, 4):
        voi, group = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = str(1000 * number), "10"
        group.FrameVOILUTSequence = [voi]
        groups.append(group)
    dataset = image(NumberOfFrames=3, PixelData=np.full(768, 2500, "<u2").tobytes())
    for keyword in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"):
        delattr(dataset, keyword)
    dataset.PerFrameFunctionalGroupsSequence = groups
    await archive.store(part10(dataset))
    assert await grey_at(archive, SERIES) == 255
    assert await grey_at(archive, f"{INSTANCE}/frames/3") == 0


async def test_a_thumbnail_follows_what_is_deleted_and_stored_again(archive: Archive) -> None:
    await archive.store(*(grey(50 * number, instance=number) for number in (1, 2, 3)))
    middle = f"{SERIES}/instances/{UID}.1.1.2"
    before = {path: await archive.get(f"{path}/thumbnail", headers=PNG) for path in (STUDY, SERIES, middle)}
    assert (await archive.client.delete(f"/dicom-web{middle}")).status_code == 204
    assert (await archive.get(f"{middle}/thumbnail")).status_code == 410
    assert await grey_at(archive, SERIES) != 100
    await archive.store(grey(220, instance=2))
    for path, answer in before.items():
        again = await archive.get(f"{path}/thumbnail", headers={**PNG, "if-none-match": answer.headers["etag"]})
        assert abs(int(np.asarray(seen(again).convert("L"))[0, 0]) - 220) <= 1


async def test_asking_for_the_head_of_a_picture_tells_what_getting_it_would(archive: Archive) -> None:
    await archive.store(*ct_series(1))
    for path in (f"{STUDY}/thumbnail", f"{INSTANCE}/rendered?viewport=8,8,4"):
        whole = await archive.get(path)
        head = await archive.client.head(f"/dicom-web{path}")
        assert (head.status_code, head.content) == (200, b"")
        for name in ("etag", "content-type", "vary", "cache-control"):
            assert head.headers[name] == whole.headers[name]
        # Only drawing tells the length of what is not kept, and nothing is drawn.
        kept = whole.headers["content-length"] if path.endswith("/thumbnail") else None
        assert head.headers.get("content-length") == kept
