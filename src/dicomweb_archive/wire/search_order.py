"""Order and counting of a search, as a query string asks for them: extensions of ours (docs/design/0005-search.md)."""

from typing import Final

from dicomweb_archive.dicom.query import Counting, OrderKey
from dicomweb_archive.errors import InvalidMatchError, InvalidParameterError
from dicomweb_archive.wire.attribute_paths import AttributeNames, UnknownAttributeError

MOST_ORDER_KEYS: Final = 8
_ATTRIBUTES: Final = f"at most {MOST_ORDER_KEYS} different attributes separated by commas, `-` before one that descends"


def parse_order(value: str, names: AttributeNames) -> tuple[OrderKey, ...]:
    """Read `orderby`: `StudyDate,-PatientName` is the oldest first, of one day from Z to A.

    Whether the index can sort by an attribute is for its planner to say.

    Raises:
        InvalidParameterError: a name is empty, unknown or given twice, or there are too many.
    """
    members = value.split(",", MOST_ORDER_KEYS)
    keys = {}
    for member in members[:MOST_ORDER_KEYS]:
        try:
            path = names.parse(member.removeprefix("-"))
        except (UnknownAttributeError, InvalidMatchError):
            raise InvalidParameterError("orderby", accepted=_ATTRIBUTES) from None
        keys[str(path)] = OrderKey(path, descending=member.startswith("-"))
    if len(keys) != len(members):
        raise InvalidParameterError("orderby", accepted=_ATTRIBUTES)
    return tuple(keys.values())


def parse_counting(value: str) -> Counting:
    """Read `count`: `exact` or `none`.

    Raises:
        InvalidParameterError: it is neither.
    """
    if value not in (Counting.EXACT, Counting.NONE):
        raise InvalidParameterError("count", accepted="exact or none")
    return Counting(value)
