"""Location cache: where the instances of recently touched segments lie, bounded, and never long out of date."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice, takewhile

from dicomweb_archive.dicom.instance import BulkValue, PixelData
from dicomweb_archive.imaging.pixel_format import PixelFormat
from dicomweb_archive.index.access import Visibility

FRESH_SECONDS = 0.5
"""How long an entry is believed without asking the database; a delete by another process shows after that."""

RELOADED_SECONDS = 600.0
"""An entry that is older is read anew: compaction puts bytes elsewhere and leaves the segment as it is. Where they lay
before they stay much longer than this."""

IN_USE_SECONDS = 1.0
"""A segment that was asked for since then is likely to be asked for again."""

MOST_CHECKED = 256
"""So many segments are asked about at once."""


@dataclass(frozen=True, slots=True)
class InstanceLocation:
    """Where an instance lies, and what is needed to serve it without its attributes.

    Attributes:
        byte_offset: of the first byte of its Part 10 file within the object; offsets of pixel data and bulk
            values count from there.
        digest: BLAKE3-256 of the bytes as they are kept.
        neutralised: the preamble was zeroed, so stored and received bytes differ in the first 128.
        pixel_format: layout of the frames, for an instance with pixel data.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    object_key: str
    byte_offset: int
    byte_length: int
    digest: bytes
    pixel_data: PixelData | None
    bulk: tuple[BulkValue, ...]
    neutralised: bool
    pixel_format: PixelFormat | None = None


@dataclass(slots=True)
class CachedSegment:
    """The locations of one segment as one visibility sees them; `checked_at` is before they were read."""

    segment_id: int
    visibility: Visibility
    locations: dict[str, InstanceLocation]
    checked_at: float
    loaded_at: float = field(init=False)
    used_at: float = field(init=False)
    weight: int = field(init=False)

    def __post_init__(self) -> None:
        self.loaded_at = self.used_at = self.checked_at
        self.weight = sum(_weight(location) for location in self.locations.values())


class LocationCache:
    """Segments by the instances in them, least recently used out first.

    Args:
        capacity_bytes: estimated memory.
        clock: seconds that only go forward.
    """

    def __init__(self, *, capacity_bytes: int, clock: Callable[[], float]) -> None:
        self._capacity_bytes = capacity_bytes
        self._clock = clock
        self._weight = 0
        self._segments: OrderedDict[tuple[Visibility, int], CachedSegment] = OrderedDict()
        self._by_uid: dict[tuple[Visibility, str], CachedSegment] = {}

    def now(self) -> float:
        """Return the present time of the cache's clock."""
        return self._clock()

    def find(self, visibility: Visibility, sop_instance_uid: str) -> CachedSegment | None:
        """Return the segment with this instance, fresh or not."""
        segment = self._by_uid.get((visibility, sop_instance_uid))
        if segment is not None:
            self._segments.move_to_end((visibility, segment.segment_id))
            segment.used_at = self._clock()
        return segment

    def in_use(self, visibility: Visibility) -> list[CachedSegment]:
        """Return the segments that were asked for a moment ago, the last one first; at most `MOST_CHECKED`."""
        since = self._clock() - IN_USE_SECONDS
        found = takewhile(lambda segment: segment.used_at >= since, reversed(self._segments.values()))
        return list(islice((segment for segment in found if segment.visibility == visibility), MOST_CHECKED))

    def is_fresh(self, segment: CachedSegment) -> bool:
        """Tell whether the segment may be used without asking the database."""
        return self._clock() - segment.checked_at < FRESH_SECONDS

    def is_old(self, segment: CachedSegment) -> bool:
        """Tell whether the segment has to be read anew, whatever the database says of it."""
        return self._clock() - segment.loaded_at >= RELOADED_SECONDS

    def put(self, segment: CachedSegment) -> None:
        """Keep a segment; what was known of its instances is replaced."""
        self.drop(segment)
        for uid in segment.locations:
            other = self._by_uid.get((segment.visibility, uid))
            if other is not None:
                self.drop(other)
            self._by_uid[segment.visibility, uid] = segment
        self._segments[segment.visibility, segment.segment_id] = segment
        self._weight += segment.weight
        while self._weight > self._capacity_bytes and len(self._segments) > 1:
            self.drop(next(iter(self._segments.values())))

    def drop(self, segment: CachedSegment) -> None:
        """Forget a segment, under whichever entry it is kept."""
        kept = self._segments.pop((segment.visibility, segment.segment_id), None)
        if kept is None:
            return
        self._weight -= kept.weight
        for uid in kept.locations:
            if self._by_uid.get((kept.visibility, uid)) is kept:
                del self._by_uid[kept.visibility, uid]

    def clear(self) -> None:
        """Forget everything."""
        self._segments.clear()
        self._by_uid.clear()
        self._weight = 0


def _weight(location: InstanceLocation) -> int:
    """Estimate the memory of one location: strings and fields, and pairs for fragments and bulk values."""
    pixels = location.pixel_data
    pairs = len(location.bulk) * 3
    if pixels is not None:
        pairs += len(pixels.fragments) + len(pixels.basic_offset_table) + len(pixels.extended_offset_table)
    return 1000 + 130 * pairs
