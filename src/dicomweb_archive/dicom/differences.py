"""Differences: which attributes two instances of one UID do not have alike."""

from collections.abc import Iterator
from typing import NamedTuple

from dicomweb_archive.dicom.instance import Element, ScannedInstance


class Difference(NamedTuple):
    """An attribute that two instances do not have alike; `None` stands for an instance that lacks it."""

    tag: int
    first: Element | None
    second: Element | None


class BulkRegion(NamedTuple):
    """Where the bytes of one bulk value lie in the two files; an offset counts from the first byte of its file."""

    tag: int
    first: tuple[int, int]
    second: tuple[int, int]


def differences(first: ScannedInstance, second: ScannedInstance) -> Iterator[Difference]:
    """Yield the attributes of the data set that differ, ascending by tag; bytes of bulk values are not compared."""
    mine, theirs = first.attributes(), second.attributes()
    for tag in sorted(mine.keys() | theirs.keys()):
        one, other = mine.get(tag), theirs.get(tag)
        if one is None or other is None or (one.vr, one.json) != (other.vr, other.json):
            yield Difference(tag, one, other)


def bulk_regions(first: ScannedInstance, second: ScannedInstance) -> Iterator[BulkRegion]:
    """Yield where the bulk values of the data set lie that both instances have, pixel data among them."""
    mine, theirs = _regions(first), _regions(second)
    for tag in sorted(mine.keys() & theirs.keys()):
        yield BulkRegion(tag, mine[tag], theirs[tag])


def _regions(scanned: ScannedInstance) -> dict[int, tuple[int, int]]:
    regions = {int(bulk.path, 16): (bulk.offset, bulk.length) for bulk in scanned.bulk if "/" not in bulk.path}
    if scanned.pixel_data is not None:
        regions[scanned.pixel_data.tag] = (scanned.pixel_data.offset, scanned.pixel_data.length)
    return regions
