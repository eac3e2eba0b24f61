"""Ranges of bytes of a representation (RFC 9110 14; PS3.18 8.5: Partial Content)."""

import re

from dicomweb_archive.errors import RangeNotSatisfiableError

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,30})-([0-9]{0,30})[ \t]*", re.IGNORECASE)


def parse_range(text: str, length: int) -> tuple[int, int] | None:
    """Read a Range header as the first byte and the one behind the last, of `length` bytes.

    `None` where the whole is to be sent: for another unit, another grammar, and for several ranges, which we may
    ignore and which cost more than they bring.

    Raises:
        RangeNotSatisfiableError: the range holds none of the bytes.
    """
    found = _RANGE.fullmatch(text.strip(" \t"))
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        start, stop = max(length - int(found[2]), 0), length
    else:
        start = int(found[1])
        if found[2] and int(found[2]) < start:
            return None
        stop = min(int(found[2]) + 1, length) if found[2] else length
    if start >= stop:
        raise RangeNotSatisfiableError(length)
    return start, stop
