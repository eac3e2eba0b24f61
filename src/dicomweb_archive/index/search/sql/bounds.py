"""Zones in SQL: which segments may hold a value between two bounds, by the bounds of their own values."""

from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, literal_column, or_, select

from dicomweb_archive.index.search.sql import aliases
from dicomweb_archive.index.search.sql.sql_types import INT, NUMBER, TEXT

Condition: TypeAlias = ColumnElement[bool]

NEARLY: Final = "(0.000001 + 1e-15 * (abs({zone}.low) + abs({zone}.high)))"
"""So much more is let through, since numbers with decimals are not exact (`segments/spacing.py` takes a ten-millionth
more or less for the same), nor large ones. A share of the distance would let through as many of a hundred zones."""


def zone_overlaps(number: int | str) -> Condition:
    """The zones of a path that may hold a value of the key; bounds of the other kind are NULL."""
    return and_(_of_path(number), or_(_numbers(number), _texts(number)))


def zone_segments(number: int | str) -> list[Select[Any]]:
    """Select the segments of those zones, numbers and texts apart: each has an index of its own."""
    id_ = aliases.ZONE.c.segment_id.label("id")
    return [select(id_).where(_of_path(number), condition(number)) for condition in (_numbers, _texts)]


def _of_path(number: int | str) -> Condition:
    return aliases.ZONE.c.path_id == bindparam(f"path_{number}", type_=INT)


def _numbers(number: int | str) -> Condition:
    c = aliases.ZONE.c
    low, high = (bindparam(f"{bound}_number_{number}", type_=NUMBER) for bound in ("low", "high"))
    return and_(c.low <= high, c.high >= low, _fits(low, high))


def _fits(low: ColumnElement[Any], high: ColumnElement[Any]) -> Condition:
    c = aliases.ZONE.c
    nearly: ColumnElement[Any] = literal_column(NEARLY.format(zone=aliases.ZONE.name), NUMBER)
    # What is let through goes in before the division: PostgreSQL refuses a quotient too small for a number.
    last = func.floor((func.least(c.high, high) - c.low + nearly) / c.spacing)
    first = func.ceil((func.greatest(c.low, low) - c.low - nearly) / c.spacing)
    return or_(c.spacing.is_(None), last >= first)


def _texts(number: int | str) -> Condition:
    c = aliases.ZONE.c
    low, high = (bindparam(f"{bound}_text_{number}", type_=TEXT) for bound in ("low", "high"))
    return and_(c.low_text.is_not(None), c.low_text <= high, c.high_text >= low)
