"""Intake: received bytes -> scanned instances, the further ones of a series compared with its first."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.raw_walk import SeriesTemplate, delta_against
from dicomweb_archive.services.series_at_hand import (
    WALKED_ATTRIBUTE_BYTES,
    WALKED_BYTES,
    SeriesAtHand,
    pixel_bytes_of,
)

SERIES_KEPT = 4
"""Series of one request that are kept at hand; modalities and exports interleave few."""

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
        attribute_bytes = len(data) - pixel_bytes_of(self.first)
        if len(data) <= WALKED_BYTES and attribute_bytes <= WALKED_ATTRIBUTE_BYTES:
            return self.template.walk(data)
        return await asyncio.to_thread(self.template.walk, data)


class Intake:
    """Scans the instances of one request; those of a series share the attributes of the first.

    Args:
        at_hand: series that other requests have brought instances of; `None`: there are no others.
    """

    def __init__(self, at_hand: SeriesAtHand | None = None) -> None:
        self._at_hand = at_hand or SeriesAtHand()
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
        walked = self._at_hand.walk(data)
        if walked is not None:
            return walked
        scanned = await self._at_hand.scan(data)
        key = series_key(scanned)
        known = self._series.get(key)
        if known is not None:
            self._series.move_to_end(key)
            return delta_against(known.first.base, scanned)
        self._series[key] = _Series(data, scanned)
        if len(self._series) > SERIES_KEPT:
            self._series.popitem(last=False)
        return scanned
