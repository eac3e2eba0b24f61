"""Which texts are values of a value representation (PS3.5 Table 6.2-1), for values that people type."""

import re
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Final

from dicomweb_archive.dicom.tags import is_single_valued
from dicomweb_archive.dicom.values import BINARY_VRS, NUMBER_VRS, number_text

TYPED_VRS: Final = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
"""VRs whose values are typed as they stand; those of `NUMBER_VRS` that are not among them are typed as numbers."""

_WHOLE: Final = frozenset({"LT", "ST", "UR", "UT"})
_LONGEST: Final[Mapping[str, int]] = MappingProxyType(
    {
        "AE": 16, "AS": 4, "AT": 8, "CS": 16, "DA": 8, "DS": 16, "DT": 26, "IS": 12, "LO": 64, "LT": 10240,
        "SH": 16, "ST": 1024, "TM": 14, "UI": 64,
    }
)  # fmt: skip
_LONGEST_NAME_GROUP: Final = 64
_FORMS: Final = MappingProxyType(
    {
        "AE": re.compile(r"[ -\[\]-~]*"),
        "AS": re.compile(r"[0-9]{3}[DWMY]"),
        "AT": re.compile(r"[0-9A-Fa-f]{8}"),
        "CS": re.compile(r"[A-Z0-9_ ]*"),
        "DA": re.compile(r"[0-9]{8}"),
        "DT": re.compile(r"[0-9]{4}([0-9]{2}){0,5}(?<=[0-9]{14})(\.[0-9]{1,6})?([+-][0-9]{4})?|"
                         r"[0-9]{4}([0-9]{2}){0,5}([+-][0-9]{4})?"),
        "IS": re.compile(r" *[+-]?[0-9]{1,12} *"),
        "TM": re.compile(r"([01][0-9]|2[0-3])([0-5][0-9](([0-5][0-9]|60)(\.[0-9]{1,6})?)?)?"),
        "UI": re.compile(r"[0-9]+(\.[0-9]+)*"),
    }
)  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LINES = re.compile(r"[\t\n\f\r]")


def is_value(vr: str, text: str, tag: int) -> bool:
    """Tell whether a text is what an attribute of this VR may have; empty it always may be."""
    if vr in BINARY_VRS or vr == "SQ" or (vr not in TYPED_VRS and vr not in NUMBER_VRS):
        return False
    if not text:
        return True
    if _CONTROL.search(_LINES.sub("", text) if vr in ("LT", "ST", "UC", "UT") else text):
        return False
    if vr in _WHOLE:
        return len(text) <= _LONGEST.get(vr, len(text))
    values = text.split("\\")
    if len(values) > 1 and is_single_valued(tag):
        return False
    return all(not value or _is_one(vr, value) for value in values)


def _is_one(vr: str, value: str) -> bool:
    if len(value) > _LONGEST.get(vr, len(value)):
        return False
    if vr == "PN":
        groups = value.split("=")
        return len(groups) <= 3 and all(len(group) <= _LONGEST_NAME_GROUP for group in groups)
    if vr == "DS" or vr in NUMBER_VRS:
        return number_text(value.strip(" ")) is not None
    form = _FORMS.get(vr)
    if form is not None and not form.fullmatch(value):
        return False
    return _is_day(value) if vr == "DA" else True


def _is_day(value: str) -> bool:
    try:
        date(int(value[:4]), int(value[4:6]), int(value[6:]))
    except ValueError:
        return False
    return True
