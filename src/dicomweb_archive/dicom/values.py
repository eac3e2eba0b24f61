"""Value representations: which kinds there are, and numbers as text (PS3.5 6.2)."""

import re

SHORT_VRS = frozenset(
    "AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()  # noqa: SIM905 - a list in quotes reads worse
)
"""Explicit VR with a length of 16 bits (PS3.5 Table 7.1-2); every other one has 32."""

LONG_VRS = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])

BINARY_VRS = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "UN"])
"""InlineBinary in the DICOM JSON model (PS3.18 F.2.3)."""

BULK_VRS = BINARY_VRS | {"DS", "FD", "FL", "IS", "LT", "SL", "SS", "ST", "SV", "UC", "UL", "US", "UT", "UV"}
"""May be replaced by a BulkDataURI (PS3.18 10.4.1.1.2)."""

# Size of a value in bytes, and the letter of Python's struct.
NUMBER_VRS = {
    "FD": (8, "d"),
    "FL": (4, "f"),
    "SL": (4, "i"),
    "SS": (2, "h"),
    "SV": (8, "q"),
    "UL": (4, "I"),
    "US": (2, "H"),
    "UV": (8, "Q"),
}

WORD_BYTES = {"OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2}
"""Bytes that big endian swaps; JSON carries little endian (PS3.18 F.2.7)."""

_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,3}))?")

# IS has at most 12 characters and DS 16 (PS3.5 6.2); what is much longer is no number that a JSON reader takes.
_LONGEST_NUMBER = 40


def number_text(text: str) -> str | None:
    """Write an IS or DS value as a JSON number with the digits as sent (PS3.18 F.2.3), `None` when it is none.

    A plus sign and leading zeros go, a bare point gets its zero; what no double can hold is no number.
    """
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    if match is None:
        return None
    sign, whole, fraction, exponent = match.groups()
    if not whole and not fraction:
        return None
    number = f"{'-' if sign == '-' else ''}{whole.lstrip('0') or '0'}{'.' + fraction if fraction else ''}"
    if exponent is None:
        return number
    number = f"{number}e{exponent}"
    return number if float(number) not in (float("inf"), float("-inf")) else None
