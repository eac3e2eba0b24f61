"""Representative: which picture stands for a study or a series when there is room for one."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

_LOCALIZER = "LOCALIZER"
_SLIDE = "SM"
# What lies over other pictures, or is no picture of a patient by itself.
_SECONDARY_MODALITIES = frozenset({"SEG", "RTDOSE", "OT", "REG", "M3D"})
# The label of a slide is made to identify a patient, and an overview shows it (PS3.18 10.4.1.1.4).
_IDENTIFYING_FLAVOURS = frozenset({"LABEL", "OVERVIEW"})
_THUMBNAIL = "THUMBNAIL"


class SeriesOutline(NamedTuple):
    """What of a series is known without looking at its instances.

    Attributes:
        image_type: (0008,0008) of its instances, or of some of them.
        has_rows: its instances, or some of them, are images.
    """

    id: int
    series_instance_uid: str
    modality: str
    image_type: tuple[str, ...]
    has_rows: bool


class InstanceOutline(NamedTuple):
    """What of an instance decides whether it stands for its series.

    Attributes:
        segment_id, position: its row in the index.
        number: Instance Number (0020,0013).
        width: Total Pixel Matrix Columns (0048,0006) of a level of a slide.
    """

    segment_id: int
    position: int
    number: float | None
    image_type: tuple[str, ...]
    width: float | None = None


def rank_series(outlines: Iterable[SeriesOutline]) -> list[SeriesOutline]:
    """Sort the series of a study that hold images, best first; of equals the first one given stays first."""
    return sorted((each for each in outlines if each.has_rows), key=_series_rank)


def _series_rank(outline: SeriesOutline) -> int:
    if outline.modality.upper() in _SECONDARY_MODALITIES:
        return 2
    return int(_LOCALIZER in outline.image_type)


def rank_instances(outlines: Sequence[InstanceOutline], modality: str) -> list[InstanceOutline]:
    """Sort the instances of a series, best first: the one in the middle, and from there outwards.

    Of a slide it is the one made for the purpose, else the level of the lowest resolution; what shows its label
    is left out.
    """
    if modality.upper() == _SLIDE:
        return sorted((o for o in outlines if _IDENTIFYING_FLAVOURS.isdisjoint(o.image_type)), key=_level_rank)
    ordered = sorted(outlines, key=_place)
    middle = (len(ordered) - 1) / 2
    return [ordered[index] for index in sorted(range(len(ordered)), key=lambda index: abs(index - middle))]


def _level_rank(outline: InstanceOutline) -> tuple[bool, float]:
    return _THUMBNAIL not in outline.image_type, outline.width or float("inf")


def _place(outline: InstanceOutline) -> tuple[bool, float, int, int]:
    """Order by Instance Number, as people count; what has none comes last and as it was stored."""
    return outline.number is None, outline.number or 0, outline.segment_id, outline.position


def middle_frame(number_of_frames: int) -> int:
    """Return which frame, from 1, stands for an instance."""
    return (number_of_frames + 1) // 2
