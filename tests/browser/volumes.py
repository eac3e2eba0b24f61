"""Series with a geometry, made so that each slice is unlike its neighbours and each plane unlike its mirror image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage
from tests.factories import ROOT, image, part10

Volume = NDArray[np.int16]


def volume(slices: int, rows: int = 128, columns: int = 128, *, seed: int = 0) -> Volume:
    """Return a volume (slices, rows, columns) of soft clouds, with values from 0 to 2000."""
    knots = (max(4, slices // 2), 7, 7)
    cloud = np.random.default_rng(seed).uniform(0, 1, knots)
    for axis, count in enumerate((slices, rows, columns)):
        cloud = _stretched(cloud, axis, count)
    low, high = np.percentile(cloud, (2, 98))
    return (np.clip((cloud - low) / (high - low), 0, 1) * 2000).astype(np.int16)


def series_of(values: Volume, *, study: int, series: int = 1, spacing: float = 2.0, **overrides: Any) -> list[Dataset]:
    """Return a volume's slices as CT images, or MR by `Modality`, of which the viewer can make other planes."""
    is_mr = overrides.get("Modality") == "MR"
    common: dict[str, Any] = {
        "SOPClassUID": MRImageStorage if is_mr else CTImageStorage,
        "FrameOfReferenceUID": f"{ROOT}.{study}.{series}.0",
        "PatientPosition": "HFS",
        "PixelSpacing": ["1.5", "1.5"],
        "SliceThickness": str(spacing),
        "RescaleIntercept": "0" if is_mr else "-1000",
        "WindowCenter": "1000" if is_mr else "0",
        "WindowWidth": "2000",
    }
    count, rows, columns = values.shape
    return [
        image(
            **{
                "rows": rows,
                "columns": columns,
                "study": study,
                "series": series,
                "instance": index + 1,
                **common,
                "ImagePositionPatient": [-columns * 0.75, -rows * 0.75, round((index - count / 2) * spacing, 3)],
                "SliceLocation": str(round((index - count / 2) * spacing, 3)),
                "PixelData": values[index].astype("<u2").tobytes(),
                **overrides,
            }
        )
        for index in range(count)
    ]


def written(images: list[Dataset]) -> list[bytes]:
    """Return images as Part 10 files."""
    return [part10(each) for each in images]


def _stretched(values: NDArray[np.float64], axis: int, count: int) -> NDArray[np.float64]:
    """Interpolate an axis linearly to a number of places."""
    places = np.linspace(0, values.shape[axis] - 1, count)
    below = np.minimum(places.astype(int), values.shape[axis] - 2)
    shape = [1] * values.ndim
    shape[axis] = count
    share = (places - below).reshape(shape)
    return np.take(values, below, axis) * (1 - share) + np.take(values, below + 1, axis) * share
