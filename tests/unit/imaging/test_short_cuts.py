"""The short cuts of rendering, held to the plain way: pydicom reads all of the file, and every pixel is computed."""

import io
import warnings
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from tests.factories import image, part10
from tests.pydicom_files import bundled, bundled_names

from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.errors import InvalidInstanceError, UndecodableError
from dicomweb_archive.imaging.display_elements import display_elements
from dicomweb_archive.imaging.display_tables import DisplayTables
from dicomweb_archive.imaging.frames import fragment_bounds
from dicomweb_archive.imaging.native import cut_native_frame, native_frame_range
from dicomweb_archive.imaging.pixel_format import pixel_format_of
from dicomweb_archive.imaging.render import Picture, StoredFrame, render, render_stored
from dicomweb_archive.imaging.scaled_decode import decode_scaled

DEFLATED = "1.2.840.10008.1.2.1.99"
# pydicom itself cannot read these, or they have no free codec.
UNREADABLE = {"JPEG-lossy.dcm", "JPGExtended.dcm", "JPEG2000-embedded-sequence-delimiter.dcm", "badVR.dcm"}
UNREADABLE |= {"SC_rgb_jpeg.dcm"}


def stored_frame(data: bytes, number: int = 1) -> tuple[bytes, StoredFrame]:
    """Return what a worker is given: the file up to its pixel data, and one frame."""
    scanned = scan(data)
    stored = scanned.pixel_data
    assert stored is not None
    pixels = pixel_format_of(scanned.attributes(), stored.tag)
    syntax = None
    if stored.encapsulated:
        bounds = fragment_bounds(stored, pixels.number_of_frames)
        fragments = stored.fragments[bounds[number - 1] : bounds[number]]
        frame = b"".join(data[offset : offset + length] for offset, length in fragments)
        syntax = scanned.transfer_syntax_uid
    else:
        offset, length = native_frame_range(stored, pixels, number)
        is_big = scanned.transfer_syntax_uid == ExplicitVRBigEndian
        frame = cut_native_frame(data[offset : offset + length], stored.vr, pixels, number, big_endian=is_big)
    return data[: stored.offset], StoredFrame(frame, syntax, pixels, stored.tag, number)


def quickly(data: bytes, picture: Picture, number: int = 1, tables: DisplayTables | None = None) -> np.ndarray:
    head, frame = stored_frame(data, number)
    return shown(render_stored(head, frame, picture, tables or DisplayTables()))


def plainly(data: bytes, picture: Picture, number: int = 1) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = pixel_array(io.BytesIO(data), index=number - 1)
        return shown(render(pixels, dcmread(io.BytesIO(data)), picture, frame=number))


def shown(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def images() -> list[str]:
    names = []
    for name in bundled_names():
        with suppress(InvalidInstanceError):
            scanned = scan(bundled(name))
            if scanned.pixel_data and scanned.transfer_syntax_uid != DEFLATED and name not in UNREADABLE:
                names.append(name)
    return names


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", images())
def test_every_kind_of_image_looks_as_the_plain_way_shows_it(name: str) -> None:
    data = bundled(name)
    frames = pixel_format_of(scan(data).attributes()).number_of_frames
    tables = DisplayTables()
    for number in {1, frames}:
        for window in (None, (100.0, 300.0, "linear")):
            picture = Picture("image/png", window=window)
            assert np.array_equal(quickly(data, picture, number, tables), plainly(data, picture, number)), window


def look_up(bits: int, entries: list[int], first: int = 0) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.add_new(0x00283006, "US", entries)
    return item


def words(bits: int, entries: list[int]) -> Dataset:
    item = look_up(bits, entries)
    item.add_new(0x00283006, "OW", np.array(entries, "<u2").tobytes())
    return item


RAMP = np.arange(0, 4096, 16, dtype="<u2").tobytes()
TRANSFORMS: dict[str, dict[str, Any]] = {
    "nothing": {"WindowCenter": None, "WindowWidth": None, "RescaleSlope": None, "RescaleIntercept": None},
    "window": {},
    "rescale without a window": {"WindowCenter": None, "WindowWidth": None},
    "negative slope": {"RescaleSlope": "-1", "RescaleIntercept": "0"},
    "many windows": {"WindowCenter": ["40", "300"], "WindowWidth": ["80", "2000"]},
    "sigmoid": {"VOILUTFunction": "SIGMOID"},
    "exact": {"VOILUTFunction": "LINEAR_EXACT"},
    "inverted": {"PhotometricInterpretation": "MONOCHROME1"},
    "signed": {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15},
    "unused bits": {"BitsStored": 10, "HighBit": 9},
    "unused bits, signed": {"BitsStored": 10, "HighBit": 9, "PixelRepresentation": 1},
    "VOI look-up table": {"VOILUTSequence": [look_up(8, list(range(255, -1, -1)))], "RescaleIntercept": "0"},
    "modality look-up table": {
        "ModalityLUTSequence": [look_up(16, [n * n for n in range(200)])],
        "RescaleSlope": None, "RescaleIntercept": None,
    },
    "modality look-up table of words": {
        "ModalityLUTSequence": [words(16, [n * n for n in range(200)])],
        "RescaleSlope": None, "RescaleIntercept": None, "WindowCenter": None, "WindowWidth": None,
    },
    "constant": {"PixelData": bytes(512), "WindowCenter": None, "WindowWidth": None},
}  # fmt: skip


def with_transform(name: str, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    dataset = image(**{"PixelData": RAMP, **{k: v for k, v in TRANSFORMS[name].items() if v is not None}})
    for keyword, value in TRANSFORMS[name].items():
        if value is None:
            delattr(dataset, keyword)
    return part10(dataset, transfer_syntax)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_is_pydicoms(name: str, syntax: str) -> None:
    data = with_transform(name, syntax)
    for window in (None, (100.0, 300.0, "linear"), (0.0, 500.0, "sigmoid")):
        picture = Picture("image/png", window=window)
        assert np.array_equal(quickly(data, picture), plainly(data, picture)), window


def test_a_negative_slope_turns_the_grey_scale_round() -> None:
    picture = quickly(with_transform("negative slope"), Picture("image/png", window=(-2000.0, 4000.0, "linear")))
    assert (picture[0, 0], picture[-1, -1]) == (255, 0)


def test_the_next_slice_is_shown_by_its_own_window() -> None:
    tables = DisplayTables()
    for name in [*TRANSFORMS, *TRANSFORMS]:
        data = with_transform(name)
        picture = Picture("image/png")
        assert np.array_equal(quickly(data, picture, tables=tables), plainly(data, picture)), name


def enhanced(transfer_syntax: str, *, undefined: bool) -> bytes:
    """A multi-frame image with a window of its own for each frame."""
    groups = []
    for number in range(1, 4):
        voi, transform, position, group = Dataset(), Dataset(), Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = str(1000 * number), "500"
        transform.RescaleIntercept, transform.RescaleSlope, transform.RescaleType = str(number), "1", "US"
        position.ImagePositionPatient = [0, 0, number]
        group.PlanePositionSequence = Sequence([position])
        group.PixelValueTransformationSequence = Sequence([transform])
        group.FrameVOILUTSequence = Sequence([voi])
        groups.append(group)
    ramp = np.frombuffer(RAMP, "<u2").astype(">u2" if transfer_syntax == ExplicitVRBigEndian else "<u2").tobytes()
    dataset = image(NumberOfFrames=3, PixelData=ramp * 3)
    for keyword in ("WindowCenter", "WindowWidth", "RescaleIntercept", "RescaleSlope"):
        delattr(dataset, keyword)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    if undefined:
        dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length = True
        for group in groups:
            group.is_undefined_length_sequence_item = True
            group["FrameVOILUTSequence"].is_undefined_length = True
    return part10(dataset, transfer_syntax)


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_each_frame_of_an_enhanced_image_has_its_own_window(syntax: str, undefined: bool) -> None:
    data = enhanced(syntax, undefined=undefined)
    tables = DisplayTables()
    pictures = []
    for number in (1, 2, 3, 1):
        pictures.append(quickly(data, Picture("image/png"), number, tables))
        assert np.array_equal(pictures[-1], plainly(data, Picture("image/png"), number))
    assert not np.array_equal(pictures[0], pictures[1])


def test_of_a_header_only_what_is_looked_at_is_kept() -> None:
    head, _ = stored_frame(part10(image()))
    found = display_elements(head, 1)
    assert found is not None
    kept = found.parse()
    whole = dcmread(io.BytesIO(head))
    assert kept.WindowCenter == whole.WindowCenter
    assert "PatientName" not in kept
    assert len(found.data) < len(head) / 4
    data = enhanced(ExplicitVRLittleEndian, undefined=True)
    enhanced_head, _ = stored_frame(data, 2)
    own = display_elements(enhanced_head, 2)
    assert own is not None
    (group,) = own.parse().PerFrameFunctionalGroupsSequence
    assert group.FrameVOILUTSequence[0].WindowCenter == 2000


def test_a_header_that_is_cut_or_out_of_order_is_left_to_pydicom() -> None:
    head, _ = stored_frame(part10(image()))
    assert display_elements(head, 1) is not None
    for odd in (head[:-4], head + b"\0\0", b"", head[:200], head[:-12] + bytes(8) + head[-12:]):
        assert display_elements(odd, 1) is None
    big, _ = stored_frame(part10(image(), ExplicitVRBigEndian))
    assert display_elements(big, 1) is None


def test_a_frame_without_an_item_of_its_own_is_shown_by_what_all_share() -> None:
    dataset = image(NumberOfFrames=2, PixelData=RAMP * 2)
    group, voi = Dataset(), Dataset()
    voi.WindowCenter, voi.WindowWidth = "3000", "10"
    group.FrameVOILUTSequence = Sequence([voi])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([group, Dataset()])
    data = part10(dataset)
    assert np.array_equal(quickly(data, Picture("image/png"), 2), plainly(data, Picture("image/png"), 2))


def test_a_mask_is_black_and_white_also_where_it_has_but_one_value() -> None:
    mask = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "WindowCenter": None, "WindowWidth": None}
    for byte, grey in ((0x00, 0), (0xFF, 255)):
        dataset = image(PixelData=bytes([byte] * 32), **mask)
        for keyword in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"):
            delattr(dataset, keyword)
        assert np.all(quickly(part10(dataset), Picture("image/png")) == grey)


SCALABLE = {
    "JPEG2000.dcm": 1.0,
    "MR_small_jp2klossless.dcm": 6.0,
    "examples_jpeg2k.dcm": 5.0,
    "examples_ybr_color.dcm": 1.0,
    "SC_rgb_dcmtk_+eb+cy+np.dcm": 3.0,
    "SC_rgb_jpeg_lossy_gdcm.dcm": 3.0,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCALABLE)
def test_what_is_decoded_small_looks_as_what_is_made_small(name: str) -> None:
    _, frame = stored_frame(bundled(name))
    size = (frame.pixels.columns // 3, frame.pixels.rows // 3)
    assert frame.transfer_syntax_uid is not None
    scaled = decode_scaled(bytes(frame.data), frame.transfer_syntax_uid, frame.pixels, size)
    assert scaled is not None
    assert size[1] <= scaled.shape[0] < frame.pixels.rows
    small = quickly(bundled(name), Picture("image/png", size=size)).astype(float)
    whole = Image.fromarray(quickly(bundled(name), Picture("image/png")))
    expected = np.asarray(whole.resize(small.shape[1::-1], Image.Resampling.BILINEAR)).astype(float)
    assert np.abs(small - expected).mean() < SCALABLE[name]


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "MR_small_jp2klossless.dcm"])
def test_values_decoded_small_are_stored_values(name: str) -> None:
    _, frame = stored_frame(bundled(name))
    size = (frame.pixels.columns // 2, frame.pixels.rows // 2)
    assert frame.transfer_syntax_uid is not None
    scaled = decode_scaled(bytes(frame.data), frame.transfer_syntax_uid, frame.pixels, size)
    assert scaled is not None
    values = scaled.view("<i2") if frame.pixels.pixel_representation else scaled
    whole = pixel_array(io.BytesIO(bundled(name))).astype(float)
    rows, columns = (side // 2 * 2 for side in whole.shape)
    blocks = whole[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
    spread = whole.max() - whole.min()
    assert np.abs(values[: rows // 2, : columns // 2] - blocks).mean() < spread / 20


def test_what_cannot_be_decoded_small_is_left_to_the_full_decoder() -> None:
    _, frame = stored_frame(bundled("JPEG2000.dcm"))
    syntax = frame.transfer_syntax_uid
    assert syntax is not None
    small = (frame.pixels.columns // 4, frame.pixels.rows // 4)
    assert decode_scaled(bytes(frame.data), syntax, frame.pixels, (frame.pixels.columns, frame.pixels.rows)) is None
    assert decode_scaled(bytes(frame.data[:50]), syntax, frame.pixels, small) is None
    assert decode_scaled(bytes(frame.data), syntax, frame.pixels._replace(rows=frame.pixels.rows * 2), small) is None
    assert decode_scaled(bytes(frame.data), syntax, frame.pixels._replace(bits_stored=9), small) is None
    assert decode_scaled(bytes(frame.data), "1.2.840.10008.1.2.5", frame.pixels, small) is None
    _, rgb = stored_frame(bundled("SC_jpeg_no_color_transform.dcm"))
    assert rgb.transfer_syntax_uid is not None
    assert decode_scaled(bytes(rgb.data), rgb.transfer_syntax_uid, rgb.pixels, (9, 9)) is None


def test_frames_that_end_early_make_no_picture() -> None:
    head, frame = stored_frame(part10(image()))
    cut = StoredFrame(frame.data[:-2], None, frame.pixels, frame.tag, 1)
    with pytest.raises(UndecodableError):
        render_stored(head, cut, Picture(), DisplayTables())


def test_a_small_image_is_enlarged_only_when_that_is_wanted() -> None:
    data = part10(image())
    assert quickly(data, Picture("image/png", size=(64, 64))).shape == (64, 64)
    assert quickly(data, Picture("image/png", size=(64, 64), enlarge=False)).shape == (16, 16)


def test_only_so_many_tables_are_kept() -> None:
    tables = DisplayTables()
    for center in range(40):
        quickly(part10(image()), Picture(window=(center, 100.0, "linear")), tables=tables)
    assert len(tables._kept) <= 16
