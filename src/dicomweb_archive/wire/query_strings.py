"""Parameters of resources of our own: read one by one, and what is not known is told."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.attribute_paths import harmless

_UINT = re.compile(r"[0-9]{1,10}")
_MOST_WARNINGS: Final = 10


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
