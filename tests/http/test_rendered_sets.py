"""Several rendered pictures in one answer: studies, series, frames, animations (PS3.18 10.4.1.1.3)."""

import io
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from PIL import Image, ImageSequence
from pydicom.uid import EncapsulatedPDFStorage, RTPlanStorage
from tests.factories import ROOT as UID
from tests.factories import ct_series, encapsulated, identified, image, part10
from tests.http.archive import ROOT, Archive, parts_of

STUDY = f"/studies/{UID}.1"
SERIES = f"{STUDY}/series/{UID}.1.1"
BASE = f"http://archive.example{ROOT}"
MPEG4 = "1.2.840.10008.1.2.4.102"

# One archive for the module, because its decoding process takes long to start.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def archive(emptied_archive: Archive) -> Archive:
    """An open archive that is empty when a test begins."""
    return emptied_archive


def instance_path(series: int, instance: int) -> str:
    return f"{STUDY}/series/{UID}.1.{series}/instances/{UID}.1.{series}.{instance}"


def several(frames: int = 3, **overrides: Any) -> bytes:
    """Return an image of frames that differ."""
    values = np.stack([np.full((16, 16), 1000 + 20 * number, "<u2") for number in range(frames)])
    return part10(image(NumberOfFrames=frames, PixelData=values.tobytes(), FrameTime="250", **overrides))


def document(**overrides: Any) -> bytes:
    dataset = identified(sop_class=EncapsulatedPDFStorage, **overrides)
    dataset.EncapsulatedDocument = b"%PDF-1.7".ljust(2000)
    return part10(dataset)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def locations(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [headers["content-location"].removeprefix(BASE) for headers, _ in parts_of(answer)]


async def test_a_study_is_shown_part_by_part_and_each_part_can_be_had_alone(archive: Archive) -> None:
    plan = part10(identified(sop_class=RTPlanStorage, series=3, instance=1))
    await archive.store(*ct_series(2), several(series=2), document(series=4, instance=1), plan)
    answer = await archive.get(f"{STUDY}/rendered")
    assert answer.headers["content-type"].startswith('multipart/related; type="image/jpeg"; boundary=')
    assert answer.headers["content-location"] == f"{BASE}{STUDY}/rendered"
    assert "1 of 5 instances cannot be shown as asked for and are left out." in answer.headers["warning"]
    frames = [f"{instance_path(2, 1)}/frames/{number}/rendered" for number in (1, 2, 3)]
    singles = [f"{instance_path(1, number)}/rendered" for number in (1, 2)]
    pdf = f"{instance_path(4, 1)}/rendered"
    assert sorted(locations(answer)) == sorted([*singles, *frames, pdf])
    for headers, data in parts_of(answer):
        alone = await archive.get(headers["content-location"].removeprefix(BASE))
        assert (alone.headers["content-type"], alone.content) == (headers["content-type"], data)
        assert headers["content-length"] == str(len(data))
    head = await archive.client.head(f"{ROOT}{STUDY}/rendered")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["warning"] == answer.headers["warning"]


async def test_a_series_is_shown_as_asked_for(archive: Archive) -> None:
    plan = part10(identified(sop_class=RTPlanStorage, series=3, instance=1))
    await archive.store(*ct_series(1), several(instance=2), document(series=2, instance=1), plan)
    png = 'multipart/related; type="image/png"'
    answer = await archive.get(f"{SERIES}/rendered?viewport=8,8", headers={"accept": png})
    assert "warning" not in answer.headers
    shown = [opened(data) for _, data in parts_of(answer)]
    assert [(picture.format, picture.size) for picture in shown] == [("PNG", (8, 8))] * 4
    # An image of many frames is one animation, not many.
    animated = await archive.get(f"{SERIES}/rendered", headers={"accept": 'multipart/related; type="image/gif"'})
    assert [getattr(opened(data), "n_frames", 1) for _, data in parts_of(animated)] == [1, 3]
    # Single payloads mean nothing to what has several, and each instance is had as what it is.
    refused = await archive.get(f"{SERIES}/rendered", headers={"accept": "image/jpeg"})
    assert refused.status_code == 406
    assert 'multipart/related; type="image/jpeg"' in refused.json()["available"]
    outside = await archive.get(f"{SERIES}/rendered?viewport=8,8,500,0")
    assert outside.status_code == 400
    assert "viewport" in outside.text
    assert (await archive.get(f"{STUDY}/series/{UID}.1.3/rendered")).status_code == 404
    assert (await archive.get(f"{STUDY}/series/{UID}.1.9/rendered")).status_code == 404
    profile = await archive.get(
        f"{SERIES}/rendered?iccprofile=srgb", headers={"accept": 'multipart/related; type="image/gif"'}
    )
    assert profile.status_code == 400
    assert "iccprofile" in profile.text


async def test_frames_are_shown_in_the_order_asked_for(archive: Archive) -> None:
    await archive.store(several())
    path = instance_path(1, 1)
    answer = await archive.get(f"{path}/frames/3,1/rendered?window=-4,60,linear-exact")
    assert locations(answer) == [f"{path}/frames/3/rendered", f"{path}/frames/1/rendered"]
    third, first = (np.asarray(opened(data)) for _, data in parts_of(answer))
    assert third.mean() > first.mean() + 100
    one = await archive.get(f"{path}/frames/2/rendered", headers={"accept": 'multipart/related; type="image/png"'})
    assert locations(one) == [f"{path}/frames/2/rendered"]
    refused = await archive.get(f"{path}/frames/1,2/rendered", headers={"accept": "image/png"})
    assert refused.status_code == 406
    assert (await archive.get(f"{path}/frames/1,4/rendered")).status_code == 404
    assert (await archive.get(f"{path}/frames/2,2/rendered")).status_code == 400


async def test_an_image_of_many_frames_is_its_first_frame_all_of_them_or_an_animation(archive: Archive) -> None:
    await archive.store(several())
    path = instance_path(1, 1)
    plain = await archive.get(f"{path}/rendered")
    first = await archive.get(f"{path}/frames/1/rendered")
    assert (plain.headers["content-type"], plain.content) == ("image/jpeg", first.content)
    parts = await archive.get(f"{path}/rendered", headers={"accept": 'multipart/related; type="image/jpeg"'})
    assert locations(parts) == [f"{path}/frames/{number}/rendered" for number in (1, 2, 3)]
    animated = await archive.get(f"{path}/rendered?window=-4,60,linear-exact", headers={"accept": "image/gif"})
    assert animated.headers["content-type"] == "image/gif"
    with opened(animated.content) as film:
        shown = [
            (frame.info["duration"], np.asarray(frame.convert("L")).mean()) for frame in ImageSequence.Iterator(film)
        ]
        assert film.info["loop"] == 0
    assert [duration for duration, _ in shown] == [250] * 3
    assert shown[0][1] + 50 < shown[1][1] < shown[2][1] - 50
    again = await archive.get(
        f"{path}/rendered?window=-4,60,linear-exact",
        headers={"accept": "image/gif", "if-none-match": animated.headers["etag"]},
    )
    assert again.status_code == 304
    film = await archive.get(f"{path}/rendered", headers={"accept": "video/mp4"})
    assert film.status_code == 406
    assert "image/gif" in film.json()["available"]


async def test_a_stored_video_is_shown_as_what_a_player_takes(archive: Archive) -> None:
    film = bytes(range(256)) * 8
    await archive.store(encapsulated([film], transfer_syntax=MPEG4), *ct_series(1, series=2))
    path = f"{instance_path(1, 1)}/rendered"
    answer = await archive.get(path)
    assert (answer.headers["content-type"], answer.content) == ("video/mp4", film)
    assert "warning" not in answer.headers
    unscaled = await archive.get(f"{path}?viewport=8,8")
    assert unscaled.content == film
    assert "parameters of pictures have been ignored" in unscaled.headers["warning"]
    piece = await archive.get(path, headers={"range": "bytes=256-258"})
    assert (piece.status_code, piece.content) == (206, b"\x00\x01\x02")
    assert (await archive.get(path, headers={"accept": "image/jpeg"})).status_code == 406
    assert (await archive.get(f"{instance_path(1, 1)}/frames/1/rendered")).status_code == 406
    types = [headers["content-type"] for headers, _ in parts_of(await archive.get(f"{STUDY}/rendered"))]
    assert sorted(types) == ["image/jpeg", "video/mp4"]


async def test_a_head_of_rendered_says_what_a_picture_would_be_and_draws_none(archive: Archive) -> None:
    await archive.store(*ct_series(1))
    path = f"{instance_path(1, 1)}/rendered"
    head = await archive.client.head(ROOT + path)
    # Only drawing would tell the length.
    assert "content-length" not in head.headers
    assert (head.status_code, head.content) == (200, b"")
    got = await archive.get(path)
    for name in ("content-type", "etag", "cache-control", "content-location"):
        assert head.headers[name] == got.headers[name]


async def test_what_cannot_be_shown_is_left_out_and_said_to_be(archive: Archive) -> None:
    lying = part10(image(instance=2, NumberOfFrames=2**31 - 1))
    unknown = encapsulated([b"\xff\xd8"], instance=4, transfer_syntax="1.2.840.10008.1.2.4.92")
    await archive.store(*ct_series(1), lying, unknown, part10(image(series=2, NumberOfFrames=2**31 - 1)))
    assert (await archive.get(f"{STUDY}/series/{UID}.1.2/rendered")).status_code == 404
    answer = await archive.get(f"{SERIES}/rendered")
    assert locations(answer) == [f"{instance_path(1, 1)}/rendered"]
    assert "2 of 3 instances" in answer.headers["warning"]
    many = {"accept": 'multipart/related; type="image/jpeg"'}
    assert (await archive.get(f"{instance_path(1, 2)}/rendered", headers=many)).status_code == 406


async def test_a_damaged_picture_says_so_in_its_place_and_the_others_come(archive: Archive) -> None:
    broken = encapsulated([b"\xff\xd8 no picture at all"] * 2, instance=2)
    await archive.store(part10(image(instance=1)), broken, part10(image(instance=3)))
    for path, accept in ((SERIES, "*/*"), (instance_path(1, 2), 'multipart/related; type="image/jpeg"')):
        answer = await archive.get(f"{path}/rendered", headers={"accept": accept})
        places = locations(answer)
        damaged = [f"{instance_path(1, 2)}/frames/{number}/rendered" for number in (1, 2)]
        assert set(places) >= set(damaged)
        assert len(places) == (4 if path == SERIES else 2)
        for place, (headers, data) in zip(places, parts_of(answer), strict=True):
            assert headers["content-length"] == str(len(data))
            if place in damaged:
                assert headers["content-type"] == "application/problem+json"
                assert orjson.loads(data)["type"].endswith(":undecodable")
                assert (await archive.get(place)).status_code == 406
            else:
                assert opened(data).format == "JPEG"
    # One animation cannot go on without a frame. The transport of the tests says so of an answer that never ended.
    with pytest.raises(AssertionError):
        await archive.get(
            f"{SERIES}/rendered?viewport=400,400", headers={"accept": 'multipart/related; type="image/gif"'}
        )


async def test_attributes_that_describe_no_image_withhold_no_other_of_the_series(archive: Archive) -> None:
    nothing = encapsulated([b"\xff\xd8", b"\xff\xd8"], instance=2, Rows=0, Columns=0)
    await archive.store(*ct_series(1), nothing)
    for query in ("", "?viewport=8,8"):
        answer = await archive.get(f"{SERIES}/rendered{query}")
        assert locations(answer) == [f"{instance_path(1, 1)}/rendered"], query
        assert "1 of 2 instances" in answer.headers["warning"]
        assert (await archive.get(f"{instance_path(1, 2)}/rendered{query}")).status_code == 406
