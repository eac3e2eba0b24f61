"""Checks of a series as a whole: the geometry of its slices, and whether they show a face."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

from dicomweb_archive.checks.content import SeriesPart, first_text, texts_of
from dicomweb_archive.checks.findings import Remark, Severity
from dicomweb_archive.dicom.instance import Element

_MODALITY: Final = 0x00080060
_IMAGE_TYPE: Final = 0x00080008
_BODY_PART: Final = 0x00180015
_DESCRIPTIONS: Final = (0x00081030, 0x0008103E, 0x00181030)
_INSTANCE_NUMBER: Final = 0x00200013
_POSITION: Final = 0x00200032
_ORIENTATION: Final = 0x00200037
_PIXEL_SPACING: Final = 0x00280030
_FRAMES: Final = 0x00280008
_RECOGNIZABLE: Final = 0x00280302

_HEADS: Final = ("HEAD", "BRAIN", "SKULL", "FACE", "NEURO", "CRANI", "SINUS", "ORBIT", "CEREBR", "TEMPORAL")
_VOLUMES: Final = frozenset({"CT", "MR", "PT"})
_FACE_SLICES: Final = 20
_FACE_SPACING: Final = 3.0
_GAP: Final = 1.5
_TOLERANCE: Final = 1e-3


class Slice(NamedTuple):
    """What of one instance matters for the geometry of its series; angles and places to a thousandth."""

    number: str
    location: float | None
    orientation: tuple[float, ...]
    frames: int


@dataclass(slots=True)
class SeriesSummary:
    """What is remembered of a series while its parts go by: some 200 bytes an instance."""

    study_instance_uid: str
    series_instance_uid: str
    modality: str = ""
    shows_head: bool = False
    is_cleaned: bool = True
    spacing: float = 0.0
    slices: list[Slice] = field(default_factory=list)

    def add(self, part: SeriesPart) -> None:
        """Take in a part."""
        self.modality = self.modality or first_text(part.occurrences(_MODALITY))
        told = [part.occurrences(tag) for tag in (_BODY_PART, *_DESCRIPTIONS)]
        texts = [text.upper() for found in told for each in found for text in texts_of(each.element)]
        self.shows_head = self.shows_head or any(word in text for text in texts for word in _HEADS)
        cleaned = sum(each.instances for each in part.occurrences(_RECOGNIZABLE) if "NO" in each.element.values)
        self.is_cleaned = self.is_cleaned and cleaned == len(part.files)
        spacing = part.occurrences(_PIXEL_SPACING)
        self.spacing = self.spacing or next(iter(_numbers(spacing[0].element if spacing else None)), 0.0)
        self.slices += [_slice(part, position) for position, file in enumerate(part.files) if file.pixel_data]


def check_geometry(series: SeriesSummary) -> Iterator[Remark]:
    """Look for gaps, repeated places, several orientations and missing Instance Numbers (PS3.3 C.7.6.2)."""
    slices = series.slices
    if without := sum(not each.number for each in slices):
        yield Remark(Severity.WARN, "Instance Number is missing", f"{_INSTANCE_NUMBER:08X}", without)
    numbers = Counter(each.number for each in slices if each.number)
    if repeated := sum(count for count in numbers.values() if count > 1):
        yield Remark(Severity.WARN, "instances have the same Instance Number", f"{_INSTANCE_NUMBER:08X}", repeated)
    placed = [each for each in slices if each.location is not None]
    if len({each.orientation for each in placed}) > 1:
        yield Remark(Severity.WARN, "slices have more than one orientation", f"{_ORIENTATION:08X}", len(placed))
    elif series.modality in _VOLUMES:
        yield from _judge_locations([each.location for each in placed if each.location is not None])


def _judge_locations(locations: Sequence[float]) -> Iterator[Remark]:
    path = f"{_POSITION:08X}"
    counted = Counter(locations)
    # As many at each place are phases, echoes or directions, and no mistake.
    if len(counted) > 1 and len(set(counted.values())) > 1:
        most = Counter(counted.values()).most_common(1)[0][0]
        odd = sum(count for count in counted.values() if count != most)
        yield Remark(Severity.WARN, "some places have more slices than others", path, odd)
    steps = [after - before for before, after in pairwise(sorted(counted))]
    usual = median(steps) if len(steps) > 2 else 0.0
    if gaps := sum(step > usual * _GAP + _TOLERANCE for step in steps if usual):
        yield Remark(Severity.WARN, "there are gaps between slices", path, gaps)


def check_face(series: SeriesSummary) -> Iterator[Remark]:
    """Find volumes of heads that are fine enough to render a face from (PS3.15 E.3.2)."""
    if series.is_cleaned or not series.shows_head or series.modality not in _VOLUMES:
        return
    locations = sorted({each.location for each in series.slices if each.location is not None})
    steps = [after - before for before, after in pairwise(locations)]
    is_fine = len(locations) >= _FACE_SLICES and median(steps) <= _FACE_SPACING and series.spacing <= _FACE_SPACING
    if is_fine or any(each.frames >= _FACE_SLICES for each in series.slices):
        message = "a volume of a head, from which a face could be rendered"
        yield Remark(Severity.WARN, message, f"{_BODY_PART:08X}", len(series.slices))


def _slice(part: SeriesPart, position: int) -> Slice:
    number, frames = part.at(_INSTANCE_NUMBER, position), _numbers(part.at(_FRAMES, position))
    orientation = _numbers(part.at(_ORIENTATION, position))
    place = _numbers(part.at(_POSITION, position))
    image_type = part.at(_IMAGE_TYPE, position)
    is_overview = image_type is not None and "LOCALIZER" in image_type.values
    return Slice(
        number=next(iter(texts_of(number)), "") if number is not None else "",
        location=None if is_overview else _location(orientation, place),
        orientation=tuple(round(value, 3) for value in orientation),
        frames=int(frames[0]) if frames and 0 < frames[0] < 1e6 else 1,
    )


def _location(orientation: Sequence[float], place: Sequence[float]) -> float | None:
    """Return how far along the normal of its plane a slice lies, in millimetres."""
    if len(orientation) != 6 or len(place) != 3:
        return None
    x, y = orientation[:3], orientation[3:]
    normal = (x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0])
    return round(sum(a * b for a, b in zip(normal, place, strict=True)), 3)


def _numbers(element: Element | None) -> list[float]:
    values = element.values if element is not None else ()
    try:
        found = [float(value) for value in values if isinstance(value, str | int | float)]
    except (ValueError, OverflowError):
        return []
    return found if all(abs(value) < 1e12 for value in found) else []
