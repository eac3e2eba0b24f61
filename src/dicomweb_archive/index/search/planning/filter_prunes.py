"""Prunes of filters: which segments terms, zones and rows leave over. Pure; nothing here knows SQL."""

from collections.abc import Sequence
from dataclasses import replace

from dicomweb_archive.index.search.planning.filter_plan import (
    AllOf,
    AnyOf,
    ColumnLeaf,
    FilterPlan,
    Node,
    Opposite,
    Prune,
    PruneAll,
    PruneAny,
    PruneLeaf,
    PrunePhrase,
    PruneRow,
    SomeItem,
    Test,
    ValueLeaf,
)
from dicomweb_archive.index.search.planning.key_prunes import Finding, KeyPrune
from dicomweb_archive.index.search.planning.key_prunes import Prune as KeyPruneKind
from dicomweb_archive.index.search.planning.plan import SELECTIVE_COLUMNS, SearchPlan
from dicomweb_archive.index.search.planning.text_plan import SoughtPhrase


def with_prune(plan: SearchPlan, findings: Sequence[Finding | None]) -> SearchPlan | None:
    """Add what the dictionary knows of the filter's keys; `None` when no segment can make the filter true."""
    found = plan.filter
    if found is None or not found.asks_instances:
        return plan
    try:
        of_rest = None if found.rest is None else _prune(found.rest, findings)
    except _NothingError:
        return None
    if any(phrase.nothing for phrase in found.phrases):
        return None
    of_phrases = (_phrase(number, phrase) for number, phrase in enumerate(found.phrases))
    prune = _all([of_rest, *of_phrases])
    if found.rest is None:
        settled = len(found.phrases) == 1 and found.phrases[0].told_by_terms
    else:
        settled = not found.phrases and _settled(found.rest, found, findings)
    return replace(plan, filter=replace(found, prune=prune, settled=settled))


_EXACT = frozenset({Test.EQUAL, Test.ONE_OF, Test.LIKE, Test.LIKE_ANY_CASE})


def _settled(node: Node, plan: FilterPlan, findings: Sequence[Finding | None]) -> bool:
    """Tell whether terms alone prove that some instance makes a node true: lone conditions and their alternatives."""
    if isinstance(node, AnyOf):
        return all(_settled(operand, plan, findings) for operand in node.operands)
    if not isinstance(node, ValueLeaf) or node.key is None or node.test not in _EXACT:
        return False
    found = findings[node.key]
    return found is None or (found.listed and found.zones == 0)


_NAMED = SELECTIVE_COLUMNS | {"series_instance_uid", "sop_instance_uid"}


class _NothingError(Exception):
    """No segment can make a node true; never leaves the module."""


def _prune(node: Node, findings: Sequence[Finding | None]) -> Prune | None:
    """Return how the segments that may make a node true are found; `None` when all may."""
    match node:
        case ValueLeaf() if node.key is not None:
            return _leaf(node.key, findings[node.key])
        case ColumnLeaf():
            return _row(node)
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


def _phrase(number: int, sought: SoughtPhrase) -> PrunePhrase:
    return PrunePhrase(number, sought.told_by_terms, sought.segments, sought.terms)


def _row(leaf: ColumnLeaf) -> PruneRow | None:
    """Return how the rows that a condition names are found; conditions that may leave many are left to the check."""
    if leaf.column not in _NAMED or leaf.test not in (Test.EQUAL, Test.ONE_OF):
        return None
    return PruneRow(leaf, len(leaf.value) if leaf.test is Test.ONE_OF else 1)


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
