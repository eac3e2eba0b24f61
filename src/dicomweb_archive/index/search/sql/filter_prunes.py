"""Prunes of filters: which segments terms and zones leave over, found first or told by the segment's own row."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import CompoundSelect, and_, bindparam, exists, func, or_, select, union

from dicomweb_archive.index.search.planning.filter_plan import (
    AllOf,
    AnyOf,
    FilterPlan,
    Node,
    Opposite,
    Prune,
    PruneAll,
    PruneAny,
    PruneLeaf,
    SomeItem,
    Test,
    ValueLeaf,
)
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.shape import Finding, KeyPrune
from dicomweb_archive.index.search.planning.shape import Prune as KeyPruneKind
from dicomweb_archive.index.search.sql import aliases
from dicomweb_archive.index.search.sql.segments import (
    ONE,
    Condition,
    Query,
    dictionary_condition,
    holds_any,
    key_parameters,
    looked_up,
    zone_overlaps,
)
from dicomweb_archive.index.search.sql.sql_types import LONGS


def with_prune(plan: SearchPlan, findings: Sequence[Finding | None]) -> SearchPlan | None:
    """Add what the dictionary knows of the filter's keys; `None` when no segment can make the filter true."""
    found = plan.filter
    if found is None or found.rest is None:
        return plan
    try:
        prune = _prune(found.rest, findings)
    except _NothingError:
        return None
    return replace(plan, filter=replace(found, prune=prune, settled=_settled(found.rest, found, findings)))


_EXACT = frozenset({Test.EQUAL, Test.ONE_OF, Test.LIKE, Test.LIKE_ANY_CASE})


def _settled(node: Node, plan: FilterPlan, findings: Sequence[Finding | None]) -> bool:
    """Tell whether terms alone prove that some instance makes a node true: lone conditions and their alternatives."""
    if isinstance(node, AnyOf):
        return all(_settled(operand, plan, findings) for operand in node.operands)
    if not isinstance(node, ValueLeaf) or node.key is None or node.test not in _EXACT:
        return False
    found = findings[node.key]
    return found is None or (found.listed and found.zones == 0)


class _NothingError(Exception):
    """No segment can make a node true; never leaves the module."""


def _prune(node: Node, findings: Sequence[Finding | None]) -> Prune | None:
    """Return how the segments that may make a node true are found; `None` when all may."""
    match node:
        case ValueLeaf() if node.key is not None:
            return _leaf(node.key, findings[node.key])
        case Opposite(operand):
            return _opposite(operand, findings)
        case AllOf(operands) | SomeItem(operands=operands):
            return _all([_prune(operand, findings) for operand in operands])
        case AnyOf(operands):
            return _any(operands, findings)
    return None


def _opposite(node: Node, findings: Sequence[Finding | None]) -> Prune | None:
    """Return how the segments that may make a node false are found: what has other values says nothing."""
    match node:
        case Opposite(operand):
            return _prune(operand, findings)
        case AnyOf(operands):
            return _all([_opposite(operand, findings) for operand in operands])
        case AllOf(operands):
            return _any([Opposite(operand) for operand in operands], findings)
    return None


def _leaf(key: int, found: Finding | None) -> PruneLeaf:
    if found is None:
        raise _NothingError
    kind = KeyPruneKind.ANY_TERM if found.listed else KeyPruneKind.DICTIONARY
    prune = KeyPrune(kind, found.zones > 0, found.hashes, found.path_id)
    return PruneLeaf(key, prune, found.segments + found.zones, found.terms)


def _all(prunes: Sequence[Prune | None]) -> Prune | None:
    known = tuple(prune for prune in prunes if prune is not None)
    if len(known) < 2:
        return known[0] if known else None
    return PruneAll(tuple(sorted(known, key=lambda prune: prune.segments)))


def _any(nodes: Sequence[Node], findings: Sequence[Finding | None]) -> Prune | None:
    prunes: list[Prune] = []
    for node in nodes:
        try:
            prune = _prune(node, findings)
        except _NothingError:
            continue
        if prune is None:
            return None
        prunes.append(prune)
    if not prunes:
        raise _NothingError
    return prunes[0] if len(prunes) == 1 else PruneAny(tuple(prunes))


# --- SQL -------------------------------------------------------------------------------------------------------


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


def _sources_of_leaf(leaf: PruneLeaf, plan: FilterPlan) -> Iterator[Query]:
    name = _name(leaf)
    if leaf.prune.kind is KeyPruneKind.DICTIONARY:
        condition = dictionary_condition(name, plan.keys[leaf.key], aliases.TERM)
        yield looked_up(name, aliases.HELD, aliases.TERM).where(condition)
    else:
        listed = func.unnest(_hashes(name)).table_valued("hash").render_derived(name=f"m_{name}")
        yield looked_up(name, aliases.HELD, listed)
    if leaf.prune.zones:
        yield select(aliases.ZONE.c.segment_id.label("id")).where(zone_overlaps(name, aliases.ZONE))


def source_is_whole(prune: Prune) -> bool:
    """Tell whether all that a prune says is in its source, so that the segment's row need not be asked again."""
    match prune:
        case PruneAll():
            return False
        case PruneAny(operands):
            return all(map(source_is_whole, operands))
    return True


def prune_condition(prune: Prune, segment: Any) -> Condition | None:
    """Compose the condition on a segment's row; `None` when the row does not tell.

    Sets of terms that are too many for a list say nothing here: looking through them costs more than the re-check.
    """
    match prune:
        case PruneAll(operands):
            told = [prune_condition(operand, segment) for operand in operands]
            known = [condition for condition in told if condition is not None]
            return and_(*known) if known else None
        case PruneAny(operands):
            told = [prune_condition(operand, segment) for operand in operands]
            known = [condition for condition in told if condition is not None]
            return or_(*known) if len(known) == len(told) else None
    if prune.prune.kind is KeyPruneKind.DICTIONARY:
        return None
    name = _name(prune)
    condition = holds_any(segment.c.terms, _hashes(name))
    if not prune.prune.zones:
        return condition
    zone = aliases.ZONE
    own = zone.c.segment_id == segment.c.id
    return or_(condition, exists(select(ONE).select_from(zone).where(own, zone_overlaps(name, zone))))


def prune_parameters(plan: FilterPlan) -> dict[str, Any]:
    """Return the values for the parameters of a filter's prunes."""
    values: dict[str, Any] = {}
    for leaf in _leaves(plan.prune) if plan.prune is not None else ():
        values |= key_parameters(_name(leaf), plan.keys[leaf.key], leaf.prune)
    return values


def _leaves(prune: Prune) -> list[PruneLeaf]:
    if isinstance(prune, PruneLeaf):
        return [prune]
    return [leaf for operand in prune.operands for leaf in _leaves(operand)]


def _name(leaf: PruneLeaf) -> str:
    return f"filter_{leaf.key}"


def _hashes(name: str) -> Any:
    return bindparam(f"hashes_{name}", type_=LONGS)
