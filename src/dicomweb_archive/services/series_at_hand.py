"""Series at hand: what came lately, so that the next lone instance of a series is read by what differs from it."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.raw_walk import SeriesTemplate

_MOST_SERIES: Final = 32
_MOST_MISSES: Final = 8

# With so many bytes besides its pixels an instance is walked in some 50 µs, and a hand-over to a thread takes as
# much again. What differs is decoded, in a thread: 23 ms for the functional groups of 33 frames (114 KB of JSON).
WALKED_BYTES: Final = 1024 * 1024
"""A longer instance is walked in a thread."""
WALKED_ATTRIBUTE_BYTES: Final = 64 * 1024
"""So is one with more than this besides its pixels."""

# (0020,000E) with its VR, and where the first of them begins at the latest.
_SERIES_UID: Final = b"\x20\x00\x0e\x00UI"
_WITHIN_BYTES: Final = 64 * 1024
_LONGEST_UID: Final = 64


@dataclass(slots=True)
class _Series:
    """What is known of a series: nothing but that it was seen, or a template; none any more when it did not help."""

    template: SeriesTemplate | None = None
    pixel_bytes: int = 0
    misses: int = 0

    @property
    def is_hopeless(self) -> bool:
        return self.misses > _MOST_MISSES


class SeriesAtHand:
    """The series that a process has lately received instances of, in whatever requests they came.

    A modality sends a series by hundreds of requests of one instance each. A full scan of each costs many times what
    reading it by its differences does, and instances that are read by one template share its attributes, so that
    several of them can be written as one segment. A template is made of the second instance of a series, because it
    costs as much as a scan. What it cannot read is left to the full scan, as everywhere.
    """

    def __init__(self) -> None:
        self._series: OrderedDict[bytes, _Series] = OrderedDict()

    def walk(self, data: bytes) -> ScannedInstance | None:
        """Read an instance of a series at hand; equal in outcome to its full scan, `None` when that must decide."""
        name = _name_of(data)
        if name is None or (known := self._series.get(name)) is None:
            return None
        if known.template is None or len(data) - known.pixel_bytes > WALKED_ATTRIBUTE_BYTES:
            return None
        self._series.move_to_end(name)
        walked = known.template.walk(data)
        known.misses = known.misses + 1 if walked is None else 0
        if known.is_hopeless:
            known.template = None
        return walked

    async def scan(self, data: bytes) -> ScannedInstance:
        """Read an instance in whole, in a thread, and keep its series at hand when it comes a second time.

        Raises:
            InvalidInstanceError: it is none that can be kept.
        """
        name = _name_of(data)
        if name is None:
            return await asyncio.to_thread(scan, data)
        known = self._series.get(name)
        if known is None:
            scanned = await asyncio.to_thread(scan, data)
            self._keep(name, _Series())
            return scanned
        self._series.move_to_end(name)
        if known.template is not None or known.is_hopeless:
            return await asyncio.to_thread(scan, data)
        scanned, template = await asyncio.to_thread(_scan_for_others, data)
        if template is None:
            known.misses = _MOST_MISSES + 1
        elif known.template is None:
            known.template, known.pixel_bytes = template, pixel_bytes_of(scanned)
        return scanned

    def _keep(self, name: bytes, series: _Series) -> None:
        self._series[name] = series
        self._series.move_to_end(name)
        if len(self._series) > _MOST_SERIES:
            self._series.popitem(last=False)


def pixel_bytes_of(instance: ScannedInstance) -> int:
    """Return how many bytes of an instance are pixels, which walking it passes over."""
    return 0 if instance.pixel_data is None else instance.pixel_data.length


def _scan_for_others(data: bytes) -> tuple[ScannedInstance, SeriesTemplate | None]:
    scanned = scan(data)
    is_small = len(data) - pixel_bytes_of(scanned) <= WALKED_ATTRIBUTE_BYTES
    return scanned, SeriesTemplate(data, scanned) if is_small else None


def _name_of(data: bytes) -> bytes | None:
    """Return the first Series Instance UID that stands in a file, for whatever it is there.

    It may be that of a referenced series, or none at all: it only says which template is worth trying.
    """
    if len(data) > WALKED_BYTES:
        return None
    at = data.find(_SERIES_UID, 0, _WITHIN_BYTES)
    if at < 0:
        return None
    length = int.from_bytes(data[at + 6 : at + 8], "little")
    return data[at + 8 : at + 8 + length] if 0 < length <= _LONGEST_UID else None
