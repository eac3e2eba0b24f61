"""Intake: received bytes -> scanned instances, the further ones of a series compared with its first."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.raw_walk import SeriesTemplate, delta_against

SERIES_KEPT = 4
"""Series of one request that are kept at hand; modalities and exports interleave few."""

# With so many bytes besides its pixels an instance is walked in some 50 µs, and a hand-over to a thread takes as
# much again. What differs is decoded, in a thread: 23 ms for the functional groups of 33 frames (114 KB of JSON).
_WALK_AT_ONCE_BYTES = 1024 * 1024
_ATTRIBUTES_AT_ONCE_BYTES = 64 * 1024

_IDENTIFIERS_WITHIN = 64 * 1024

SeriesKey = tuple[str, str]


def series_key(instance: ScannedInstance) -> SeriesKey:
    """Return what tells the series of a request apart: study and series, for series UIDs are reused."""
    return instance.study_instance_uid, instance.series_instance_uid


@dataclass(slots=True)
class _Series:
    """A series at hand: its first instance, and the template that the second one makes worthwhile."""

    data: bytes
    first: ScannedInstance
    template: SeriesTemplate | None = None

    async def walk(self, data: bytes) -> ScannedInstance | None:
        if self.template is None:
            # A template costs as much as a scan, which the first instance of another series should not pay.
            if data.find(self.first.series_instance_uid.encode(), 0, _IDENTIFIERS_WITHIN) < 0:
                return None
            self.template = await asyncio.to_thread(SeriesTemplate, self.data, self.first)
            self.data = b""
        pixels = self.first.pixel_data
        attribute_bytes = len(data) - (pixels.length if pixels is not None else 0)
        if len(data) <= _WALK_AT_ONCE_BYTES and attribute_bytes <= _ATTRIBUTES_AT_ONCE_BYTES:
            return self.template.walk(data)
        return await asyncio.to_thread(self.template.walk, data)


class Intake:
    """Scans the instances of one request; those of a series share the attributes of the first."""

    def __init__(self) -> None:
        self._series: OrderedDict[SeriesKey, _Series] = OrderedDict()

    async def scan(self, data: bytes) -> ScannedInstance:
        """Read one whole instance.

        Raises:
            InvalidInstanceError: it is none that can be kept.
        """
        # The last series first: most requests hold one after the other.
        for key in reversed(self._series):
            walked = await self._series[key].walk(data)
            if walked is not None:
                self._series.move_to_end(key)
                return walked
        scanned = await asyncio.to_thread(scan, data)
        key = series_key(scanned)
        known = self._series.get(key)
        if known is not None:
            self._series.move_to_end(key)
            return delta_against(known.first.base, scanned)
        self._series[key] = _Series(data, scanned)
        if len(self._series) > SERIES_KEPT:
            self._series.popitem(last=False)
        return scanned
