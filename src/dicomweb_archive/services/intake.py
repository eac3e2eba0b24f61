"""Intake: received bytes -> scanned instances, the further ones of a series compared with its first."""

import asyncio
from collections import OrderedDict

from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.raw_walk import SeriesTemplate, delta_against

SERIES_KEPT = 4
"""Series of one request that are kept at hand; modalities and exports interleave few."""

# Up to this size a walk takes some 50 µs and a hand-over to a thread as much again. A hostile file of this size
# can hold the loop for some milliseconds, which nobody notices.
_WALK_AT_ONCE_BYTES = 1024 * 1024

SeriesKey = tuple[str, str]


def series_key(instance: ScannedInstance) -> SeriesKey:
    """Return what tells the series of a request apart: study and series, for series UIDs are reused."""
    return instance.study_instance_uid, instance.series_instance_uid


class Intake:
    """Scans the instances of one request; those of a series share the attributes of the first."""

    def __init__(self) -> None:
        self._templates: OrderedDict[SeriesKey, SeriesTemplate] = OrderedDict()

    async def scan(self, data: bytes) -> ScannedInstance:
        """Read one whole instance.

        Raises:
            InvalidInstanceError: it is none that can be kept.
        """
        walked = await self._walk(data)
        if walked is not None:
            self._templates.move_to_end(series_key(walked))
            return walked
        scanned = await asyncio.to_thread(scan, data)
        key = series_key(scanned)
        template = self._templates.get(key)
        if template is not None:
            self._templates.move_to_end(key)
            return delta_against(template.base, scanned)
        self._templates[key] = SeriesTemplate(data, scanned)
        if len(self._templates) > SERIES_KEPT:
            self._templates.popitem(last=False)
        return scanned

    async def _walk(self, data: bytes) -> ScannedInstance | None:
        """Try the series at hand, the last one first."""
        for key in reversed(self._templates):
            template = self._templates[key]
            if len(data) <= _WALK_AT_ONCE_BYTES:
                walked = template.walk(data)
            else:
                walked = await asyncio.to_thread(template.walk, data)
            # A walk may succeed for an instance of another series, whose base this one must not share.
            if walked is not None and series_key(walked) == key:
                return walked
        return None
