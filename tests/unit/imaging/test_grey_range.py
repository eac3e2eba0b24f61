"""What is black and what is white: windows of every kind of pixels, and the range of those without a window."""

from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from tests.factories import image, part10
from tests.unit.imaging.test_short_cuts import plainly, quickly

from dicomweb_archive.imaging.render import Picture

PNG = Picture("image/png")
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


def unwindowed(pixels: np.ndarray, **attributes: Any) -> Dataset:
    """Return an image of 16 rows and columns without rescale and window."""
    dataset = image(PixelData=pixels.tobytes())
    for keyword in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"):
        delattr(dataset, keyword)
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def of_floats(pixels: np.ndarray, **attributes: Any) -> Dataset:
    dataset = unwindowed(pixels, **attributes)
    keyword = {4: "FloatPixelData", 8: "DoubleFloatPixelData"}[pixels.itemsize]
    setattr(dataset, keyword, dataset.PixelData)
    for absent in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, absent)
    return dataset


def linear(values: np.ndarray, center: float, width: float) -> np.ndarray:
    return np.rint(np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255)


@pytest.mark.parametrize("kind", ["<f4", "<f8"])
def test_a_window_is_applied_to_floats_too(kind: str) -> None:
    values = np.linspace(-50, 500, 256, dtype=kind).reshape(16, 16)
    asked = quickly(part10(of_floats(values)), Picture("image/png", window=(100.0, 300.0, "linear")))
    assert np.abs(asked - linear(values, 100, 300)).max() <= 1
    rescaled = of_floats(values, RescaleSlope="2", RescaleIntercept="-10", WindowCenter="200", WindowWidth="100")
    assert np.abs(quickly(part10(rescaled), PNG) - linear(values * 2 - 10, 200, 100)).max() <= 1


def test_an_impossible_window_of_the_image_does_not_hide_it() -> None:
    values = np.arange(0, 4096, 16, dtype="<u2").reshape(16, 16)
    whole = quickly(part10(unwindowed(values)), PNG)
    assert (whole.min(), whole.max()) == (0, 255)
    for width, function in (("0", "LINEAR"), ("-5", "LINEAR"), ("0", "SIGMOID")):
        data = part10(unwindowed(values, WindowCenter="100", WindowWidth=width, VOILUTFunction=function))
        assert np.array_equal(quickly(data, PNG), whole), width
    unknown = part10(unwindowed(values, WindowCenter="2000", WindowWidth="3000", VOILUTFunction="UNHEARD_OF"))
    assert np.abs(quickly(unknown, PNG) - linear(values.astype(float), 2000, 3000)).max() <= 1


def test_a_window_narrower_than_linear_allows_is_taken_as_exact() -> None:
    values = np.linspace(0, 1, 256, dtype="<f4").reshape(16, 16)
    picture = quickly(part10(of_floats(values, WindowCenter="0.5", WindowWidth="0.8")), PNG)
    assert np.abs(picture - np.rint(np.clip((values - 0.5) / 0.8 + 0.5, 0, 1) * 255)).max() <= 1


@pytest.mark.parametrize("value", [0, 127, 255])
def test_a_probability_is_the_same_grey_in_every_frame(value: int) -> None:
    fractional = {"SegmentationType": "FRACTIONAL", "MaximumFractionalValue": 255}
    picture = quickly(part10(unwindowed(np.full((16, 16), value, "u1"), **fractional)), PNG)
    assert np.all(picture == value)


def test_labels_stand_out_from_their_background_that_is_called_padding() -> None:
    labels = np.repeat(np.arange(4, dtype="u1"), 64).reshape(16, 16)
    dataset = unwindowed(labels, SegmentationType="LABELMAP")
    dataset.add_new(0x00280120, "US", 0)
    assert sorted(set(quickly(part10(dataset), PNG).flat)) == [0, 85, 170, 255]


def test_what_is_of_one_value_stands_out_from_padding() -> None:
    values = np.repeat(np.array([0, 700], "<u2"), 128).reshape(16, 16)
    dataset = unwindowed(values)
    dataset.add_new(0x00280120, "US", 0)
    assert np.array_equal(quickly(part10(dataset), PNG), np.where(values == 700, 255, 0))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("kind", "signed", "bits", "padding", "vr"),
    [("<i2", 1, 16, -2000, "SS"), ("<i2", 1, 16, 63536, "US"), ("<u2", 0, 12, 0, "US"), ("<u4", 0, 32, 0, "US")],
)
def test_padding_says_nothing_of_the_range(
    syntax: str, kind: str, signed: int, bits: int, padding: int, vr: str
) -> None:
    values = np.linspace(1000, 1100, 256).astype(kind).reshape(16, 16)
    values[:4] = -2000 if signed else 0
    dataset = unwindowed(values, PixelRepresentation=signed, BitsStored=bits, HighBit=bits - 1)
    dataset.add_new(0x00280120, vr, padding)
    measured = values[4:].astype(float)
    expected = np.rint((measured - measured.min()) / (measured.max() - measured.min()) * 255)
    data = part10(dataset, syntax)
    picture = quickly(data, PNG)
    assert np.all(picture[:4] == 0)
    assert np.abs(picture[4:] - expected).max() <= 1
    assert np.array_equal(plainly(data, PNG), picture)


def test_padding_may_be_a_range_and_may_be_all_there_is() -> None:
    values = np.arange(256, dtype="<u2").reshape(16, 16)
    dataset = unwindowed(values)
    dataset.add_new(0x00280120, "US", 0)
    dataset.add_new(0x00280121, "US", 99)
    picture = quickly(part10(dataset), PNG)
    assert (picture.flat[99], picture.flat[100], picture.flat[101], picture.flat[255]) == (0, 0, 2, 255)
    dataset[0x00280121].value = 255
    assert quickly(part10(dataset), PNG).max() == 255
