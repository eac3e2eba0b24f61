"""Time zones in SQL: how far an instance's own dates and times are from UTC (PS3.3 C.12.1.1.8)."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, case, cast, func, literal_column

from dicomweb_archive.dicom.attributes import TIMEZONE_OFFSET

ZONE_STEP: Final = f"{TIMEZONE_OFFSET:08X}"

_UTF8: ColumnElement[Any] = literal_column("'UTF8'")
_FORM: ColumnElement[Any] = literal_column("'^[+-](0[0-9]|1[0-4])[0-5][0-9]$'")
# Attributes of a row begin behind the brace or a line feed, where none inside of a sequence does.
_IN_ROW: ColumnElement[Any] = literal_column(
    f"""'(?:^[{{]|\\n)"{ZONE_STEP}":[{{]"vr":"SH","Value":\\["([+-][0-9]{{4}})'"""
)
_FIRST: ColumnElement[Any] = literal_column("'{0}'")


def zone_of_row(attributes: ColumnElement[Any], otherwise: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the seconds east of UTC that the attributes of a study row tell."""
    return _seconds(func.substring(func.convert_from(attributes, _UTF8), _IN_ROW), otherwise)


def zone_of_values(values: ColumnElement[Any], otherwise: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the seconds east of UTC that an instance's Timezone Offset From UTC tells, in the form for re-checks."""
    return _seconds(values.op("#>>")(_FIRST), otherwise)


def _seconds(offset: ColumnElement[Any], otherwise: ColumnElement[Any]) -> ColumnElement[Any]:
    def digits(first: int) -> ColumnElement[Any]:
        return cast(func.substr(offset, literal_column(str(first)), literal_column("2")), Integer)

    size = digits(2) * literal_column("3600") + digits(4) * literal_column("60")
    is_west = func.left(offset, literal_column("1")) == literal_column("'-'")
    told = case((is_west, -size), else_=size)
    return case(
        (func.coalesce(offset.op("~", is_comparison=True)(_FORM), literal_column("false")), told), else_=otherwise
    )
