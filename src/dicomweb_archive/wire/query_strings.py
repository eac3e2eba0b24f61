"""Query strings: from their bytes to names and values, read one by one; what is not known is told (PS3.18 8.3)."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.attribute_paths import harmless
from dicomweb_archive.wire.search_limits import DEFAULT_LIMITS, SearchLimits

_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_UINT = re.compile(r"[0-9]{1,10}")
_MOST_WARNINGS: Final = 10


def split_query(query_string: bytes, limits: SearchLimits = DEFAULT_LIMITS) -> list[tuple[str, str]]:
    """Split a raw query string into decoded names and values (PS3.18 8.3.1); only in filter and text a plus is a blank.

    Raises:
        InvalidParameterError: it is too long, or a name or value is wrongly percent-encoded, not UTF-8, or
            holds NUL. The parameter is named unless its name is the trouble.
    """
    if len(query_string) > limits.query_bytes:
        raise InvalidParameterError("the query string", accepted=f"at most {limits.query_bytes} bytes")
    pieces = [piece for piece in query_string.split(b"&") if piece]
    if len(pieces) > limits.parameters:
        raise InvalidParameterError("the query string", accepted=f"at most {limits.parameters} parameters")
    pairs = []
    for piece in pieces:
        raw_name, _, raw_value = piece.partition(b"=")
        name = _decode(raw_name, "a parameter name")
        if name in ("filter", "text"):
            # Ours, and full of blanks, which browsers and many libraries write so.
            raw_value = raw_value.replace(b"+", b" ")
        pairs.append((name, _decode(raw_value, harmless(name) or "a parameter")))
    return pairs


def single_parameters(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return parameters by name.

    Raises:
        InvalidParameterError: one is repeated.
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidParameterError(harmless(name) or "a parameter", accepted="each parameter once")
        found[name] = value
    return found


def unsigned(name: str, value: str, *, most: int) -> int:
    """Read a whole number.

    Raises:
        InvalidParameterError: it is none, or too large.
    """
    if not _UINT.fullmatch(value) or int(value) > most:
        raise InvalidParameterError(name, accepted=f"a whole number from 0 to {most}")
    return int(value)


def warnings_of_unknown(names: Iterable[str]) -> tuple[str, ...]:
    """Say of parameters that they are ignored (PS3.18 8.3)."""
    told = (f"The parameter {name}" if harmless(name) else "A parameter" for name in names)
    texts = dict.fromkeys(f"{each} is not supported and has been ignored." for each in told)
    return tuple(texts)[:_MOST_WARNINGS]


def _decode(raw: bytes, name: str) -> str:
    if raw.count(b"%") != len(_PERCENT.findall(raw)):
        raise InvalidParameterError(name, accepted="percent-encoding with two hexadecimal digits")
    try:
        text = _PERCENT.sub(lambda found: bytes.fromhex(found[1].decode()), raw).decode("utf-8")
    except UnicodeDecodeError:
        # Without a cause: the exception's text would repeat the value.
        raise InvalidParameterError(name, accepted="UTF-8") from None
    if "\0" in text:
        raise InvalidParameterError(name, accepted="text without NUL")
    return text
