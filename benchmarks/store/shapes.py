"""What is stored: instances without end in a few shapes, made cheaply of templates."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tests.factories import ROOT, image, part10

_STUDY = 1_000_000_000
"""The study of the templates: its digits are replaced by those of another one, of which there are as many."""

_PIXEL_DATA = b"\xe0\x7f\x10\x00OW\0\0"
"""Tag and VR of Pixel Data as OW; four bytes of length follow."""

Pieces = Sequence[bytes]


@dataclass(frozen=True)
class Shape:
    """Instances of one size, in series of a length, in studies of a number of series."""

    name: str
    side: int
    frames: int = 1
    series_length: int = 100
    series_of_study: int = 3

    @property
    def study_length(self) -> int:
        """How many instances a study has."""
        return self.series_length * self.series_of_study

    @cached_property
    def _pixels(self) -> bytes:
        # As much noise as a scanner makes: what cannot be compressed or found twice.
        return os.urandom(self.side * self.side * 2) * self.frames

    @cached_property
    def _heads(self) -> list[bytes]:
        return [
            self._head(series, number)
            for series in range(1, self.series_of_study + 1)
            for number in range(1, self.series_length + 1)
        ]

    def _head(self, series: int, number: int) -> bytes:
        # A data set is written with few pixels, and its end made anew for all of them.
        dataset = image(
            rows=self.side, columns=self.side, study=_STUDY, series=series, instance=number, PixelData=bytes(2)
        )
        if self.frames > 1:
            dataset.NumberOfFrames = self.frames
        data = part10(dataset)
        return data[: data.rindex(_PIXEL_DATA)] + _PIXEL_DATA + len(self._pixels).to_bytes(4, "little")

    @property
    def instance_bytes(self) -> int:
        """About how long an instance is."""
        return len(self._pixels) + len(self._heads[0])

    def instance(self, number: int, *, first_study: int) -> Pieces:
        """Return the pieces of instance `number`, counted through the studies from `first_study` on."""
        study, place = divmod(number, self.study_length)
        digits = b"%d" % (_STUDY + first_study + study)
        return self._heads[place].replace(b"%d" % _STUDY, digits), self._pixels

    def series_path(self, *, study: int, series: int = 1) -> str:
        """Return the path of a series below the root of the service."""
        return f"/studies/{ROOT}.{_STUDY + study}/series/{ROOT}.{_STUDY + study}.{series}"


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("ct", 512),
        Shape("small", 64),
        Shape("studies", 64, series_length=5, series_of_study=2),
        Shape("large", 512, frames=200, series_length=1, series_of_study=1),
    )
}
"""CT slices; as many small ones; small ones in studies of ten; multi-frame instances of 105 MB."""
