"""Colour profiles: colours converted and described (PS3.18 8.3.5.1.5)."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom import Dataset

from dicomweb_archive.imaging.colour_profiles import described_colours, named_profile

COLOURS = [(200, 100, 50), (10, 240, 120), (30, 60, 220), (128, 128, 128), (255, 255, 255), (0, 0, 0)]
# Linear light of sRGB to that of Adobe RGB (1998): both have the same white, and nearly the same red and blue.
TO_ADOBE = np.array([[0.71516, 0.28484, 0], [0, 1, 0], [0, 0.04117, 0.95883]])


def patches() -> Image.Image:
    return Image.fromarray(np.array([COLOURS], np.uint8))


def values(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int).reshape(-1, 3)


def header(profile: bytes, *, in_path: bool = False) -> Dataset:
    described = Dataset()
    described.ICCProfile = profile
    outer = Dataset()
    outer.OpticalPathSequence = [described]
    return outer if in_path else described


def test_colours_are_converted_to_the_space_that_is_named():
    converted, profile = described_colours(patches(), "adobergb", Dataset(), b"")
    assert profile == named_profile("adobergb")
    encoded = np.array(COLOURS) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    assert np.abs(values(converted) - 255 * (linear @ TO_ADOBE.T) ** (256 / 563)).max() <= 1.5
    for name in ("adobergb", "rommrgb", "displayp3"):
        there, profile = described_colours(patches(), name, Dataset(), b"")
        back, _ = described_colours(there, "srgb", header(profile), b"")
        # Steps of 8 bits are coarse where a dark colour lies far within a wide space.
        assert np.abs(values(back) - COLOURS).max() <= (12 if name == "rommrgb" else 3), name
        # Greys stay grey in all of them, white and black what they are.
        assert np.ptp(values(there)[3:], axis=1).max() <= 1
        assert (values(there)[4:] == [[255] * 3, [0] * 3]).all()


def test_our_srgb_is_the_one_of_the_colour_library():
    ours = ImageCms.ImageCmsProfile(io.BytesIO(named_profile("srgb")))
    same = ImageCms.profileToProfile(patches(), ImageCms.createProfile("sRGB"), ours)
    assert np.abs(values(same) - COLOURS).max() <= 1


def test_the_images_own_profile_comes_first():
    displayed, adobe = named_profile("displayp3"), named_profile("adobergb")
    stream = io.BytesIO()
    patches().save(stream, "JPEG", icc_profile=adobe)
    for in_path in (False, True):
        shown, profile = described_colours(patches(), "yes", header(displayed, in_path=in_path), stream.getvalue())
        assert profile == displayed
        assert (values(shown) == COLOURS).all()
    assert described_colours(patches(), "yes", Dataset(), stream.getvalue())[1] == adobe
    assert described_colours(patches(), "yes", Dataset(), b"")[1] == named_profile("srgb")


@pytest.mark.parametrize("damaged", [b"", b"\0" * 300, named_profile("srgb")[:200], b"RGB " * 100])
def test_a_damaged_profile_says_nothing(damaged: bytes):
    assert described_colours(patches(), "yes", header(damaged), b"")[1] == named_profile("srgb")


def test_a_codestream_that_another_decoder_puts_up_with_says_nothing():
    assert described_colours(patches(), "yes", Dataset(), b"\xff\xd8 odd")[1] == named_profile("srgb")


def test_greys_become_colours_that_are_described():
    grey = Image.fromarray(np.full((2, 2), 100, np.uint8))
    shown, profile = described_colours(grey, "yes", header(named_profile("adobergb")), b"")
    assert (shown.mode, profile) == ("RGB", named_profile("srgb"))
    assert (values(shown) == 100).all()
