"""Rendered pictures, compared with what pydicom and arithmetic say they should show."""

import io

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset

from dicomweb_archive.errors import InvalidParameterError, UndecodableError
from dicomweb_archive.imaging.render import Picture, render


def monochrome(**attributes) -> Dataset:
    image = Dataset()
    image.PhotometricInterpretation = "MONOCHROME2"
    image.BitsAllocated = 16
    image.BitsStored = 12
    image.PixelRepresentation = 0
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    return image


def shown(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)


def test_the_images_own_window_is_applied_after_rescale():
    image = monochrome(RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    picture = shown(render(RAMP, image, Picture("image/png")))
    hounsfield = RAMP.astype(float) - 1024
    expected = np.clip(((hounsfield - 39.5) / 399 + 0.5) * 255, 0, 255)
    assert np.abs(picture - expected).max() <= 1


def test_the_asked_window_wins_over_the_images_own():
    image = monochrome(WindowCenter=40, WindowWidth=400)
    picture = shown(render(RAMP, image, Picture("image/png", window=(2048, 4096, "linear-exact"))))
    assert np.abs(picture - RAMP / 4096 * 255).max() <= 1


def test_without_a_window_the_frame_fills_the_grey_scale():
    picture = shown(render(RAMP, monochrome(), Picture("image/png")))
    assert (picture.min(), picture.max()) == (0, 255)


def test_monochrome1_is_shown_inverted():
    image = monochrome(PhotometricInterpretation="MONOCHROME1")
    picture = shown(render(RAMP, image, Picture("image/png")))
    assert (picture[0, 0], picture[-1, -1]) == (255, 0)


def test_an_enhanced_frame_uses_its_own_window():
    image = monochrome()
    groups = []
    for center in (100, 3000):
        voi = Dataset()
        voi.WindowCenter, voi.WindowWidth = center, 100
        group = Dataset()
        group.FrameVOILUTSequence = [voi]
        groups.append(group)
    image.PerFrameFunctionalGroupsSequence = groups
    first, second = (shown(render(RAMP, image, Picture("image/png"), frame=number)) for number in (1, 2))
    assert first.mean() > 240
    assert second.mean() < 80


def test_the_viewport_keeps_the_aspect_ratio():
    wide = np.zeros((64, 128), np.uint16)
    assert shown(render(wide, monochrome(), Picture("image/png", size=(64, 64)))).shape == (32, 64)


def test_negative_region_sizes_flip():
    picture = shown(render(RAMP, monochrome(), Picture("image/png", size=(16, 16), region=(0, 0, -16, -16))))
    assert (picture[0, 0], picture[-1, -1]) == (255, 0)


def test_a_region_outside_of_the_image_is_refused():
    with pytest.raises(InvalidParameterError):
        render(RAMP, monochrome(), Picture(size=(16, 16), region=(16, 0, None, None)))


def test_colour_passes_through_unchanged():
    pixels = np.random.default_rng(1).integers(0, 255, (8, 8, 3), np.uint8)
    image = Dataset()
    image.PhotometricInterpretation = "RGB"
    image.BitsStored = 8
    assert np.array_equal(shown(render(pixels, image, Picture("image/png"))), pixels)


def test_attributes_that_make_no_picture_are_an_error_of_their_own():
    image = monochrome(PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(UndecodableError):
        render(RAMP, image, Picture())


@pytest.mark.parametrize(("media_type", "kind"), [("image/jpeg", "JPEG"), ("image/png", "PNG"), ("image/gif", "GIF")])
def test_each_media_type_is_what_it_says(media_type, kind):
    assert Image.open(io.BytesIO(render(RAMP, monochrome(), Picture(media_type)))).format == kind


def test_a_region_is_cut_out_mirrored_and_then_fitted():
    values = np.arange(64, dtype=np.uint16).reshape(8, 8)
    picture = Picture("image/png", window=(32, 64, "linear-exact"), size=(8, 4), region=(2, 4, -4, 2))
    seen = shown(render(values, monochrome(), picture))
    whole = shown(render(values, monochrome(), Picture("image/png", window=(32, 64, "linear-exact"))))
    assert seen.shape == (4, 8)
    # Twice as large, from right to left, from top to bottom.
    assert list(seen[0, [0, 7]]) == [whole[4, 5], whole[4, 2]]
    assert list(seen[3, [0, 7]]) == [whole[5, 5], whole[5, 2]]
