"""Fragments and frames: each kind of offset table, and what does not fit."""

import pytest

from dicomweb_archive.dicom.instance import PixelData
from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.encapsulated_frames import fragments_of_frames

# Items at 100, 118, 136 with 10 bytes each behind their heads of 8.
FRAGMENTS = ((108, 10), (126, 10), (144, 10))


def stored(
    *, basic: tuple[int, ...] = (), extended: tuple[tuple[int, int], ...] = (), fragments: object = FRAGMENTS
) -> PixelData:
    return PixelData(0x7FE00010, "OB", 92, 62, True, fragments, basic, extended)  # type: ignore[arg-type]


def test_one_frame_has_all_fragments() -> None:
    assert fragments_of_frames(stored(), 1) == [FRAGMENTS]
    assert fragments_of_frames(stored(basic=(0,)), 1) == [FRAGMENTS]


def test_without_a_table_each_fragment_is_a_frame() -> None:
    assert fragments_of_frames(stored(), 3) == [(fragment,) for fragment in FRAGMENTS]


def test_the_basic_table_groups_fragments() -> None:
    assert fragments_of_frames(stored(basic=(0, 36)), 2) == [FRAGMENTS[:2], FRAGMENTS[2:]]


def test_the_extended_table_trims_padding() -> None:
    extended = ((0, 10), (18, 9), (36, 10))
    assert fragments_of_frames(stored(extended=extended), 3) == [((108, 10),), ((126, 9),), ((144, 10),)]


@pytest.mark.parametrize(
    ("given", "frames"),
    [
        ({}, 2),
        ({"basic": (0, 17)}, 2),
        ({"basic": (36, 0)}, 2),
        ({"basic": (0, 1000)}, 2),
        ({"basic": (0, 36), "fragments": ()}, 2),
        ({"extended": ((0, 11), (18, 10), (36, 10))}, 3),
        ({"extended": ((1, 5), (18, 10), (36, 10))}, 3),
        ({"extended": ((0, 10), (18, 10))}, 3),
        ({"extended": ((0, 10),), "fragments": ()}, 1),
    ],
    ids=str,
)
def test_tables_that_contradict_the_fragments_are_refused(given: dict[str, object], frames: int) -> None:
    with pytest.raises(UndecodableError):
        fragments_of_frames(stored(**given), frames)  # type: ignore[arg-type]
