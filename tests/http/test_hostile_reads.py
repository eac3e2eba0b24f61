"""Reads that are hostile, or of what is: every route behind the key, absurd images, absurd headers."""

import struct
from collections import defaultdict
from typing import Any

import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless
from starlette.routing import Route
from tests.factories import ROOT as UID
from tests.factories import ct_series, image, part10
from tests.http.archive import ROOT, Archive
from tests.http.conftest import StartArchive

from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.routing import PageRoute

INSTANCE = f"/studies/{UID}.1/series/{UID}.1.1/instances/{UID}.1.1.1"
OPEN_TO_ALL = {"/", "/health/live", "/health/ready", "/openapi.json", "/docs", "/redoc"} | {
    "/assets/{name}",  # our own styles and scripts
    "/dicom-web",  # what the services can do
    "/dicom-web/",
    "/favicon.ico",
    "/ohif",  # leads to the address with the slash
    "/ohif/app-config.js",
    "/sign-in",
    "/sign-out",
}

# One archive for the module, because its decoding process takes long to start.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def archive(emptied_archive: Archive) -> Archive:
    """An open archive that is empty when a test begins."""
    return emptied_archive


async def test_every_route_asks_for_the_key_when_reading_needs_it(start_archive: StartArchive) -> None:
    async with start_archive(api_key="secret", anonymous_read=False) as archive:
        stored = await archive.store(*ct_series(1), headers={"authorization": "Bearer secret"})
        assert stored.status_code == 200
        names = {"study": f"{UID}.1", "series": f"{UID}.1.1", "instance": f"{UID}.1.1.1", "path": "7FE00010"}
        names |= {"accession": "default", "submission": "unknown", "name": ""}
        asked = 0
        for route in archive.app.router.routes:
            if not isinstance(route, Route) or route.path in OPEN_TO_ALL or "offline" in route.path:
                continue
            if route.path.startswith("/ohif/") and archive.app.state.services.viewer is None:
                continue
            path = route.path.replace(":path", "").format_map(defaultdict(lambda: "1", names))
            if path.startswith("/docs"):
                continue
            for method in route.methods or ():
                answer = await archive.client.request(method, path, headers={"content-type": "application/dicom"})
                asked += 1
                if isinstance(route, PageRoute) and not isinstance(route, BrowserRoute):
                    assert answer.status_code == 303, (method, path)
                    assert answer.headers["location"].startswith("/sign-in?next="), (method, path)
                    continue
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"].startswith("Bearer")
        assert asked > 30
        metrics = (await archive.client.get("/metrics", headers={"authorization": "Bearer secret"})).text
        assert UID not in metrics


ABSURD: dict[str, tuple[str, dict[str, Any]]] = {
    "huge, native": ("", {"Rows": 65535, "Columns": 65535}),
    "no rows": ("", {"Rows": 0}),
    "no bits": ("", {"BitsAllocated": 0, "BitsStored": 0}),
    "odd bits": ("", {"BitsAllocated": 13}),
    "samples": ("", {"SamplesPerPixel": 65535}),
    "frames": ("", {"NumberOfFrames": str(2**31 - 1)}),
    "huge, random JPEG": (JPEGBaseline8Bit, {"Rows": 65500, "Columns": 65500, "data": b"\xff\xd8" + bytes(range(256))}),
    "small JPEG that is none": (JPEGBaseline8Bit, {"data": b"\xff\xd8\xff\xc0" + bytes(100)}),
    "JPEG 2000 of 2^31": (
        JPEG2000Lossless,
        {
            "data": b"\xff\x4f\xff\x51"
            + struct.pack(">HHIIIIIIIIH", 41, 0, 2**31 - 1, 2**31 - 1, *[0] * 2, 1, 1, 0, 0, 1)
        },
    ),
    "RLE offsets": (RLELossless, {"data": struct.pack("<16I", 15, *[0xFFFFFFF0] * 15) + bytes(64)}),
    "frames that are not there": (RLELossless, {"NumberOfFrames": str(2**31 - 1), "data": bytes(128)}),
    "many fragments": (JPEGBaseline8Bit, {"data": b"\xff\xd8" + bytes(40_000), "fragments": 10_000}),
}


@pytest.mark.parametrize("name", ABSURD)
async def test_absurd_images_can_be_had_as_stored_and_in_no_other_way(archive: Archive, name: str) -> None:
    syntax, attributes = ABSURD[name]
    data, fragments = attributes.get("data"), attributes.get("fragments", 1)
    dataset = image(**{key: value for key, value in attributes.items() if key not in ("data", "fragments")})
    if data is not None:
        dataset.PixelData = encapsulate([data], fragments_per_frame=fragments, has_bot=False)
        dataset["PixelData"].VR = "OB"
    instance = part10(dataset, syntax) if syntax else part10(dataset)
    assert (await archive.store(instance)).status_code == 200
    for path in ("/frames/1", "/rendered", "/thumbnail", "/frames/1/rendered", "/bulkdata/7FE00010", ""):
        answer = await archive.get(INSTANCE + path, headers={"accept": "*/*"})
        if name == "frames" and path != "/bulkdata/7FE00010":
            continue  # its first frame is there
        if data is None and path in ("", "/bulkdata/7FE00010"):
            assert answer.status_code == 200, path
        else:
            assert 400 <= answer.status_code < 500, path
            assert answer.headers["content-type"] == "application/problem+json"
    for path in ("/bulkdata", "/pixeldata"):
        answer = await archive.get(INSTANCE + path)
        if answer.status_code == 200:
            assert int(answer.headers["content-length"]) == len(answer.content)
        else:
            assert 400 <= answer.status_code < 500, path
    for path, media_type in (("/frames/1", "image/jphc"), ("", "application/dicom"), ("/frames/1", "image/dicom-rle")):
        wanted = "1.2.840.10008.1.2.5" if media_type == "image/dicom-rle" else "1.2.840.10008.1.2.4.201"
        answer = await archive.get(INSTANCE + path, headers={"accept": f"{media_type}; transfer-syntax={wanted}"})
        made = name == "frames" and path != ""
        as_stored = wanted == syntax and path != "" and name == "RLE offsets"
        assert made or as_stored or 400 <= answer.status_code < 500, (path, media_type)
    stored = await archive.get(INSTANCE, headers={"accept": "application/dicom; transfer-syntax=*"})
    assert stored.content == instance
    zipped = await archive.get(INSTANCE, headers={"accept": "application/zip"})
    assert instance in zipped.content


def short_palette() -> bytes:
    dataset = image(PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", b"\x00\x01")
    return part10(dataset)


def rows_as_long_integers() -> bytes:
    data = part10(image())
    for tag in (0x0010, 0x0011):
        start = data.index(struct.pack("<HH2s", 0x0028, tag, b"US"))
        element = struct.pack("<HH2sHI", 0x0028, tag, b"UL", 4, 2**31)
        data = data[:start] + element + data[start + 10 :]
    return data


def frames_as(text: bytes) -> bytes:
    data = part10(image(NumberOfFrames="7"))
    start = data.index(struct.pack("<HH2sH", 0x0028, 0x0008, b"IS", 2)) + 8
    return data[:start] + text + data[start + 2 :]


LYING = {
    "short palette": (short_palette(), 406),
    "rows of 2^31": (rows_as_long_integers(), 406),
    "-5 frames": (frames_as(b"-5"), 200),
    "no frame": (frames_as(b"0 "), 200),
    "frames in words": (frames_as(b"xy"), 200),
}
"""Instances, and what becomes of their picture: an impossible Number of Frames is taken for one."""


async def test_attributes_that_cannot_be_are_4xx_where_they_matter_and_nowhere_else(archive: Archive) -> None:
    for name, (data, picture) in LYING.items():
        # With a warning where a value has not the form of its VR.
        assert (await archive.store(data)).status_code in (200, 202), name
        for path in ("/rendered", "/thumbnail", "/frames/1/rendered"):
            assert (await archive.get(INSTANCE + path)).status_code == picture, (name, path)
        assert (await archive.get(f"{INSTANCE}/frames/2")).status_code == 404, name
        assert (await archive.get(f"{INSTANCE}/metadata")).status_code == 200, name
        stored = await archive.get(INSTANCE, headers={"accept": "application/dicom; transfer-syntax=*"})
        assert stored.content == data, name
        assert (await archive.client.delete(f"{ROOT}{INSTANCE}")).status_code == 204


async def test_many_ranges_cookies_and_conditions_change_nothing(archive: Archive) -> None:
    (instance,) = ct_series(1)
    await archive.store(instance)
    accept = {"accept": "application/dicom; transfer-syntax=*"}
    for header in (
        {"range": "bytes=" + ",".join(["0-1"] * 500)},
        {"cookie": "a=" + "b" * 60_000},
        {"if-none-match": '"' + "x" * 60_000},
        {"accept-encoding": "gzip;" * 5000},
        {"if-match": '"never"'},
    ):
        answer = await archive.get(INSTANCE, headers={**accept, **header})
        assert answer.status_code == 200
        assert answer.content == instance
        assert "content-range" not in answer.headers
    absurd = await archive.get(INSTANCE, headers={**accept, "range": "bytes=99999999999999999999-"})
    assert absurd.status_code == 416
    assert absurd.headers["content-range"] == f"bytes */{len(instance)}"


async def test_answers_with_patients_in_them_are_kept_by_no_shared_cache(archive: Archive) -> None:
    await archive.store(*ct_series(1))
    for path in (
        "/studies",
        "/instances",
        INSTANCE,
        f"{INSTANCE}/metadata",
        f"{INSTANCE}/rendered",
        f"{INSTANCE}/frames/1",
    ):
        answer = await archive.get(path)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "private, no-cache"
        assert "Accept" in answer.headers["vary"]
