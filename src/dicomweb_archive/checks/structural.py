"""Structural judges: what can be told of one instance by what the scanner knows, so while it is being stored."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from dicomweb_archive.checks import catalogue
from dicomweb_archive.checks.catalogue import Check, CheckSet
from dicomweb_archive.checks.findings import Finding, Remark, Severity
from dicomweb_archive.checks.pixel_length import SHAPE_TAGS, judge_pixel_length, shape_of
from dicomweb_archive.checks.rules import EVERYTHING
from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.acceptance import AcceptanceRule, AcceptanceRules
from dicomweb_archive.dicom.instance import Attributes, ScannedInstance

# What the scanner tolerates and says of it (`ScannedInstance.remarks`), in words.
_ODDITIES: Final = {
    "delimiter_with_length": "a delimiter has a length",
    "encoding_not_as_declared": "the data set is not encoded as its transfer syntax says",
    "not_a_number": "a number cannot be read as one",
    "not_finite": "a number is not finite",
    "odd_length": "a value is of odd length",
    "out_of_order": "elements are not in ascending order",
    "trailing_zeros": "zeros follow the data set",
    "unknown_value_not_a_sequence": "a value of unknown representation and undefined length is no sequence",
    "unknown_vr": "a value representation is not known",
    "value_length_odd": "the length of a value is no multiple of what one number takes",
    "value_truncated": "a value is too long for metadata and cut there",
}
_IDENTIFIERS: Final = {
    "meta_class_differs": (Severity.BLOCK, "File Meta Information names another SOP class", "00080016"),
    "meta_uid_differs": (Severity.BLOCK, "File Meta Information names another SOP Instance UID", "00080018"),
    "uid_leading_zero": (Severity.WARN, "a component of a UID begins with zero", ""),
}
_CHARACTER_SETS: Final = {
    "character_set_missing": "text is not ASCII and no character set is declared",
    "text_not_ascii": "a value that must be ASCII is not",
    "text_not_decodable": "text does not fit the declared character set",
    "unknown_character_set": "the declared character set is not known",
}
_PREAMBLE: Final = "preamble_neutralised"

KNOWN_REMARKS: Final = frozenset({*_ODDITIES, *_IDENTIFIERS, *_CHARACTER_SETS, _PREAMBLE})
"""The scanner's remarks that a check speaks of."""


def judge_parsing(scanned: ScannedInstance) -> Iterator[Remark]:
    """Say what was tolerated in reading the file; what is worse was never stored (PS3.5 7)."""
    for code in scanned.remarks:
        if code in _ODDITIES:
            yield Remark(Severity.WARN, _ODDITIES[code])


def judge_identifiers(scanned: ScannedInstance) -> Iterator[Remark]:
    """Compare the identifiers with those of File Meta Information (PS3.10 7.1) and with PS3.5 9.1."""
    for code in scanned.remarks:
        if code in _IDENTIFIERS:
            yield Remark(*_IDENTIFIERS[code])


def judge_character_set(scanned: ScannedInstance) -> Iterator[Remark]:
    """Compare text with the declared Specific Character Set (PS3.3 C.12.1.1.2)."""
    for code in scanned.remarks:
        if code in _CHARACTER_SETS:
            yield Remark(Severity.WARN, _CHARACTER_SETS[code], "00080005")


def judge_preamble(*, neutralised: bool) -> Iterator[Remark]:
    """Say that a preamble could have been run as a program, and is kept as zeros (PS3.10 7.5)."""
    if neutralised:
        yield Remark(Severity.INFO, "the preamble was neither zero nor that of a TIFF and is kept as zeros")


def judge_accepted(accepted: AcceptanceRules, sop_class_uid: str, transfer_syntax_uid: str) -> Iterator[Remark]:
    """Ask whether the collection accepts such instances."""
    match accepted.broken_by(sop_class_uid=sop_class_uid, transfer_syntax_uid=transfer_syntax_uid):
        case AcceptanceRule.SOP_CLASSES:
            yield Remark(Severity.BLOCK, "the collection does not accept this SOP class", "00080016")
        case AcceptanceRule.TRANSFER_SYNTAXES:
            yield Remark(Severity.BLOCK, "the collection does not accept this transfer syntax", "00020010")
        case _:
            pass


def _judge_pixels(scanned: ScannedInstance) -> Iterator[Remark]:
    pixels = scanned.pixel_data
    # A merged data set costs more than all judges together, and shapes seldom differ within a series.
    attributes: Attributes = scanned.base if SHAPE_TAGS.isdisjoint(scanned.delta) else scanned.attributes()
    shape = shape_of(attributes, tags.PIXEL_DATA if pixels is None else pixels.tag)
    yield from judge_pixel_length(shape, pixels, scanned.transfer_syntax_uid)


_Judge = Callable[[ScannedInstance], Iterator[Remark]]

_JUDGES: Final[Mapping[str, _Judge]] = MappingProxyType(
    {
        catalogue.PARSES.name: judge_parsing,
        catalogue.IDENTIFIERS.name: judge_identifiers,
        catalogue.PIXEL_LENGTH.name: _judge_pixels,
        catalogue.PREAMBLE.name: lambda scanned: judge_preamble(neutralised=scanned.preamble_neutralised),
        catalogue.CHARACTER_SET.name: judge_character_set,
    }
)


class InstanceJudge:
    """Judges instances one after the other, as they are received.

    What is found of one instance is believed of the next when the two are alike in all that the judges look at, as
    the slices of a series are.

    Args:
        check_set: whose checks are asked; those that need more than one instance are left out.
        accepted: what the collection accepts.
    """

    def __init__(self, check_set: CheckSet, accepted: AcceptanceRules = EVERYTHING) -> None:
        self._set = check_set
        self._accepted = accepted
        self._judges = [(catalogue.CHECKS[name], judge) for name, judge in _JUDGES.items() if name in check_set.checks]
        self._base: Attributes | None = None
        self._likeness: object = None
        self._findings: tuple[Finding, ...] = ()

    def judge(self, scanned: ScannedInstance) -> tuple[Finding, ...]:
        """Return the findings of an instance; about 1 µs for one that is like the one before.

        None of severity `block` among them means that it passes.
        """
        pixels = scanned.pixel_data
        if pixels is None or not SHAPE_TAGS.isdisjoint(scanned.delta):
            self._base = None
            return self._judged(scanned)
        size = len(pixels.fragments) if pixels.encapsulated else pixels.length
        likeness = (scanned.sop_class_uid, scanned.transfer_syntax_uid, scanned.remarks, pixels.encapsulated, size)
        if scanned.base is self._base and likeness == self._likeness and not pixels.encapsulated:
            if not self._findings:
                return ()
            uid = scanned.sop_instance_uid
            return tuple(replace(found, sop_instance_uid=uid) for found in self._findings)
        self._base, self._likeness = scanned.base, likeness
        self._findings = self._judged(scanned)
        return self._findings

    def _judged(self, scanned: ScannedInstance) -> tuple[Finding, ...]:
        found = [self._finding(scanned, check, remark) for check, judge in self._judges for remark in judge(scanned)]
        if catalogue.ACCEPTED.name in self._set.checks:
            remarks = judge_accepted(self._accepted, scanned.sop_class_uid, scanned.transfer_syntax_uid)
            found += [self._finding(scanned, catalogue.ACCEPTED, remark) for remark in remarks]
        return tuple(found)

    def _finding(self, scanned: ScannedInstance, check: Check, remark: Remark) -> Finding:
        return Finding(
            check=check.name,
            version=check.version,
            severity=self._set.severity_of(check, remark.severity),
            message=remark.message,
            study_instance_uid=scanned.study_instance_uid,
            series_instance_uid=scanned.series_instance_uid,
            sop_instance_uid=scanned.sop_instance_uid,
            path=remark.path,
        )


def passes(findings: tuple[Finding, ...]) -> bool:
    """Tell whether nothing among the findings blocks."""
    return all(found.severity is not Severity.BLOCK for found in findings)
