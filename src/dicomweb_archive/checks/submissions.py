"""Checks of a submission as a whole, against the archive, against itself, and against what was announced."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from dicomweb_archive.checks.findings import Remark, Severity


class Relation(StrEnum):
    """How an instance of a submission stands to one elsewhere, or a series to one."""

    SAME = "same"
    OTHER_BYTES = "other_bytes"
    OTHER_PLACE = "other_place"


class Related(NamedTuple):
    """An instance whose SOP Instance UID is known elsewhere: with the same bytes, others, or in another series."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    relation: Relation


class SplitSeries(NamedTuple):
    """A series whose Series Instance UID another study has too."""

    study_instance_uid: str
    series_instance_uid: str
    instances: int


@dataclass(frozen=True, slots=True)
class ManifestComparison:
    """What a submitter has announced, beside what has come.

    Attributes:
        missing: announced, and not there.
        unexpected: there, and not announced.
        other_bytes: there with another digest than announced.
        other_totals: how many of the totals are others: of studies, series, instances and bytes.
    """

    missing: int = 0
    unexpected: int = 0
    other_bytes: int = 0
    other_totals: int = 0


def remark_on_same(related: Related) -> Iterator[Remark]:
    """Say that the archive has an instance already, with the same bytes."""
    if related.relation is Relation.SAME:
        yield Remark(Severity.INFO, "the archive has this instance already, with the same bytes", "00080018")


def remark_on_conflict(related: Related) -> Iterator[Remark]:
    """Say that a SOP Instance UID is taken by other bytes."""
    if related.relation is Relation.OTHER_BYTES:
        yield Remark(Severity.BLOCK, "this SOP Instance UID is known with other bytes", "00080018")


def remark_on_place(related: Related) -> Iterator[Remark]:
    """Say that a SOP Instance UID is taken in another series or study."""
    if related.relation is Relation.OTHER_PLACE:
        yield Remark(Severity.BLOCK, "this SOP Instance UID is known in another series or study", "00080018")


def remark_on_split(series: SplitSeries) -> Iterator[Remark]:
    """Say that a series is in two studies."""
    yield Remark(Severity.BLOCK, "this Series Instance UID is known in another study", "0020000E", series.instances)


class PixelDigest(NamedTuple):
    """The pixel data of an instance, as a digest of their bytes."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    digest: bytes


_DIGEST_BYTES: Final = 16


class SeenPixels:
    """The pixel data of a submission that were seen so far; some 100 bytes of memory each."""

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def repeats(self, pixels: PixelDigest) -> bool:
        """Take in the pixel data of an instance, and tell whether one with another UID has had the same."""
        digest = pixels.digest[:_DIGEST_BYTES]
        is_known = digest in self._digests
        self._digests.add(digest)
        return is_known


def remark_on_pixels(_: PixelDigest) -> Iterator[Remark]:
    """Say that another instance has the same pixel data."""
    yield Remark(Severity.WARN, "another instance has the same pixel data", "7FE00010")


def check_manifest(found: ManifestComparison) -> Iterator[Remark]:
    """Compare what was announced with what has come."""
    path = "00080018"
    if found.missing:
        yield Remark(Severity.BLOCK, "instances that were announced have not come", path, found.missing)
    if found.unexpected:
        yield Remark(Severity.BLOCK, "instances have come that were not announced", path, found.unexpected)
    if found.other_bytes:
        yield Remark(Severity.BLOCK, "instances have other bytes than were announced", path, found.other_bytes)
    if found.other_totals:
        yield Remark(Severity.BLOCK, "there are more or fewer studies, series, instances or bytes than were announced")
