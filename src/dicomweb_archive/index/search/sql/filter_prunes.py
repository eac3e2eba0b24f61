"""Prunes of filters in SQL: the segments that they leave over, found first or told by the segment's own row."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import CompoundSelect, FromClause, and_, bindparam, exists, func, or_, select, union

from dicomweb_archive.index.search.planning.filter_plan import (
    FilterPlan,
    Prune,
    PruneAll,
    PruneAny,
    PruneLeaf,
    PrunePhrase,
    PruneRow,
    Row,
)
from dicomweb_archive.index.search.planning.key_prunes import Prune as KeyPruneKind
from dicomweb_archive.index.search.sql import aliases
from dicomweb_archive.index.search.sql.bounds import zone_overlaps, zone_segments
from dicomweb_archive.index.search.sql.filter_tests import FilterWriter
from dicomweb_archive.index.search.sql.phrases import phrase_condition, phrase_sources
from dicomweb_archive.index.search.sql.segments import (
    ONE,
    Condition,
    Query,
    dictionary_condition,
    holds_any,
    key_parameters,
    listed,
    looked_up,
)
from dicomweb_archive.index.search.sql.sql_types import INTS, LONGS


def prune_source(prune: Prune, plan: FilterPlan) -> Query | CompoundSelect[Any]:
    """Select the ids of the segments that are left over: those of the rarest operand where all must hold."""
    sources = list(_sources(prune, plan))
    return union(*sources) if len(sources) > 1 else sources[0].distinct()


def _sources(prune: Prune, plan: FilterPlan) -> Iterator[Query]:
    match prune:
        case PruneAll():
            yield from _sources(prune.driver, plan)
        case PruneAny(operands):
            for operand in operands:
                yield from _sources(operand, plan)
        case PruneLeaf():
            yield from _sources_of_leaf(prune, plan)
        case PruneRow():
            yield select(aliases.HELD.c.id).where(_is_of_rows(prune, aliases.HELD))
        case PrunePhrase(phrase):
            yield from phrase_sources(phrase, plan.phrases[phrase])


def _sources_of_leaf(leaf: PruneLeaf, plan: FilterPlan) -> Iterator[Query]:
    name, own = _name(leaf), aliases.HELD.c.id
    if leaf.prune.kind is KeyPruneKind.DICTIONARY:
        condition = dictionary_condition(name, plan.keys[leaf.key], aliases.TERM)
        yield looked_up(name, aliases.TERM, own).where(condition)
    else:
        yield looked_up(name, listed(name), own)
    if leaf.prune.zones:
        yield from zone_segments(name)


def is_told_by_row(prune: Prune) -> bool:
    """Tell whether the segment's row alone tells all that a prune says, so that one scan of its index finds them."""
    match prune:
        case PruneAll(operands) | PruneAny(operands):
            return all(map(is_told_by_row, operands))
        case PruneRow():
            return False
        case PrunePhrase():
            return prune.told_by_row
    return prune.prune.kind is KeyPruneKind.ANY_TERM and not prune.prune.zones


def source_is_whole(prune: Prune) -> bool:
    """Tell whether all that a prune says is in its source, so that the segment's row need not be asked again."""
    match prune:
        case PruneAll():
            return False
        case PruneAny(operands):
            return all(map(source_is_whole, operands))
    return True


def prune_condition(prune: Prune, plan: FilterPlan, segment: Any) -> Condition | None:
    """Compose the condition on a segment's row; `None` when the row does not tell.

    Sets of terms that are too many for a list say nothing here: looking through them costs more than the re-check.
    """
    match prune:
        case PruneAll(operands):
            told = [prune_condition(operand, plan, segment) for operand in operands]
            known = [condition for condition in told if condition is not None]
            return and_(*known) if known else None
        case PruneAny(operands):
            told = [prune_condition(operand, plan, segment) for operand in operands]
            known = [condition for condition in told if condition is not None]
            return or_(*known) if len(known) == len(told) else None
        case PruneRow():
            return _is_of_rows(prune, segment)
        case PrunePhrase(phrase):
            return phrase_condition(phrase, plan.phrases[phrase], segment)
    if prune.prune.kind is KeyPruneKind.DICTIONARY:
        return None
    name = _name(prune)
    condition = holds_any(segment.c.terms, _hashes(name))
    if not prune.prune.zones:
        return condition
    zone = aliases.ZONE
    own = zone.c.segment_id == segment.c.id
    return or_(condition, exists(select(ONE).select_from(zone).where(own, zone_overlaps(name))))


# Of each kind: its table, what names it there, and the same in a segment.
_ROWS: Mapping[Row, tuple[FromClause, str, str]] = {
    Row.STUDY: (aliases.NAMED_STUDY, "id", "study_id"),
    Row.SERIES: (aliases.NAMED_SERIES, "id", "series_id"),
    Row.INSTANCE: (aliases.NAMED_INSTANCE, "segment_id", "id"),
}


def _is_of_rows(prune: PruneRow, segment: FromClause) -> Condition:
    """The segment lies below one of the rows that a condition names."""
    kind = prune.leaf.row
    rows, name, name_in_segment = _ROWS[kind]
    told = FilterWriter({kind: rows}).is_true(prune.leaf)
    if kind is not Row.SERIES:
        # Indexes on UIDs begin with the space; whether a row of it is visible is for the study to say.
        told = and_(told, rows.c.space_id == func.any(bindparam("sop_instance_spaces", type_=INTS)))
    return segment.c[name_in_segment].in_(select(rows.c[name]).where(told))


def prune_parameters(plan: FilterPlan) -> dict[str, Any]:
    """Return the values for the parameters of a filter's prunes."""
    values: dict[str, Any] = {}
    for leaf in _leaves(plan.prune) if plan.prune is not None else ():
        values |= key_parameters(_name(leaf), plan.keys[leaf.key], leaf.prune)
    return values


def _leaves(prune: Prune) -> list[PruneLeaf]:
    match prune:
        case PruneAll(operands) | PruneAny(operands):
            return [leaf for operand in operands for leaf in _leaves(operand)]
        case PruneRow() | PrunePhrase():
            return []
    return [prune]


def _name(leaf: PruneLeaf) -> str:
    return f"filter_{leaf.key}"


def _hashes(name: str) -> Any:
    return bindparam(f"hashes_{name}", type_=LONGS)
