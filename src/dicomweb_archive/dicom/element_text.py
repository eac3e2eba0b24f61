"""The value of an element as a person reads it: one text, several values joined by a backslash."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

LONGEST_TEXT: Final = 512
"""Characters of a value that are shown; a longer one ends with a digest of the whole, so that values stay distinct."""

# Numbers keep the digits that were sent, and markers of bulk values are control characters.
_read = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, strict=False).decode


def read_element(element: bytes) -> dict[str, Any]:
    """Read an element in the form of a segment's document; numbers are texts."""
    read: dict[str, Any] = _read(element.decode())
    return read


def whole_text(element: Mapping[str, Any]) -> str | None:
    """Return the text of an element that is no sequence: empty without a value, `None` where it is binary."""
    if "InlineBinary" in element or "BulkDataURI" in element:
        return None
    return "\\".join(map(_one_text, element.get("Value", ())))


def shown_text(text: str) -> str:
    """Cut a long text, with a digest of the whole at its end."""
    if len(text) <= LONGEST_TEXT:
        return text
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return f"{text[:LONGEST_TEXT]}… ({digest})"


def _one_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        groups = (value.get(name, "") for name in ("Alphabetic", "Ideographic", "Phonetic"))
        return "=".join(groups).rstrip("=")
    return str(value)
