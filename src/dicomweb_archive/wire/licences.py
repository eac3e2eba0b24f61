"""Licences: SPDX expressions, checked against the list of the SPDX project."""

from typing import Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

LONGEST_LICENCE: Final = 200
"""Characters; the parser goes by recursion over brackets, and no data set has so many licences."""


def parse_licence(text: str) -> str:
    """Read a licence, and write it as the list does: `cc-by-4.0` is `CC-BY-4.0`; empty: none is given.

    What the list does not have is a `LicenseRef-` of one's own (SPDX 2.3 Annex D).

    Raises:
        ValueError: it is no expression of known licences.
    """
    if not text.strip():
        return ""
    if len(text) <= LONGEST_LICENCE:
        try:
            return str(canonicalize_license_expression(text))
        except InvalidLicenseExpression:
            pass
    message = "not an SPDX licence expression such as CC-BY-4.0, CC0-1.0 or LicenseRef-of-your-own"
    raise ValueError(message)
