"""Which fragments make up which frame of encapsulated pixel data (PS3.5 A.4)."""

from bisect import bisect_left
from itertools import pairwise

from dicomweb_archive.dicom.instance import PixelData
from dicomweb_archive.errors import UndecodableError

_ITEM_HEAD_BYTES = 8

Ranges = tuple[tuple[int, int], ...]
"""(offset in the file, length) of fragments, in order."""


def fragments_of_frames(stored: PixelData, number_of_frames: int) -> list[Ranges]:
    """Divide the fragments among the frames: by offset table, else one frame or one fragment each.

    Raises:
        UndecodableError: the tables contradict the fragments, or without one nothing tells the frames apart.
    """
    if number_of_frames == 1 and not stored.extended_offset_table:
        return [stored.fragments]
    if stored.extended_offset_table:
        return _by_extended_table(stored, number_of_frames)
    if len(stored.basic_offset_table) == number_of_frames:
        return _by_basic_table(stored)
    if len(stored.fragments) == number_of_frames:
        return [(fragment,) for fragment in stored.fragments]
    message = "the frames of the stored pixel data cannot be told apart: offset table and fragments do not fit"
    raise UndecodableError(message)


def _by_extended_table(stored: PixelData, number_of_frames: int) -> list[Ranges]:
    """With an Extended Offset Table each frame is one fragment, whose padding the table leaves out (C.7.6.3.1.8)."""
    first = stored.fragments[0][0] if stored.fragments else 0
    sizes = dict(stored.fragments)
    frames: list[Ranges] = []
    for offset, length in stored.extended_offset_table:
        begin = first + offset
        if length > sizes.get(begin, -1):
            raise _contradiction()
        frames.append(((begin, length),))
    if len(frames) != number_of_frames:
        raise _contradiction()
    return frames


def _by_basic_table(stored: PixelData) -> list[Ranges]:
    """Entries of the Basic Offset Table point at item tags, counted from the first fragment's (A.4)."""
    if not stored.fragments:
        raise _contradiction()
    items = [offset - _ITEM_HEAD_BYTES for offset, _ in stored.fragments]
    cuts = [bisect_left(items, items[0] + entry) for entry in stored.basic_offset_table] + [len(items)]
    for entry, (cut, following) in zip(stored.basic_offset_table, pairwise(cuts), strict=True):
        if cut >= following or items[cut] != items[0] + entry:
            raise _contradiction()
    return [stored.fragments[begin:end] for begin, end in pairwise(cuts)]


def _contradiction() -> UndecodableError:
    return UndecodableError("the offset table of the stored pixel data contradicts its fragments")
