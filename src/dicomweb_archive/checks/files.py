"""Checks of files by what the index keeps of them: the judges of `structural`, asked for many instances at once."""

from collections.abc import Hashable, Iterator

from dicomweb_archive.checks.content import SeriesPart, StoredFile
from dicomweb_archive.checks.findings import Remark
from dicomweb_archive.checks.pixel_length import SHAPE_TAGS, PixelShape, judge_pixel_length, shape_of
from dicomweb_archive.checks.rules import Rules
from dicomweb_archive.checks.structural import judge_accepted, judge_preamble
from dicomweb_archive.dicom.tags import PIXEL_DATA


def check_accepted(part: SeriesPart, rules: Rules) -> Iterator[Remark]:
    """Ask of each instance whether the collection accepts such."""
    known: dict[Hashable, list[Remark]] = {}
    for file in part.files:
        key = file.sop_class_uid, file.transfer_syntax_uid
        if key not in known:
            known[key] = list(judge_accepted(rules.accepted, *key))
        yield from _of(file, known[key])


def check_pixel_lengths(part: SeriesPart) -> Iterator[Remark]:
    """Compare the pixel data of each instance with the attributes that describe them."""
    varies = any(part.varies(tag) for tag in SHAPE_TAGS)
    shapes: dict[int, PixelShape] = {}
    for position, file in enumerate(part.files):
        tag = PIXEL_DATA if file.pixel_data is None else file.pixel_data.tag
        shape = shapes.get(tag)
        if shape is None or varies:
            shape = shapes[tag] = shape_of(part.attributes(position, SHAPE_TAGS), tag)
        yield from _of(file, judge_pixel_length(shape, file.pixel_data, file.transfer_syntax_uid))


def check_preambles(part: SeriesPart) -> Iterator[Remark]:
    """Say of which files the preamble was not kept."""
    for file in part.files:
        yield from _of(file, judge_preamble(neutralised=file.neutralised))


def _of(file: StoredFile, remarks: Iterator[Remark] | list[Remark]) -> Iterator[Remark]:
    for remark in remarks:
        yield remark._replace(sop_instance_uid=file.sop_instance_uid)
