"""A CT series as large as a real one: 512 x 512, made of the demo's phantom."""

import io
from collections.abc import Iterator

import numpy as np
from pydicom import dcmread
from pydicom.uid import generate_uid

from dicomweb_archive.cli.client.phantom import iter_demo
from dicomweb_archive.cli.client.phantom_volume import AIR_HOUNSFIELD, paint, with_noise

SIZE = 512
STUDY = generate_uid(entropy_srcs=["dicomweb-archive", "benchmark of the viewer", "study"])
_SERIES = generate_uid(entropy_srcs=["dicomweb-archive", "benchmark of the viewer", "series"])


def iter_series(slices: int) -> Iterator[bytes]:
    """Make the Part 10 files of the series; each keeps the header of a slice of the demo."""
    volume = with_noise(paint((slices, SIZE, SIZE), "hounsfield", AIR_HOUNSFIELD), 6.0, seed=3)
    stored = np.clip(volume + 1024, 0, 4095).astype("<i2")
    heads = (made for made in iter_demo("viewer benchmark", ct_slices=slices, mr_slices=0) if "ct" in made.name)
    for head, pixels in zip(heads, stored, strict=True):
        image = dcmread(io.BytesIO(head.data))
        half = [float(value) / 2 for value in image.PixelSpacing]
        image.PixelSpacing = half
        image.StudyInstanceUID, image.SeriesInstanceUID = STUDY, _SERIES
        image.Rows = image.Columns = SIZE
        image.PixelData = pixels.tobytes()
        buffer = io.BytesIO()
        image.save_as(buffer)
        yield buffer.getvalue()
