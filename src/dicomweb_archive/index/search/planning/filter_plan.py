"""Filter in a plan: which table and which part of a segment answers which condition. Pure; nothing here knows SQL.

As with `plan`, two filters are equal when their statements have the same text; values are not compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from dicomweb_archive.index.search.planning.conditions import IndexKey
from dicomweb_archive.index.search.planning.key_prunes import KeyPrune
from dicomweb_archive.index.search.planning.text_plan import SoughtPhrase

SEGMENTS_OF_A_ROW: Final = 20
"""How many segments a patient or study is taken to have; an estimate of more would cost a look-up of its own."""


class Test(StrEnum):
    """How a value is compared in a filter."""

    EQUAL = "equal"
    ONE_OF = "one_of"
    LESS = "less"
    AT_MOST = "at_most"
    GREATER = "greater"
    AT_LEAST = "at_least"
    BETWEEN = "between"
    LIKE = "like"
    LIKE_ANY_CASE = "like_any_case"
    NULL = "null"


class Row(StrEnum):
    """Whose row has a column."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class ColumnLeaf:
    """A condition on a column; `form` is a `planner.ColumnForm`.

    Attributes:
        number: tells the parameters of the conditions apart.
        value: what is bound: one value, a list of them, a pair of bounds, a pattern, or nothing.
        with_value: how the attribute begins in the row's attributes when it has a value.
    """

    number: int
    row: Row
    column: str
    form: str
    test: Test
    value: Any = field(compare=False)
    with_value: str = field(compare=False, default="")


@dataclass(frozen=True, slots=True)
class ValueLeaf:
    """A condition on values of a segment's instances, as they are kept for re-checks.

    Attributes:
        source: number of the attribute of the data set that is taken out of the segment once; `None` in an item.
        below: JSON path from there to the values, `None` when they are there already.
        nested: the attribute lies inside a sequence.
        key: number of the index key that prunes for it; `None` when nothing does.
    """

    number: int
    source: int | None
    below: str | None = field(compare=False)
    by_path: bool
    nested: bool
    test: Test
    value: Any = field(compare=False)
    key: int | None = None


@dataclass(frozen=True, slots=True)
class SomeItem:
    """All operands hold in one item of a sequence; `step` names it within an item."""

    number: int
    source: int | None
    step: str = field(compare=False)
    operands: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Opposite:
    """The operand is false."""

    operand: "Node"


@dataclass(frozen=True, slots=True)
class AllOf:
    """All operands are true."""

    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One operand is true."""

    operands: tuple["Node", ...]


Leaf: TypeAlias = ColumnLeaf | ValueLeaf
Node: TypeAlias = Leaf | SomeItem | Opposite | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class PruneLeaf:
    """Segments that hold one of the terms (or zones) of an index key."""

    key: int
    prune: KeyPrune
    segments: float = field(compare=False, default=0)
    terms: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class PruneRow:
    """Segments of the rows that a condition on a column names, each of which has a handful."""

    leaf: ColumnLeaf
    terms: int = field(compare=False, default=0)

    @property
    def segments(self) -> float:
        """Estimate of the segments found."""
        return self.terms * SEGMENTS_OF_A_ROW


@dataclass(frozen=True, slots=True)
class PrunePhrase:
    """Segments that may have a word or phrase, by its number in the plan; `told_by_row` when a few terms tell all."""

    phrase: int
    told_by_row: bool = False
    segments: float = field(compare=False, default=0)
    terms: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class PruneAll:
    """Segments that all operands find, the one that finds the fewest first."""

    operands: tuple["Prune", ...]

    @property
    def driver(self) -> "Prune":
        """The operand that finds the fewest."""
        return self.operands[0]

    @property
    def segments(self) -> float:
        """Estimate of the segments found."""
        return self.driver.segments

    @property
    def terms(self) -> int:
        """How many terms have to be looked up to find them."""
        return self.driver.terms


@dataclass(frozen=True, slots=True)
class PruneAny:
    """Segments that one operand finds."""

    operands: tuple["Prune", ...]

    @property
    def segments(self) -> float:
        """Estimate of the segments found."""
        return sum(operand.segments for operand in self.operands)

    @property
    def terms(self) -> int:
        """How many terms have to be looked up to find them."""
        return sum(operand.terms for operand in self.operands)


Prune: TypeAlias = PruneLeaf | PruneRow | PrunePhrase | PruneAll | PruneAny


@dataclass(frozen=True, slots=True)
class FilterPlan:
    """What is left of a filter when its simple conditions have become keys; all parts must be true.

    Attributes:
        study, series: what the row of the study (the series) alone can tell.
        rest: what one instance of a segment has to pass.
        sources: attributes of the data set that the rest looks at, by path step; `source_count` of them.
        keys: what terms and zones can say about the rest, with `prune` how they find its segments.
        phrases: words and phrases that the instance has as well.
        settled: what the prune finds is proved to hold an instance that makes the rest true.
    """

    study: Node | None = None
    series: Node | None = None
    rest: Node | None = None
    sources: tuple[str, ...] = field(default=(), compare=False)
    source_count: int = 0
    keys: tuple[IndexKey, ...] = ()
    prune: Prune | None = None
    phrases: tuple[SoughtPhrase, ...] = ()
    settled: bool = False

    @property
    def asks_instances(self) -> bool:
        """Whether instances of segments have to pass something."""
        return self.rest is not None or bool(self.phrases)

    @property
    def rows(self) -> frozenset[Row]:
        """Whose rows the rest looks at."""
        leaves = leaves_of(self.rest) if self.rest is not None else iter(())
        return frozenset(leaf.row for leaf in leaves if isinstance(leaf, ColumnLeaf))

    @property
    def large_sources(self) -> frozenset[int]:
        """Sources that may be long sequences, which lie apart from the other values of a segment."""
        inner = nodes_of(self.rest) if self.rest is not None else iter(())
        return frozenset(
            node.source
            for node in inner
            if (isinstance(node, SomeItem) or (isinstance(node, ValueLeaf) and (node.nested or node.test is Test.NULL)))
            and node.source is not None
        )

    @property
    def by_position(self) -> bool:
        """Whether instances of a segment may differ in the rest."""
        return self.source_count > 0 or Row.INSTANCE in self.rows or bool(self.phrases)


def nodes_of(node: Node) -> Iterator[Node]:
    """Yield a node and all below it."""
    yield node
    match node:
        case Opposite(operand):
            yield from nodes_of(operand)
        case AllOf(operands) | AnyOf(operands) | SomeItem(operands=operands):
            for operand in operands:
                yield from nodes_of(operand)


def leaves_of(node: Node) -> Iterator[Leaf]:
    """Yield the conditions of a node."""
    return (inner for inner in nodes_of(node) if isinstance(inner, ColumnLeaf | ValueLeaf))


def weight(*nodes: Node) -> tuple[int, int]:
    """Count the conditions that a statement needs to say that all nodes are true, or that one is false.

    That items make something false is said by both, so each sequence within a sequence under NOT adds to the next.
    """
    true = false = 0
    for node in nodes:
        match node:
            case Opposite(operand):
                when_false, when_true = weight(operand)
            case AllOf(operands) | AnyOf(operands):
                when_true, when_false = weight(*operands)
            case SomeItem(operands=operands):
                when_true, when_false = weight(*operands)
                when_false += when_true
            case _:
                when_true = when_false = 1
        true, false = true + when_true, false + when_false
    return true, false
