"""Checks of attributes that must be there, and of those that should not (PS3.3 C.7, C.12.1)."""

from collections.abc import Iterator
from typing import Final

from dicomweb_archive.checks.content import SeriesPart
from dicomweb_archive.checks.findings import Remark, Severity
from dicomweb_archive.checks.rules import Rules
from dicomweb_archive.checks.safe_private import SAFE_PRIVATE
from dicomweb_archive.dicom.attribute_path import PathStep
from dicomweb_archive.dicom.tags import is_private, is_private_creator

# Of the modules Patient, General Study, General Series and SOP Common; the identifiers are always there.
TYPE_1: Final = (0x00080060,)
TYPE_2: Final = (
    0x00080020, 0x00080030, 0x00080050, 0x00080090, 0x00100010, 0x00100020, 0x00100030, 0x00100040,
    0x00200010, 0x00200011,
)  # fmt: skip

_OVERLAYS: Final = range(0x6000, 0x601F, 2)
_CURVES: Final = range(0x5000, 0x501F, 2)
_GRAPHIC_ANNOTATIONS: Final = 0x00700001


def check_required(part: SeriesPart) -> Iterator[Remark]:
    """Miss attributes of type 1 and 2 of patient, study, series and SOP (PS3.5 7.4)."""
    for tag in TYPE_1:
        filled = sum(each.instances for each in part.occurrences(tag) if each.element.values)
        if missing := len(part.files) - filled:
            yield Remark(Severity.WARN, "an attribute of type 1 is missing or empty", f"{tag:08X}", missing)
    for tag in TYPE_2:
        if missing := len(part.files) - sum(each.instances for each in part.occurrences(tag)):
            yield Remark(Severity.WARN, "an attribute of type 2 is missing", f"{tag:08X}", missing)


def check_allowed(part: SeriesPart, rules: Rules) -> Iterator[Remark]:
    """Name the attributes that the collection does not allow; standard ones, private ones have their own check."""
    if rules.allowed_paths is None:
        return
    for found in part.placed():
        if not is_private(found.tag) and not rules.allowed_paths & {found.path, f"{found.tag:08X}"}:
            message = "the collection does not allow this attribute"
            yield Remark(Severity.WARN, message, found.path, found.instances, found.sop_instance_uid)


def check_private(part: SeriesPart, rules: Rules) -> Iterator[Remark]:
    """Name the private attributes that are not known to be safe (PS3.15 E.3.10)."""
    for found in part.placed():
        if not is_private(found.tag) or is_private_creator(found.tag):
            continue
        # Inside sequences its own last step counts; a creator may hold dots, so the path is not cut.
        own = found.path if found.creator is None else str(PathStep(found.tag, found.creator))
        names = {found.path, own}
        if SAFE_PRIVATE.isdisjoint(names) and rules.safe_private.isdisjoint(names):
            message = "a private attribute is not known to be safe"
            yield Remark(Severity.WARN, message, found.path, found.instances, found.sop_instance_uid)


def check_graphics(part: SeriesPart) -> Iterator[Remark]:
    """Find overlays, curves and graphic annotations, which may show text (PS3.3 C.9.2, C.10.5)."""
    for tag in part.elements:
        group, element = tag >> 16, tag & 0xFFFF
        if tag == _GRAPHIC_ANNOTATIONS:
            message = "graphic annotations may show text"
        elif group in _OVERLAYS and element == 0x3000:
            message = "an overlay may show text"
        elif group in _CURVES and element == 0x3000:
            message = "a curve may be there with labels"
        else:
            continue
        for each in part.occurrences(tag):
            yield Remark(Severity.WARN, message, f"{tag:08X}", each.instances, each.sop_instance_uid)
