"""The form of a plan: what is left when its values are taken out, by which composed statements are told apart."""

from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from typing import Any, TypeVar, cast

T = TypeVar("T")


def form_of(part: T) -> T:
    """Return the same part of a plan with blanks in place of everything that equal parts may differ in.

    Those are values, names of attributes and estimates; a text that is composed of the form can hold none of them,
    and whoever keeps the form keeps nothing of a patient.
    """
    if isinstance(part, tuple):
        return cast("T", tuple(map(form_of, part)))
    kind = type(part)
    if not is_dataclass(kind):
        return part
    # As `copy` does, since what is derived from a value (whether a path is nested) belongs to the form.
    bare = object.__new__(kind)
    for name, kept, blank in _fields(kind):
        object.__setattr__(bare, name, form_of(getattr(part, name)) if kept else blank)
    return bare


@lru_cache(maxsize=64)
def _fields(kind: type[Any]) -> tuple[tuple[str, bool, Any], ...]:
    """Name the fields of a dataclass, whether they are compared, and what blanks them."""
    return tuple((f.name, f.compare, None if f.default is MISSING else f.default) for f in fields(kind))
