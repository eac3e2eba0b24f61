"""Instances and frames in transfer syntaxes that they are not stored in, through the door (PS3.18 8.7.3)."""

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from pydicom.pixels import pixel_array
from pydicom.uid import JPEGBaseline8Bit, generate_uid
from tests.factories import ROOT as UID
from tests.factories import encapsulated, identified, image, part10
from tests.http.archive import Archive, parts_of
from tests.pydicom_files import read

from dicomweb_archive.imaging.decode import decode_frame
from dicomweb_archive.imaging.pixel_format import PixelFormat

STUDY = f"/studies/{UID}.1"
INSTANCE = f"{STUDY}/series/{UID}.1.1/instances/{UID}.1.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
JPEG = "1.2.840.10008.1.2.4"
RLE = "1.2.840.10008.1.2.5"
MEDIA_TYPES = {
    f"{JPEG}.201": "image/jphc", f"{JPEG}.202": "image/jphc", f"{JPEG}.90": "image/jp2", f"{JPEG}.80": "image/jls",
    RLE: "image/dicom-rle", f"{JPEG}.70": "image/jpeg",
}  # fmt: skip
GREY = PixelFormat(16, 16, 1, 16, 12, 0, "MONOCHROME2", 0, 1)

# One archive for the module, because its decoding process takes long to start.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def archive(emptied_archive: Archive) -> Archive:
    """An open archive that is empty when a test begins."""
    return emptied_archive


def dicom(syntax: str, *, single: bool = False) -> dict[str, str]:
    if single:
        return {"accept": f"application/dicom; transfer-syntax={syntax}"}
    return {"accept": f'multipart/related; type="application/dicom"; transfer-syntax={syntax}'}


def bytes_image(**overrides: Any) -> bytes:
    """A picture of 8 bits that a lossy codec can take."""
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype("u1")
    described = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
    return part10(image(rows=64, columns=64, **described, PixelData=ramp.tobytes(), **overrides))


async def test_an_instance_comes_in_every_lossless_syntax_with_its_pixels(archive: Archive) -> None:
    stored = part10(image())
    await archive.store(stored)
    for syntax in MEDIA_TYPES:
        answer = await archive.get(INSTANCE, headers=dicom(syntax, single=True))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={syntax}"
        found = read(answer.content)
        assert found.file_meta.TransferSyntaxUID == syntax
        assert found.SOPInstanceUID == f"{UID}.1.1.1"
        assert np.array_equal(pixel_array(found), pixel_array(read(stored)))


async def test_frames_come_under_the_media_type_of_their_codec(archive: Archive) -> None:
    stored = part10(image())
    await archive.store(stored)
    native = read(stored).PixelData
    for syntax, media_type in MEDIA_TYPES.items():
        for asked in (media_type, "application/octet-stream"):
            accept = f'multipart/related; type="{asked}"; transfer-syntax={syntax}'
            answer = await archive.get(f"{INSTANCE}/frames/1", headers={"accept": accept})
            assert answer.status_code == 200, accept
            ((headers, codestream),) = parts_of(answer)
            assert headers["content-type"] == f"{asked}; transfer-syntax={syntax}"
            assert headers["content-location"].endswith("/frames/1")
            assert decode_frame(codestream, syntax, GREY)[0] == native
    for media_type, syntax in (("image/jphc", f"{JPEG}.201"), ("image/jls", f"{JPEG}.80"), ("image/jp2", f"{JPEG}.90")):
        single = await archive.get(f"{INSTANCE}/frames/1", headers={"accept": media_type})
        assert single.headers["content-type"] == f"{media_type}; transfer-syntax={syntax}"


async def test_compressed_frames_are_compressed_anew(archive: Archive) -> None:
    await archive.store(part10(image()))
    rle = (await archive.get(INSTANCE, headers=dicom(RLE, single=True))).content
    other = rle.replace(f"{UID}.1.1.1".encode(), f"{UID}.1.1.7".encode())
    assert (await archive.store(other)).status_code == 200
    path = INSTANCE.replace(".1.1.1", ".1.1.7") + "/frames/1"
    answer = await archive.get(path, headers={"accept": "image/jphc"})
    assert decode_frame(answer.content, f"{JPEG}.201", GREY)[0] == read(part10(image())).PixelData


async def test_of_several_instances_what_has_no_such_form_goes_in_its_default_one(archive: Archive) -> None:
    report = part10(identified(instance=2, sop_class="1.2.840.10008.5.1.4.1.1.88.22"))
    wide = part10(image(instance=3, rows=8, columns=16, BitsAllocated=32, BitsStored=32, HighBit=31))
    await archive.store(report, part10(image()), wide)
    answer = await archive.get(STUDY, headers=dicom(f"{JPEG}.201"))
    assert answer.status_code == 200
    syntaxes = {read(body).SOPInstanceUID: headers["content-type"] for headers, body in parts_of(answer)}
    assert syntaxes == {
        f"{UID}.1.1.1": f"application/dicom; transfer-syntax={JPEG}.201",
        f"{UID}.1.1.2": f"application/dicom; transfer-syntax={EXPLICIT}",
        f"{UID}.1.1.3": f"application/dicom; transfer-syntax={EXPLICIT}",
    }
    refused = await archive.get(STUDY, headers=dicom(f"{JPEG}.102"))
    assert refused.status_code == 406
    alone = await archive.get(INSTANCE.replace(".1.1.1", ".1.1.3"), headers=dicom(f"{JPEG}.201"))
    assert alone.status_code == 406
    assert f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT}' in alone.text.replace('\\"', '"')
    zipped = await archive.get(STUDY, headers={"accept": f"application/zip; transfer-syntax={RLE}"})
    with zipfile.ZipFile(io.BytesIO(zipped.content)) as opened:
        kept = {read(opened.read(name)).file_meta.TransferSyntaxUID for name in opened.namelist()}
    assert kept == {RLE, EXPLICIT}


async def test_pixels_are_lost_only_for_who_names_a_syntax_with_loss(archive: Archive) -> None:
    await archive.store(bytes_image())
    frames = f"{INSTANCE}/frames/1"
    for accept in ("image/jpeg", "image/jpeg; transfer-syntax=*"):
        lossless = await archive.get(frames, headers={"accept": accept})
        assert lossless.headers["content-type"] == f"image/jpeg; transfer-syntax={JPEG}.70"
    named = await archive.get(frames, headers={"accept": f"image/jpeg; transfer-syntax={JPEG}.50"})
    assert named.headers["content-type"] == f"image/jpeg; transfer-syntax={JPEG}.50"
    derived = read((await archive.get(INSTANCE, headers=dicom(f"{JPEG}.91", single=True))).content)
    assert derived.SOPInstanceUID.startswith("2.25.")
    assert derived.LossyImageCompression == "01"


async def test_damaged_frames_are_refused_in_every_syntax_and_the_archive_goes_on(archive: Archive) -> None:
    damaged = encapsulated([b"\xff\xd8" + bytes(600)], transfer_syntax=JPEGBaseline8Bit, rows=64, columns=64)
    await archive.store(damaged, part10(image(series=2, SOPInstanceUID=generate_uid(entropy_srcs=["sound"]))))
    for accept in ("image/jphc", "image/jls", "image/dicom-rle", f"image/jp2; transfer-syntax={JPEG}.91"):
        answer = await archive.get(f"{INSTANCE}/frames/1", headers={"accept": accept})
        assert 400 <= answer.status_code < 500, accept
    whole = await archive.get(INSTANCE, headers=dicom(f"{JPEG}.201"))
    assert 400 <= whole.status_code < 500
    stored = await archive.get(INSTANCE, headers=dicom("*", single=True))
    assert stored.content == damaged
    # With others it goes as it is stored, and they are converted (8.7.3.4).
    study = await archive.get(STUDY, headers=dicom(f"{JPEG}.201"))
    types = {headers["content-type"].rpartition("=")[2] for headers, _ in parts_of(study)}
    assert types == {f"{JPEG}.50", f"{JPEG}.201"}
