"""Time zone of a data set, which its dates and times are written in (PS3.3 C.12.1.1.8)."""

import re
from typing import Final

from dicomweb_archive.dicom.instance import Attributes

TIMEZONE_OFFSET: Final = 0x00080201


def zone_seconds(attributes: Attributes) -> int | None:
    """Return how many seconds east of UTC a data set's dates and times are, `None` when it does not tell."""
    return offset_seconds(zone_text(attributes))


_OFFSET = re.compile(r"([+-])(0[0-9]|1[0-4])([0-5][0-9])")


def offset_seconds(text: str) -> int | None:
    """Read an offset from UTC (PS3.3 C.12.1.1.8), `None` when it is none."""
    found = _OFFSET.fullmatch(text)
    if found is None:
        return None
    size = int(found[2]) * 3600 + int(found[3]) * 60
    return -size if found[1] == "-" else size


def zone_text(attributes: Attributes) -> str:
    """Return the offset from UTC that a data set tells, empty when it tells none."""
    element = attributes.get(TIMEZONE_OFFSET)
    value = element.values[0] if element is not None and element.values else None
    return value.strip(" ") if isinstance(value, str) and offset_seconds(value.strip(" ")) is not None else ""
