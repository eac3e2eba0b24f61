"""Locations of a segment: where in each instance's file pixels, frames and bulk values lie, as one small blob."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, NamedTuple

import orjson

from dicomweb_archive.dicom.instance import BulkValue, PixelData, ScannedInstance
from dicomweb_archive.imaging.pixel_format import IMAGE_PIXEL_TAGS, PixelFormat, pixel_format_of

_PIXEL_FIELDS = tuple(each.name for each in fields(PixelData))
_PIXELS = attrgetter(*_PIXEL_FIELDS)
_NO_PIXELS = (None,) * len(_PIXEL_FIELDS)

# The columns that decide what an instance can be had as: `ts`, `im`, and of the pixel data these two.
_DECISIVE = (0, 4, 5 + _PIXEL_FIELDS.index("tag"), 5 + _PIXEL_FIELDS.index("encapsulated"))

# Of zlib; see `document.py`.
_LEVEL = 3

_IMAGE_PIXEL_TAGS = frozenset(IMAGE_PIXEL_TAGS)


class FileLayout(NamedTuple):
    """What of an instance's file is known besides its attributes; offsets count from the file's first byte."""

    transfer_syntax_uid: str
    sop_class_uid: str
    pixel_data: PixelData | None
    bulk: tuple[BulkValue, ...]
    neutralised: bool
    pixel_format: PixelFormat | None = None


def layouts_of(instances: Sequence[ScannedInstance]) -> list[FileLayout]:
    """Take the layouts from what the scanner found; what the instances share is looked at once."""
    formats: dict[tuple[int, int], PixelFormat] = {}
    are_alike = _IMAGE_PIXEL_TAGS.isdisjoint(set().union(*(scanned.delta for scanned in instances)))
    layouts = []
    for scanned in instances:
        pixels = scanned.pixel_data
        if pixels is None:
            pixel_format = None
        elif are_alike or _IMAGE_PIXEL_TAGS.isdisjoint(scanned.delta):
            key = id(scanned.base), pixels.tag
            pixel_format = formats.get(key) or _pixel_format(scanned, pixels)
            formats[key] = pixel_format
        else:
            pixel_format = _pixel_format(scanned, pixels)
        # By position: names of arguments would take as long as all the rest.
        syntax, sop_class = scanned.transfer_syntax_uid, scanned.sop_class_uid
        layouts.append(FileLayout(syntax, sop_class, pixels, scanned.bulk, scanned.preamble_neutralised, pixel_format))
    return layouts


def _pixel_format(scanned: ScannedInstance, pixels: PixelData) -> PixelFormat:
    own = {}
    for tag in IMAGE_PIXEL_TAGS:
        element = scanned.delta[tag] if tag in scanned.delta else scanned.base.get(tag)
        if element is not None:
            own[tag] = element
    return pixel_format_of(own, pixels.tag)


def encode_locations(layouts: Sequence[FileLayout]) -> bytes:
    """Write the layouts of a segment's instances as columns in order of position, one entry where all are equal.

    Hot path (benchmarks/index).
    """
    syntaxes, sop_classes, pixels, bulk, neutralised, formats = map(list, zip(*layouts, strict=True))
    bulk_texts = {values: [tuple(value) for value in values] for values in set(bulk)}
    pixel_columns = zip(*[_PIXELS(found) if found else _NO_PIXELS for found in pixels], strict=True)
    columns: list[list[Any]] = [
        _once(syntaxes),
        _once(sop_classes),
        [bulk_texts[values] for values in _once(bulk)],
        _once(neutralised),
        [found and tuple(found) for found in _once(formats)],
        *map(_once, map(list, pixel_columns)),
    ]
    return zlib.compress(orjson.dumps({"n": len(layouts), "columns": columns}), _LEVEL)


def _once(column: list[Any]) -> list[Any]:
    return column[:1] if column.count(column[0]) == len(column) else column


def join_locations(blobs: Sequence[bytes]) -> bytes:
    """Write the locations of several segments as those of one whose instances follow each other."""
    return encode_locations([layout for blob in blobs for layout in decode_locations(blob)])


def decode_locations(locations: bytes) -> list[FileLayout]:
    """Read the layouts back, in order of position; neighbours of one layout share it."""
    content = orjson.loads(zlib.decompress(locations))
    entries = _entries(content) if isinstance(content, dict) else content
    layouts: list[FileLayout] = []
    previous = None
    for entry in entries:
        # Hot path: the slices of a series mostly differ in nothing here, and comparing is a tenth of decoding.
        layouts.append(layouts[-1] if entry == previous else _decode(entry))
        previous = entry
    return layouts


def decode_kind(locations: bytes, position: int) -> FileLayout | None:
    """Read the layout of one instance, if the others are like it in all that decides what they can be had as.

    That is their transfer syntax, the format of their pixels, and which kind of pixel data they have, if any.
    """
    content = orjson.loads(zlib.decompress(locations))
    if not isinstance(content, dict):
        return None
    if content["n"] > 1 and any(len(content["columns"][index]) > 1 for index in _DECISIVE):
        return None
    here = [column[position] if len(column) > 1 else column[0] for column in content["columns"]]
    return _decode(next(_entries({"n": 1, "columns": [[value] for value in here]})))


def _entries(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give what the columns say of each instance, in the form in which segments were written first."""
    count = content["n"]
    columns = (column if len(column) == count else column * count for column in content["columns"])
    for ts, sc, bulk, neutral, im, *px in zip(*columns, strict=True):
        yield {"ts": ts, "sc": sc, "px": None if px[0] is None else px, "bulk": bulk, "neutral": neutral, "im": im}


def _decode(entry: dict[str, Any]) -> FileLayout:
    return FileLayout(
        transfer_syntax_uid=entry["ts"],
        sop_class_uid=entry["sc"],
        pixel_data=None if entry["px"] is None else _decode_pixels(*entry["px"]),
        bulk=tuple(BulkValue(*value) for value in entry["bulk"]),
        neutralised=entry["neutral"],
        pixel_format=None if entry["im"] is None else PixelFormat(*entry["im"]),
    )


def _decode_pixels(
    tag: int,
    vr: str,
    offset: int,
    length: int,
    encapsulated: bool,
    fragments: list[list[int]],
    basic_offset_table: list[int],
    extended_offset_table: list[list[int]],
) -> PixelData:
    return PixelData(
        tag=tag,
        vr=vr,
        offset=offset,
        length=length,
        encapsulated=encapsulated,
        fragments=tuple((start, size) for start, size in fragments),
        basic_offset_table=tuple(basic_offset_table),
        extended_offset_table=tuple((start, size) for start, size in extended_offset_table),
    )
