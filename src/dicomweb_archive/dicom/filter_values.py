"""Values in filters: what a literal means for an attribute, by its value representation."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Final

from dicomweb_archive.dicom.attribute_path import AttributePath
from dicomweb_archive.dicom.comparable_values import NUMBER_VRS, RANGE_VRS, MatchValue, normalise, wildcard_text
from dicomweb_archive.dicom.query_filter import Literal
from dicomweb_archive.dicom.tags import keyword_of
from dicomweb_archive.errors import InvalidMatchError

BINARY_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})
MOST_WILDCARDS: Final = 8

_TEXT: Final = "text in single quotes, not empty (IS NULL finds what is empty)"
_ACCEPTED: Final = {
    "DA": "DATE('YYYY-MM-DD') or 'YYYYMMDD'",
    "TM": "'HHMMSS.FFFFFF', cut from the right",
    "DT": "TIMESTAMP('YYYY-MM-DDTHH:MM:SSZ'), DATE('YYYY-MM-DD') or 'YYYYMMDDHHMMSS.FFFFFF&ZZXX' cut from the right",
    "PN": "one component group of a name in single quotes, not empty (IS NULL finds what is empty)",
    "SQ": "IS NULL and IS NOT NULL, or an attribute of its items",
    **dict.fromkeys(BINARY_VRS, "attributes whose values are text, numbers, dates or times"),
    **dict.fromkeys(NUMBER_VRS, "a number"),
}


def attribute_name(path: AttributePath) -> str:
    """Name an attribute for people; a creator, which is text of the request, stays out."""
    return ".".join(keyword_of(step.tag) or f"{step.tag:08X}" for step in path.steps)


def comparable(path: AttributePath, literal: Literal) -> MatchValue:
    """Return what a literal is compared by with values of the attribute.

    A moment that is cut from the right stands for its first instant; a date beside a date-time is midnight UTC.

    Raises:
        InvalidMatchError: the literal does not fit the attribute's value representation; it is not repeated.
    """
    wants_number = path.vr in NUMBER_VRS or path.vr in RANGE_VRS
    found = list(_forms(path.vr, literal))
    if len(found) != 1 or not found[0].text or (wants_number and found[0].number is None):
        raise _refused(path)
    return found[0]


def like_text(path: AttributePath, pattern: str) -> str:
    """Return a pattern in the form of the attribute's texts.

    Raises:
        InvalidMatchError: the attribute is matched by number or moment, or the pattern cannot be read.
    """
    if path.vr in NUMBER_VRS or path.vr in RANGE_VRS:
        raise InvalidMatchError(attribute_name(path), accepted="comparisons, IN, BETWEEN and IS NULL, not LIKE")
    if path.vr == "SQ" or path.vr in BINARY_VRS:
        raise _refused(path)
    text = wildcard_text(path.vr, pattern)
    if not text or (len(text) - len(text.rstrip("\\"))) % 2 or text.count("%") > MOST_WILDCARDS:
        accepted = f"a pattern that is not empty, has at most {MOST_WILDCARDS} percent signs and ends in no backslash"
        raise InvalidMatchError(attribute_name(path), accepted=accepted)
    return text


def check_null(path: AttributePath) -> None:
    """Check that the index can tell whether the attribute is absent.

    Raises:
        InvalidMatchError: its values are binary and in no index.
    """
    if path.vr in BINARY_VRS:
        raise _refused(path)


def _refused(path: AttributePath) -> InvalidMatchError:
    return InvalidMatchError(attribute_name(path), accepted=_ACCEPTED.get(path.vr, _TEXT))


def _forms(vr: str, literal: Literal) -> Iterator[MatchValue]:
    # An attribute of unknown VR is compared by its text, whatever the literal.
    match literal:
        case datetime():
            if vr in ("DT", "UN"):
                yield from normalise(vr, literal.astimezone(UTC).strftime("%Y%m%d%H%M%S.%f").rjust(21, "0"))
        case date():
            if vr in ("DA", "DT", "UN"):
                yield from normalise(vr, literal.strftime("%Y%m%d").rjust(8, "0"))
        case bool():
            return
        case int() | float():
            if vr in NUMBER_VRS or vr == "UN":
                yield from normalise(vr, literal)
        case str() if vr not in BINARY_VRS:
            yield from normalise(vr, literal)
