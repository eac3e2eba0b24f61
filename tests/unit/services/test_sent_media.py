"""Pictures, documents and videos beside their metadata become instances (PS3.18 Table 10.5.2-1)."""

from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from tests.decoding import InProcess
from tests.factories import identified
from tests.multiparts import Part as SentPart
from tests.multiparts import bulk_part, json_part
from tests.unit.services.test_composition import compose, failures

from dicomweb_archive.dicom import status
from dicomweb_archive.dicom.model_encoding import encode_model
from dicomweb_archive.errors import InvalidInstanceError
from dicomweb_archive.services.composition.assembly import Assembly, Part
from dicomweb_archive.services.composition.limits import CompositionLimits
from dicomweb_archive.services.decoding import DecodingPool
from dicomweb_archive.storage.spool import Spool, SpooledValue

JPEG = "1.2.840.10008.1.2.4"
EXPLICIT = "1.2.840.10008.1.2.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def picture(
    kind: str,
    mode: str = "RGB",
    *,
    size: tuple[int, int] = (31, 17),
    seed: int = 0,
    transparent: bool = False,
    **options: Any,
) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = BytesIO()
    made = Image.fromarray(values, "RGB").convert(mode)
    if transparent:
        made.putpixel((0, 0), (1, 2, 3, 254))
    made.save(buffer, kind, **options)
    return buffer.getvalue()


def metadata(tag: str = "7FE00010", **overrides: Any) -> SentPart:
    model = identified(sop_class=SECONDARY_CAPTURE, **overrides).to_json_dict()
    return json_part([model | {tag: {"vr": "OB", "BulkDataURI": "bulk/0"}}])


async def stored(parts: list[SentPart], folder: Path) -> Dataset:
    ((data, notes),) = cast(Any, await compose(parts, folder, decoding=cast(DecodingPool, InProcess())))
    assert notes == ()
    return dcmread(BytesIO(data))


async def test_a_jpeg_is_kept_as_it_is_and_described(tmp_path: Path) -> None:
    sent = picture("JPEG", subsampling=1)
    made = await stored([metadata(), bulk_part(sent, content_type="image/jpeg")], tmp_path)
    assert made.file_meta.TransferSyntaxUID == f"{JPEG}.50"
    assert next(generate_frames(made.PixelData, number_of_frames=1)).removesuffix(b"\0") == sent.removesuffix(b"\0")
    assert (made.Rows, made.Columns, made.SamplesPerPixel, made.PlanarConfiguration) == (17, 31, 3, 0)
    assert (made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation) == (8, 8, 7, 0)
    assert (made.PhotometricInterpretation, made.LossyImageCompression) == ("YBR_FULL_422", "01")
    assert made.LossyImageCompressionMethod == "ISO_10918_1"


async def test_frames_of_one_image_are_a_part_each(tmp_path: Path) -> None:
    frames = [picture("JPEG", "L", seed=seed) for seed in range(3)]
    parts = [bulk_part(frame, f"bulk/0/frames/{n}", "image/jpeg") for n, frame in enumerate(frames, 1)]
    made = await stored([metadata(NumberOfFrames=3), *parts], tmp_path)
    found = list(generate_frames(made.PixelData, number_of_frames=3))
    assert [frame.rstrip(b"\0") for frame in found] == [frame.rstrip(b"\0") for frame in frames]
    uneven = [*parts[:2], bulk_part(picture("JPEG", "L", size=(8, 8)), content_type="image/jpeg")]
    assert failures(await compose([metadata(NumberOfFrames=3), *uneven], tmp_path)) == [0xA900]
    assert failures(await compose([metadata(NumberOfFrames=3), *parts[:2]], tmp_path)) == [status.BULKDATA_MISSING]


async def test_frames_stand_in_the_order_of_their_numbers_however_they_come(tmp_path: Path) -> None:
    frames = [picture("JPEG", "L", seed=seed) for seed in range(3)]
    parts = [bulk_part(frame, f"bulk/0/frames/{n}", "image/jpeg") for n, frame in enumerate(frames, 1)]
    three = metadata(NumberOfFrames=3)
    straight = await compose([three, *parts], tmp_path)
    assert await compose([three, parts[2], parts[0], parts[1]], tmp_path) == straight
    assert await compose([parts[1], three, parts[2], parts[0]], tmp_path) == straight
    for wrong in ([*parts[:2], parts[1]], [*parts[1:], bulk_part(frames[0], content_type="image/jpeg")]):
        assert failures(await compose([three, *wrong], tmp_path)) == [0xA900]


async def test_a_document_longer_than_an_element_can_be_is_refused(tmp_path: Path) -> None:
    model = identified().to_json_dict() | {"00420011": {"vr": "OB", "BulkDataURI": "bulk/0"}}
    part = Part("application/pdf", "", SpooledValue(length=1 << 32))
    spool = Spool(tmp_path, memory_bytes=0, watermark_bytes=0)
    with pytest.raises(InvalidInstanceError) as refused:
        await Assembly(spool, cast(DecodingPool, None)).assemble(encode_model(model), {"bulk/0": [part]})
    assert refused.value.failure == status.LIMIT_EXCEEDED


async def test_another_attribute_may_name_what_holds_the_frames(tmp_path: Path) -> None:
    named = {"vr": "OB", "BulkDataURI": "bulk/0"}
    model = identified(NumberOfFrames=2).to_json_dict() | {"7FE00010": named, "00420011": named}
    frames = [picture("JPEG", "L", seed=seed) for seed in range(2)]
    parts = [bulk_part(frame, content_type="image/jpeg") for frame in frames]
    made = await stored([json_part([model]), *parts], tmp_path)
    assert made.EncapsulatedDocument.rstrip(b"\0") == b"".join(frames).rstrip(b"\0")


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "RGBA"])
async def test_a_png_becomes_native_pixels_that_look_the_same(tmp_path: Path, mode: str) -> None:
    sent = picture("PNG", mode)
    made = await stored([metadata(), bulk_part(sent, content_type="image/png")], tmp_path)
    assert made.file_meta.TransferSyntaxUID == EXPLICIT
    expected = Image.open(BytesIO(sent)).convert("L" if mode in ("L", "1") else "RGB")
    assert np.array_equal(made.pixel_array, np.asarray(expected))
    assert "LossyImageCompression" not in made


async def test_grey_of_16_bits_and_frames_of_a_gif_are_kept(tmp_path: Path) -> None:
    values = np.arange(0, 65536, 97, dtype=np.uint16)[:600].reshape(20, 30)
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    made = await stored([metadata(), bulk_part(buffer.getvalue(), content_type="image/png")], tmp_path)
    assert np.array_equal(made.pixel_array, values)
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    buffer = BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    made = await stored([metadata(), bulk_part(buffer.getvalue(), content_type="image/gif")], tmp_path)
    assert made.NumberOfFrames == 2
    assert made.pixel_array[:, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255]]


async def test_no_more_blank_pictures_are_decoded_than_may_be_kept(tmp_path: Path) -> None:
    decoded = 0

    class Counting(InProcess):
        async def run_streamed(self, *arguments: Any) -> dict[str, Any]:
            nonlocal decoded
            decoded += 1
            return await super().run_streamed(*arguments)

    buffer = BytesIO()
    Image.new("L", (400, 400)).save(buffer, "PNG")
    frame = bulk_part(buffer.getvalue(), content_type="image/png")
    parts = [metadata(NumberOfFrames=10), *[frame] * 10]
    limits = CompositionLimits(repeated_bytes=100_000)
    composed = await compose(parts, tmp_path, limits=limits, decoding=cast(DecodingPool, Counting()))
    assert failures(composed) == [status.OUT_OF_RESOURCES]
    assert decoded < 5


async def test_a_document_tells_its_type_and_length(tmp_path: Path) -> None:
    pdf = b"%PDF-1.7 of an odd length"
    made = await stored([metadata("00420011"), bulk_part(pdf, content_type="application/pdf")], tmp_path)
    assert made.EncapsulatedDocument == pdf + b"\0"
    assert (made.MIMETypeOfEncapsulatedDocument, made.EncapsulatedDocumentLength) == ("application/pdf", len(pdf))


async def test_a_video_is_kept_as_it_is_when_its_size_is_told(tmp_path: Path) -> None:
    sized = metadata(Rows=720, Columns=1280, NumberOfFrames=25)
    made = await stored([sized, bulk_part(b"video", content_type="video/mp4")], tmp_path)
    assert made.file_meta.TransferSyntaxUID == f"{JPEG}.102"
    assert next(generate_frames(made.PixelData, number_of_frames=1)) == b"video\0"
    named = bulk_part(b"video", content_type=f"video/mp4; transfer-syntax={JPEG}.103")
    assert (await stored([sized, named], tmp_path)).file_meta.TransferSyntaxUID == f"{JPEG}.103"
    assert failures(await compose([metadata(), named], tmp_path)) == [0xA900]


REFUSED: dict[str, tuple[str, bytes, int]] = {
    "no jpeg": ("image/jpeg", b"GIF89a", status.CANNOT_UNDERSTAND),
    "no png": ("image/png", b"\x89PNG\r\n\x1a\n" + bytes(100), status.CANNOT_UNDERSTAND),
    "a cut png": ("image/png", picture("PNG")[:-500], status.CANNOT_UNDERSTAND),
    "transparency": ("image/png", picture("PNG", "RGBA", transparent=True), status.CANNOT_UNDERSTAND),
    "a page": ("text/html", b"<html>", status.TRANSFER_SYNTAX_NOT_SUPPORTED),
    "big endian": ("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.2", b"12", 0xC122),
    "a syntax of its own": ("application/octet-stream; transfer-syntax=1.2.3", b"12", 0xC122),
    "another syntax than a video's": (f"video/mp4; transfer-syntax={JPEG}.50", b"12", 0xC122),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_not_what_it_says_is_refused(tmp_path: Path, case: str) -> None:
    content_type, sent, failure = REFUSED[case]
    parts = [metadata(), bulk_part(sent, content_type=content_type)]
    assert failures(await compose(parts, tmp_path, decoding=cast(DecodingPool, InProcess()))) == [failure]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
async def test_metadata_of_another_image_are_refused(tmp_path: Path, kind: str) -> None:
    for wrong in ({"Rows": 18}, {"SamplesPerPixel": 1}):
        parts = [metadata(**wrong), bulk_part(picture(kind), content_type=f"image/{kind.lower()}")]
        assert failures(await compose(parts, tmp_path, decoding=cast(DecodingPool, InProcess()))) == [0xA900]
