"""Locations of a segment: where in each instance's file pixels, frames and bulk values lie, as one small blob."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dicomweb_archive.dicom.instance import BulkValue, PixelData, ScannedInstance
from dicomweb_archive.imaging.pixel_format import IMAGE_PIXEL_TAGS, PixelFormat, pixel_format_of

_IMAGE_PIXEL_TAGS = frozenset(IMAGE_PIXEL_TAGS)


@dataclass(frozen=True, slots=True)
class FileLayout:
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
    layouts = []
    for scanned in instances:
        pixels = scanned.pixel_data
        if pixels is None:
            pixel_format = None
        elif _IMAGE_PIXEL_TAGS.isdisjoint(scanned.delta):
            key = id(scanned.base), pixels.tag
            pixel_format = formats.get(key) or _pixel_format(scanned, pixels)
            formats[key] = pixel_format
        else:
            pixel_format = _pixel_format(scanned, pixels)
        layouts.append(
            FileLayout(
                transfer_syntax_uid=scanned.transfer_syntax_uid,
                sop_class_uid=scanned.sop_class_uid,
                pixel_data=pixels,
                bulk=scanned.bulk,
                neutralised=scanned.preamble_neutralised,
                pixel_format=pixel_format,
            )
        )
    return layouts


def _pixel_format(scanned: ScannedInstance, pixels: PixelData) -> PixelFormat:
    own = {}
    for tag in IMAGE_PIXEL_TAGS:
        element = scanned.delta[tag] if tag in scanned.delta else scanned.base.get(tag)
        if element is not None:
            own[tag] = element
    return pixel_format_of(own, pixels.tag)


def encode_locations(layouts: Sequence[FileLayout]) -> bytes:
    """Write the layouts of a segment's instances in order of position."""
    return zlib.compress(orjson.dumps([_encode(layout) for layout in layouts]))


def join_locations(blobs: Sequence[bytes]) -> bytes:
    """Write the locations of several segments as those of one whose instances follow each other."""
    return zlib.compress(orjson.dumps([entry for blob in blobs for entry in orjson.loads(zlib.decompress(blob))]))


def decode_locations(locations: bytes) -> list[FileLayout]:
    """Read the layouts back, in order of position; neighbours of one layout share it."""
    layouts: list[FileLayout] = []
    previous = None
    for entry in orjson.loads(zlib.decompress(locations)):
        # Hot path: the slices of a series mostly differ in nothing here, and comparing is a tenth of decoding.
        layouts.append(layouts[-1] if entry == previous else _decode(entry))
        previous = entry
    return layouts


def _encode(layout: FileLayout) -> dict[str, Any]:
    pixels = layout.pixel_data
    return {
        "ts": layout.transfer_syntax_uid,
        "sc": layout.sop_class_uid,
        "px": pixels
        and [
            pixels.tag,
            pixels.vr,
            pixels.offset,
            pixels.length,
            pixels.encapsulated,
            pixels.fragments,
            pixels.basic_offset_table,
            pixels.extended_offset_table,
        ],
        "bulk": [tuple(value) for value in layout.bulk],
        "neutral": layout.neutralised,
        "im": layout.pixel_format and tuple(layout.pixel_format),
    }


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
