"""What comes of a series one by one is read by its differences, and means what a full scan says."""

import pytest
from pydicom.uid import ImplicitVRLittleEndian
from tests.factories import ct_series, image, part10

from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.services import series_at_hand as module
from dicomweb_archive.services.series_at_hand import SeriesAtHand


async def read(at_hand: SeriesAtHand, data: bytes) -> bool:
    """Read an instance as a full scan does; tells whether it was walked."""
    walked = at_hand.walk(data)
    scanned = walked or await at_hand.scan(data)
    expected = scan(data)
    assert scanned.attributes() == expected.attributes()
    assert scanned.pixel_data == expected.pixel_data
    assert scanned.remarks == expected.remarks
    return walked is not None


async def test_from_the_third_instance_on_a_series_is_read_by_its_differences() -> None:
    at_hand = SeriesAtHand()
    assert [await read(at_hand, data) for data in ct_series(5)] == [False, False, True, True, True]


async def test_series_that_come_side_by_side_are_told_apart() -> None:
    at_hand = SeriesAtHand()
    several = [ct_series(4, series=number, study=number) for number in (1, 2, 3)]
    walked = [await read(at_hand, data) for each in zip(*several, strict=True) for data in each]
    assert walked == [False] * 6 + [True] * 6


async def test_instances_of_a_series_that_share_a_template_share_its_attributes() -> None:
    at_hand = SeriesAtHand()
    first, second, *others = ct_series(5)
    await read(at_hand, first)
    await read(at_hand, second)
    walked = [at_hand.walk(data) for data in others]
    assert len({id(each.base) for each in walked if each is not None}) == 1
    assert None not in walked


async def test_the_series_seen_longest_ago_is_forgotten() -> None:
    at_hand = SeriesAtHand()
    first, second, third = ct_series(3)
    await read(at_hand, first)
    await read(at_hand, second)
    for number in range(2, 34):
        await read(at_hand, ct_series(1, series=number)[0])
    assert not await read(at_hand, third)


async def test_a_series_that_goes_on_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_SERIES", 2)
    at_hand = SeriesAtHand()
    walked = []
    for number, data in enumerate(ct_series(5), start=2):
        walked.append(await read(at_hand, data))
        await read(at_hand, ct_series(1, series=number)[0])
    assert walked == [False, False, True, True, True]


async def test_a_template_that_does_not_help_is_tried_no_more() -> None:
    at_hand = SeriesAtHand()
    for data in ct_series(2):
        await read(at_hand, data)
    # Of the same series by name, and of another study.
    others = [data.replace(b"1463.1\0", b"1463.2\0") for data in ct_series(12)]
    assert others != ct_series(12)
    for data in others:
        assert not await read(at_hand, data)
    assert not await read(at_hand, ct_series(3)[2])


async def test_what_templates_are_not_made_for_is_scanned_each_time() -> None:
    at_hand = SeriesAtHand()
    for number in range(1, 5):
        assert not await read(at_hand, part10(image(instance=number), transfer_syntax=ImplicitVRLittleEndian))
    long = [part10(image(instance=number, PixelData=bytes(2 << 20))) for number in range(1, 5)]
    assert [await read(at_hand, data) for data in long] == [False] * 4
