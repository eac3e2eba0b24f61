"""Animations made of finished GIFs."""

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence
from pydicom import Dataset

from dicomweb_archive.imaging.gif_animation import TRAILER, animation_frame, animation_head, frame_milliseconds


def gif(pixels: np.ndarray, **options) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "GIF", **options)
    return target.getvalue()


def test_each_frame_keeps_its_pixels_and_colours():
    generator = np.random.default_rng(7)
    pictures = [
        generator.integers(0, 256, (9, 13), np.uint8),
        np.zeros((9, 13), np.uint8),
        np.repeat(np.arange(117, dtype=np.uint8).reshape(9, 13, 1), 3, axis=2) * [1, 2, 0],
        generator.integers(0, 2, (9, 13), np.uint8) * 255,
    ]
    whole = [gif(picture.astype(np.uint8), comment="left out") for picture in pictures]
    data = animation_head(whole[0]) + b"".join(animation_frame(each, 40) for each in whole) + TRAILER
    with Image.open(io.BytesIO(data)) as film:
        assert (film.size, film.n_frames, film.info["loop"]) == ((13, 9), 4, 0)
        for each, frame in zip(whole, ImageSequence.Iterator(film), strict=True):
            assert frame.info["duration"] == 40
            alone = Image.open(io.BytesIO(each)).convert("RGB")
            assert np.array_equal(np.asarray(frame.convert("RGB")), np.asarray(alone))


@pytest.mark.parametrize(
    ("attributes", "milliseconds"),
    [
        ({"FrameTime": "40"}, 40),
        ({"CineRate": 25}, 40),
        ({"RecommendedDisplayFrameRate": "20"}, 50),
        ({"FrameTime": "0", "CineRate": 50}, 20),
        ({"FrameTime": "-1"}, 100),
        ({}, 100),
    ],
)
def test_frames_last_as_long_as_the_image_says(attributes: dict, milliseconds: float):
    header = Dataset()
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    assert frame_milliseconds(header) == milliseconds
