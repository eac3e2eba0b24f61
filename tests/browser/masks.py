"""Masks: which pixels are marked, by colour on the screen or by what was stored, and how far two agree."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tests.browser.pictures import Picture

Mask: TypeAlias = NDArray[np.bool_]


def coloured(picture: Picture) -> Mask:
    """Mark what is not grey, as a CT below it is."""
    return np.ptp(picture, axis=2) > 0.08


def covered(picture: Picture, mask: Mask) -> Picture:
    """Return a grey picture in the size of a mask, with what it marks painted over."""
    grey = picture if picture.ndim == 2 else picture.mean(axis=2)
    rows, columns = mask.shape
    image = Image.fromarray(np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8))
    large = np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR), dtype=np.float64) / 255
    return np.where(mask, 0.5, large)


def agreement(shown: Mask, expected: Mask) -> float:
    """Return what two masks have in common, of what either marks."""
    expected = _enlarged(expected, shown.shape)
    return float((shown & expected).sum() / (shown | expected).sum())


def _enlarged(mask: Mask, shape: tuple[int, ...]) -> Mask:
    rows, columns = shape
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.resize((columns, rows), Image.Resampling.NEAREST)) > 127
