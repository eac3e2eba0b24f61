"""Visibility: which studies a principal may see, as a predicate that every statement carries."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Integer, and_, bindparam, func, or_
from sqlalchemy.dialects.postgresql import ARRAY

ARCHIVE_SPACE = 1
"""The space of what is published; every submission has its own (architecture section 4)."""


@dataclass(frozen=True, slots=True)
class Visibility:
    """What may be seen: studies of these spaces and collections, whose embargo is over.

    Attributes:
        spaces: ids of spaces; the published archive is 1.
        collections: ids of collections, or `None` for all of them.
        see_embargoed: studies under embargo are seen too.
    """

    spaces: tuple[int, ...] = (ARCHIVE_SPACE,)
    collections: tuple[int, ...] | None = None
    see_embargoed: bool = False

    def parameters(self) -> tuple[list[int], list[int] | None, bool]:
        """Return the three values that `visible` refers to, in order."""
        collections = None if self.collections is None else list(self.collections)
        return list(self.spaces), collections, self.see_embargoed

    def clause(self, study: FromClause) -> ColumnElement[bool]:
        """Return the predicate over `study` (the table or an alias of it) for a composed statement.

        Its values are `named_parameters()`; its text depends on `form()` alone.
        """
        terms: list[ColumnElement[bool]] = [_any_of(study.c.space_id, "visible_spaces", self.spaces)]
        if self.collections is not None:
            terms.append(_any_of(study.c.collection_id, "visible_collections", self.collections))
        if not self.see_embargoed:
            over = study.c.embargo_until <= func.current_date()
            terms.append(or_(study.c.embargo_until.is_(None), over))
        return and_(*terms)

    def named_parameters(self) -> dict[str, int | list[int]]:
        """Return the values that `clause` refers to."""
        values = {"visible_spaces": _bound(self.spaces)}
        if self.collections is not None:
            values["visible_collections"] = _bound(self.collections)
        return values

    def form(self) -> "Visibility":
        """Return a visibility whose `clause` has the same text, to keep composed statements by."""
        collections = self.collections
        return Visibility(_form(self.spaces), None if collections is None else _form(collections), self.see_embargoed)


def _any_of(column: ColumnElement[Any], name: str, ids: tuple[int, ...]) -> ColumnElement[bool]:
    if len(ids) == 1:
        # Equality keeps the order of an index whose first column this is; `any` of an array does not.
        return column == bindparam(name, ids[0], type_=Integer)
    # One array parameter: the text of the statement stays the same whatever the number of collections.
    return column == func.any(bindparam(name, list(ids), type_=ARRAY(Integer)))


def _bound(ids: tuple[int, ...]) -> int | list[int]:
    return ids[0] if len(ids) == 1 else list(ids)


def _form(ids: tuple[int, ...]) -> tuple[int, ...]:
    return (0,) if len(ids) == 1 else ()


def visible(alias: str) -> str:
    """Return the predicate as text for a fixed statement, whose first three parameters it takes.

    The text never varies, so that a statement is prepared once; the values are `Visibility.parameters()`.
    """
    return (
        f"{alias}.space_id = any($1::int4[])"
        f" and ($2::int4[] is null or {alias}.collection_id = any($2))"
        f" and ($3::bool or {alias}.embargo_until is null or {alias}.embargo_until <= current_date)"
    )
