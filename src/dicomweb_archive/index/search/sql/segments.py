"""Segments in SQL: the subquery of every search that finds the segments, or instances, which hold its keys."""

from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
    union,
)
from sqlalchemy.dialects.postgresql import array

from dicomweb_archive.index.search.planning.conditions import IndexKey, Kind
from dicomweb_archive.index.search.planning.key_prunes import KeyPrune, Prune
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.shape import Choice, Shape
from dicomweb_archive.index.search.sql import aliases
from dicomweb_archive.index.search.sql.bounds import zone_overlaps, zone_segments
from dicomweb_archive.index.search.sql.positions import (
    Expression,
    at_most_one_varies,
    begins_with,
    marks_of_tests,
    none_varies,
    passes,
    positions_to_try,
    recheck_source,
    word_beginnings,
)
from dicomweb_archive.index.search.sql.sql_types import INT, INTS, LONG, LONGS, NUMBER, TEXT, TEXTS

Condition: TypeAlias = ColumnElement[bool]
Query: TypeAlias = Select[Any]

ONE: Expression = literal_column("1")
BARRIER: Expression = literal_column("0")
"""OFFSET 0: PostgreSQL keeps the subquery as it is written."""

EMPTY: Expression = literal_column("''")
"""Stands for a value of zero length, which matches nothing (docs/design/0005-search.md)."""

HIGHEST_TEXT = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class SegmentSearch:
    """Composes the part of a search that concerns segments (alias `p`) and the instances in them."""

    plan: SearchPlan
    choice: Choice
    segment: FromClause = aliases.SEGMENT
    data: FromClause = aliases.DATA
    instance: FromClause = aliases.INSTANCE
    sourced: bool = False
    """`segment` is what `settled_source` has selected."""
    pruned: bool = False
    """`segment` is what `candidates` has selected."""

    @property
    def position(self) -> Expression:
        """Position of a matching instance, where `select` was asked for instances."""
        if self.plan.by_sop_instance:
            return self.instance.c.position
        return literal_column("u.position", Integer)

    def select(self, *columns: Expression, instances: bool = False) -> Query:
        """Select from the segments with a matching instance, or from their matching instances."""
        if self.sourced:
            return select(*columns).select_from(self.segment)
        origin, conditions = (self.segment, []) if self.pruned else self._pruned()
        if self.plan.by_sop_instance:
            origin = origin.join(self.instance, self.instance.c.segment_id == self.segment.c.id)
            uids = bindparam("sop_instance_uids", type_=TEXTS)
            # The index begins with the space; whether a row of it is visible is for the study to say.
            spaces = bindparam("sop_instance_spaces", type_=INTS)
            conditions.append(self.instance.c.space_id == func.any(spaces))
            conditions.append(self.instance.c.sop_instance_uid == func.any(uids))
        origin, recheck = self._rechecked(origin, instances=instances)
        return select(*columns).select_from(origin).where(*conditions, *recheck)

    def candidates(self, *columns: Expression) -> Query:
        """Select from the segments that terms and zones leave over, before any is opened."""
        origin, conditions = self._pruned()
        return select(*columns).select_from(origin).where(*conditions)

    # --- which segments ------------------------------------------------------------------------------------

    def _pruned(self) -> tuple[FromClause, list[Condition]]:
        driver = self._driver_source()
        if driver is None:
            return self.segment, self._prunes()
        source = driver.cte("source").prefix_with("MATERIALIZED")
        return source.join(self.segment, self.segment.c.id == source.c.id), self._prunes()

    def _prunes(self) -> list[Condition]:
        """The conditions on a segment that terms and zones answer."""
        conditions: list[Condition] = []
        if any(prune.kind is Prune.ALL_TERMS and not prune.zones for prune in self.choice.prunes):
            # One array for all single values: GIN intersects them in one scan.
            conditions.append(holds_all(self.segment.c.terms, bindparam("terms", type_=LONGS)))
        for number, prune in enumerate(self.choice.prunes):
            if not self._is_source(number):
                conditions += self._prune(number, prune)
        return conditions

    def _prune(self, number: int, prune: KeyPrune) -> list[Condition]:
        if prune.kind is Prune.NOTHING:
            return []
        terms = self.segment.c.terms
        hashes = bindparam(f"hashes_{number}", type_=LONGS)
        if prune.kind is Prune.DICTIONARY:
            if not self.choice.carries(number, nested=self.plan.keys[number].nested):
                return []
            found = self._source(number).subquery(f"set_{number}")
            return [self.segment.c.id.in_(select(found.c.id))]
        if prune.kind is Prune.ALL_TERMS and not prune.zones:
            return []
        condition = (holds_all if prune.kind is Prune.ALL_TERMS else holds_any)(terms, hashes)
        if not prune.zones:
            return [condition]
        zone = aliases.ZONE
        own = zone.c.segment_id == self.segment.c.id
        return [or_(condition, exists(select(ONE).select_from(zone).where(own, zone_overlaps(number))))]

    def _is_source(self, number: int) -> bool:
        """Whether this key drives the search from a source of its own; single terms are found in place."""
        choice = self.choice
        if choice.shape is not Shape.TERMS or number != choice.driver:
            return False
        prune = choice.prunes[number]
        return prune.zones or prune.kind is Prune.DICTIONARY

    def settled_source(self) -> Query | None:
        """Select study and series of what matches, some more than once; `None` where more has to be looked at."""
        number, plan = self.choice.driver, self.plan
        if number is None or plan.filtered or len(plan.keys) > 1 or len(plan.tests) > 1 or plan.by_sop_instance:
            return None
        if not self._is_source(number) or not self.choice.settles(plan.tests[0], plan):
            return None
        return self._looked_up(number, aliases.HELD.c.study_id, aliases.HELD.c.series_id)

    def _driver_source(self) -> Query | CompoundSelect[Any] | None:
        number = self.choice.driver
        return self._source(number) if number is not None and self._is_source(number) else None

    def _source(self, number: int) -> Query | CompoundSelect[Any]:
        """Select the ids of the segments of one key: a look-up for each of its terms, and its zones."""
        found = self._looked_up(number, aliases.HELD.c.id)
        if not self.choice.prunes[number].zones:
            return found.distinct()
        return union(found, *zone_segments(number))

    def _looked_up(self, number: int, *columns: Expression) -> Query:
        """Select from the segments that hold a term of one key; what several terms find comes several times."""
        prune, key = self.choice.prunes[number], self.plan.keys[number]
        hashes = bindparam(f"hashes_{number}", type_=LONGS)
        if prune.kind is Prune.ALL_TERMS:
            return select(*columns).where(holds_all(aliases.HELD.c.terms, hashes))
        if prune.kind is Prune.ANY_TERM:
            return looked_up(number, listed(number), *columns)
        if key.kind is Kind.FUZZY:
            return looked_up(number, _names(number), *columns)
        condition = dictionary_condition(number, key, aliases.TERM)
        return looked_up(number, aliases.TERM, *columns).where(condition)

    # --- which instances in them ---------------------------------------------------------------------------

    def _rechecked(self, origin: FromClause, *, instances: bool) -> tuple[FromClause, list[Condition]]:
        plan, choice = self.plan, self.choice
        settled = [choice.settles(test, plan) for test in plan.tests]
        by_position = instances or plan.by_sop_instance
        if not plan.tests or (settled == [True] and not by_position):
            if instances and not plan.by_sop_instance:
                origin = origin.join(self._positions(), true())
            return origin, []
        if not all(settled):
            source = recheck_source(plan, self.data, self.segment)
            return self._passing(origin.join(source, true()), source, by_position=by_position)
        # What the terms prove needs no look at the columns, which costs twenty times as much as finding the segment.
        proved = (none_varies if by_position else at_most_one_varies)(plan, self.segment)
        source = recheck_source(plan, self.data, self.segment, needed=not_(proved))
        origin, conditions = self._passing(origin.outerjoin(source, true()), source, by_position=by_position)
        # CASE keeps the order: positions are looked at only where it is not proved.
        return origin, [case((proved, true()), else_=and_(*conditions))]

    def _passing(
        self, origin: FromClause, source: FromClause, *, by_position: bool
    ) -> tuple[FromClause, list[Condition]]:
        """Check the positions of each segment: the one that is wanted or all, or whether there is one."""
        condition = passes(self.plan, self.choice, source, self.position)
        if not by_position:
            return origin, [exists(select(ONE).select_from(self._tried_positions()).where(condition))]
        return (origin if self.plan.by_sop_instance else origin.join(self._positions(), true())), [condition]

    def _tried_positions(self) -> FromClause:
        """The positions that have to be looked at to tell whether one of them matches."""
        return positions_to_try(self.segment, marks_of_tests(self.plan))

    def _positions(self) -> FromClause:
        numbers = func.generate_series(BARRIER, self.segment.c.instance_count - ONE)
        return numbers.table_valued("position").render_derived(name="u")


def holds_all(entries: Expression, wanted: Expression) -> Condition:
    """An array has all wanted entries."""
    return entries.op("@>", is_comparison=True)(wanted)


def holds_any(entries: Expression, wanted: Expression) -> Condition:
    """An array has one of the wanted entries."""
    return entries.op("&&", is_comparison=True)(wanted)


def like_any_case(text: Expression, pattern: Expression) -> Condition:
    """A text looks like a pattern, whatever their case; the default collation knows the case of all letters."""
    return func.lower(text.collate("default")).like(func.lower(pattern.collate("default")))


def looked_up(number: int | str, terms: FromClause, *columns: Expression) -> Query:
    """Select columns of the segments (alias `held`) that hold one of the terms."""
    # One look-up in the GIN index for each term; `&&` of the list would cost the square of its length.
    lookup = (
        select(*columns)
        .where(holds_all(aliases.HELD.c.terms, array([terms.c.hash], type_=LONG)))
        .correlate(terms)
        .offset(BARRIER)
        .lateral(f"l_{number}")
    )
    return select(*lookup.c).select_from(terms.join(lookup, true()))


def listed(number: int | str) -> FromClause:
    """The terms that the statement carries for a key."""
    hashes = bindparam(f"hashes_{number}", type_=LONGS)
    return func.unnest(hashes).table_valued("hash").render_derived(name=f"m_{number}")


def _names(number: int) -> FromClause:
    """The terms of the names that have a word with one of the key's beginnings."""
    word, begin = aliases.WORD, word_beginnings(number)
    own = word.c.path_id == bindparam(f"path_{number}", type_=INT)
    found = select(word.c.hash).select_from(begin.join(word, and_(own, begins_with(word, begin))))
    return found.distinct().subquery(f"m_{number}")


def dictionary_condition(number: int | str, key: IndexKey, dictionary: FromClause) -> Condition:
    """The rows of the dictionary that a pattern, range or long list selects."""
    own = dictionary.c.path_id == bindparam(f"path_{number}", type_=INT)
    match key.kind:
        case Kind.LIKE:
            # Says what the partial index on texts holds, so that PostgreSQL may use it.
            text = dictionary.c.value.like(bindparam(f"pattern_{number}", type_=TEXT))
            return and_(own, text, dictionary.c.number.is_(None), dictionary.c.value != EMPTY)
        case Kind.BETWEEN:
            low = bindparam(f"low_number_{number}", type_=NUMBER)
            high = bindparam(f"high_number_{number}", type_=NUMBER)
            return and_(own, dictionary.c.number.between(low, high))
        case Kind.TEXT_RANGE:
            low = bindparam(f"low_text_{number}", type_=TEXT)
            high = bindparam(f"high_text_{number}", type_=TEXT)
            text = dictionary.c.value.between(low, high)
            return and_(own, text, dictionary.c.number.is_(None), dictionary.c.value != EMPTY)
        case Kind.LIKE_ANY_CASE:
            folded = like_any_case(dictionary.c.value, bindparam(f"pattern_{number}", type_=TEXT))
            return and_(own, folded, dictionary.c.number.is_(None), dictionary.c.value != EMPTY)
        case _:
            hashes = bindparam(f"hashes_{number}", type_=LONGS)
            return and_(own, dictionary.c.hash == func.any(hashes))


def key_bounds(key: IndexKey) -> tuple[float | None, float | None, str | None, str | None]:
    """Return the numbers and texts between which the key's values lie: low, high, low text, high text."""
    match key.kind:
        case Kind.BETWEEN:
            return key.low, key.high, None, None
        case Kind.FUZZY:
            return None, None, "", HIGHEST_TEXT
        case Kind.LIKE:
            prefix = _literal_prefix(key.pattern)
            return None, None, prefix, prefix + HIGHEST_TEXT
        case Kind.TEXT_RANGE:
            return None, None, key.texts[0], key.texts[1]
        case Kind.LIKE_ANY_CASE:
            return None, None, "", HIGHEST_TEXT
        case _:
            numbers = [number for number in key.numbers if number is not None]
            low, high = (min(numbers), max(numbers)) if numbers else (None, None)
            # "C" collation orders UTF-8 by bytes, which is the order of code points: Python's.
            return low, high, min(key.texts, default=None), max(key.texts, default=None)


def word_bounds(key: IndexKey) -> tuple[list[str], list[str]]:
    """Return the texts between which the words lie that begin with a spelling of the key: lows, and highs."""
    return list(key.spellings), [spelling + HIGHEST_TEXT for spelling in key.spellings]


def _literal_prefix(pattern: str) -> str:
    prefix = ""
    characters = iter(pattern)
    for character in characters:
        if character in "%_":
            break
        prefix += next(characters, "") if character == "\\" else character
    return prefix


def segment_parameters(plan: SearchPlan, choice: Choice) -> dict[str, Any]:
    """Return the values for the parameters of `SegmentSearch`, save those of the re-check."""
    values: dict[str, Any] = {"sop_instance_uids": list(plan.sop_instance_uids or ()), "terms": []}
    for number, (key, prune) in enumerate(zip(plan.keys, choice.prunes, strict=False)):
        if prune.kind is Prune.ALL_TERMS and not prune.zones:
            values["terms"] += prune.hashes
        values |= key_parameters(number, key, prune)
    return values


def key_parameters(number: int | str, key: IndexKey, prune: KeyPrune) -> dict[str, Any]:
    """Return the values for the parameters of one key."""
    low, high, low_text, high_text = key_bounds(key)
    word_lows, word_highs = word_bounds(key)
    return {
        f"hashes_{number}": list(prune.hashes),
        f"path_{number}": prune.path_id,
        f"pattern_{number}": key.pattern,
        f"low_number_{number}": low,
        f"high_number_{number}": high,
        f"low_text_{number}": low_text,
        f"high_text_{number}": high_text,
        f"word_lows_{number}": word_lows,
        f"word_highs_{number}": word_highs,
    }
