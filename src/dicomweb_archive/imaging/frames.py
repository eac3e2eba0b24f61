"""Where encapsulated frames lie among the stored fragments (PS3.5 A.4); native ones are found by `native.py`."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from dicomweb_archive.dicom.instance import PixelData
from dicomweb_archive.errors import UndecodableError


def fragment_bounds(pixel_data: PixelData, count: int) -> Sequence[int]:
    """Return the index of the fragment that each of `count` frames begins with, and of the end: ascending.

    Frames are told apart by counting: one fragment a frame, or all fragments for one frame; else by the Extended
    Offset Table, else by the Basic Offset Table.

    Raises:
        UndecodableError: table and fragments do not tell the frames apart.
    """
    fragments = pixel_data.fragments
    if count == 1:
        # The fragments of a single frame all belong to it, whatever a table says.
        return [0, len(fragments)]
    if len(fragments) == count:
        # Whatever a table says: a right one says this, and a wrong one leaves no doubt. A slide has 100,000 frames.
        return range(count + 1)
    if pixel_data.extended_offset_table:
        offsets = [offset for offset, _ in pixel_data.extended_offset_table]
        return _bounds_by_table(fragments, offsets, count)
    if pixel_data.basic_offset_table:
        return _bounds_by_table(fragments, pixel_data.basic_offset_table, count)
    raise UndecodableError("no offset table, and the number of fragments is not Number of Frames")


def _bounds_by_table(fragments: Sequence[tuple[int, int]], offsets: Sequence[int], count: int) -> list[int]:
    """Resolve offsets, which count from the first byte of the first fragment's item (PS3.5 A.4)."""
    if len(offsets) == count and fragments:
        first = fragments[0][0]
        starts = [start - first for start, _ in fragments]
        bounds = [bisect_left(starts, offset) for offset in offsets]
        is_exact = all(
            bound < len(starts) and starts[bound] == offset for bound, offset in zip(bounds, offsets, strict=True)
        )
        is_ascending = all(later > earlier for earlier, later in pairwise(bounds))
        if is_exact and is_ascending and bounds[0] == 0:
            return [*bounds, len(fragments)]
    raise UndecodableError("the offset table does not fit the fragments")
