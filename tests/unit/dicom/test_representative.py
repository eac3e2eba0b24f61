"""Which picture stands for a study or a series."""

import pytest

from dicomweb_archive.dicom.representative import (
    InstanceOutline,
    SeriesOutline,
    middle_frame,
    rank_instances,
    rank_series,
)


def series(
    name: str, modality: str = "CT", image_type: tuple[str, ...] = (), *, has_rows: bool = True
) -> SeriesOutline:
    return SeriesOutline(0, name, modality, image_type, has_rows)


def instance(position: int, number: float | None = None, flavour: str = "AXIAL", width: float | None = None):
    return InstanceOutline(1, position, number, ("ORIGINAL", "PRIMARY", flavour), width)


def test_images_go_before_localizers_and_these_before_what_lies_over_them():
    outlines = [
        series("report", "SR", has_rows=False),
        series("dose", "RTDOSE"),
        series("scout", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")),
        series("first"),
        series("second", "MR"),
        series("mask", "SEG"),
    ]
    assert [each.series_instance_uid for each in rank_series(outlines)] == ["first", "second", "scout", "dose", "mask"]


@pytest.mark.parametrize(
    ("numbers", "best"),
    [([1, 2, 3, 4, 5], 3), ([5, 4, 3, 2, 1], 3), ([10, 1, 7], 7), ([1, 2], 1), ([4], 4), ([None, 8, None], None)],
)
def test_a_series_is_shown_by_its_middle(numbers: list[float | None], best: float | None):
    ranked = rank_instances([instance(place, number) for place, number in enumerate(numbers)], "CT")
    assert ranked[0].number == best
    assert len(ranked) == len(numbers)


def test_of_a_slide_labels_are_left_out_and_the_smallest_level_stands_for_all():
    levels = [
        instance(0, flavour="LABEL", width=10),
        instance(1, flavour="VOLUME", width=50_000),
        instance(2, flavour="VOLUME", width=900),
        instance(3, flavour="OVERVIEW", width=20),
        instance(4, flavour="VOLUME"),
    ]
    assert [each.position for each in rank_instances(levels, "SM")] == [2, 1, 4]
    assert rank_instances([*levels, instance(5, flavour="THUMBNAIL", width=1000)], "SM")[0].position == 5


def test_the_middle_frame_is_counted_from_one():
    assert [middle_frame(frames) for frames in (1, 2, 3, 15)] == [1, 1, 2, 8]
