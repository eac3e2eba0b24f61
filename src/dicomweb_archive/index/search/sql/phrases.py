"""Free text in SQL: which segments may have a word or phrase, and at which positions they do.

A segment's terms that have the word tell its attributes. Where one of them is shared by all its instances nothing has
to be opened; of the others the values at each position are compared again, as are those of zones.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    FromClause,
    and_,
    bindparam,
    column,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    true,
)

from dicomweb_archive.index.database.tables import FOLDED_VALUE
from dicomweb_archive.index.search.planning.text_plan import SoughtPhrase
from dicomweb_archive.index.search.sql import aliases
from dicomweb_archive.index.search.sql.positions import Expression
from dicomweb_archive.index.search.sql.segments import EMPTY, ONE, Condition, Query, holds_any, looked_up
from dicomweb_archive.index.search.sql.sql_types import INT, INTS, LONGS, TEXT, TEXTS


def has_phrase(value: str, pattern: str) -> str:
    """Write the condition that a text has a phrase: as it is but for case, or folded where it is more than ASCII.

    Each half is what one index of the dictionary answers.
    """
    folded = FOLDED_VALUE.format(value)
    return f"({value} ~* {pattern} or octet_length({value}) <> length({value}) and {folded} ~ {pattern})"


# Finds the places where the terms of a segment have the phrase, by a list of terms.
_LISTED = """
select t.place, coalesce(t.mark = any(p.varying), true) as varies
from unnest(p.terms) h(hash) join unnest(:{0}_hashes, :{0}_term_places, :{0}_term_marks) t(hash, place, mark)
  on t.hash = h.hash
"""

# Finds the same by the dictionary, for a phrase that many terms have.
_LOOKED_UP = """
select t.place - 1, coalesce(t.mark = any(p.varying), true) as varies
from unnest(p.terms) h(hash) join term m on m.hash = h.hash and m.number is null and m.value <> '' and {1}
join unnest(:{0}_paths, :{0}_marks) with ordinality t(path_id, mark, place) on t.path_id = m.path_id
"""

# Adds the places that are zones in the segment.
_ZONED = """
union all select t.place, true from zone z
join unnest(:{0}_zone_paths, :{0}_zone_places) t(path_id, place) on t.path_id = z.path_id
where z.segment_id = p.id and z.low_text is not null
"""

# Gathers them: whether all instances have the phrase, whether at least one has, and the places that vary.
_PLACES = """
select coalesce(bool_or(not f.varies), false) as everywhere, coalesce(bool_or(f.place < {1}), false) as somewhere,
  array_agg(distinct f.place) filter (where f.varies) as places
from ({0}) f(place, varies)
"""

# Finds the positions whose values have the phrase at one of the places, a value that comes often once. OFFSET 0
# unpacks each step once.
_POSITIONS = """
select array_agg(distinct u.position) as positions
from unnest(:{0}_steps, :{0}_ways) with ordinality s(step, way, place)
cross join lateral (
  select coalesce(d.columns -> s.step, d.large -> s.step -> 'varying') as varying,
    coalesce(d.common -> s.step, d.large -> s.step -> 'shared') as shared
  from segment_data d where d.segment_id = p.id offset 0) c
cross join lateral (
  select array_agg(e.number - 1), e.value from jsonb_array_elements(c.varying) with ordinality e(value, number)
  group by e.value
  union all select array(select generate_series(0, p.instance_count - 1)), c.shared where c.varying is null
) i(positions, value)
cross join unnest(i.positions) u(position)
where {2} and s.place - 1 = any(places_{0}.places) and exists (
  select from jsonb_path_query(i.value, s.way::jsonpath) v(json) cross join lateral (select v.json #>> '{{}}') x(text)
  where jsonb_typeof(v.json) = 'string' and {1})
"""


@dataclass(frozen=True, slots=True)
class PhraseSources:
    """What is found out once about a segment (alias `p`) for all words and phrases of a search.

    Attributes:
        alone: nothing else is asked, and not which instances there are: what terms prove needs no positions.
    """

    sought: Sequence[SoughtPhrase]
    alone: bool

    def joined(self, origin: FromClause) -> FromClause:
        """Join the places of each phrase, and then the positions of those that places leave open."""
        for number, phrase in enumerate(self.sought):
            origin = origin.join(_places(_name(number), phrase), true())
        for number in range(len(self.sought)):
            name = _name(number)
            compared = has_phrase('x.text collate "C"', f":{name}_pattern")
            written = _POSITIONS.format(name, compared, f"not places_{name}.everywhere and {self._is_open()}")
            at = _bound(name, written).columns(column("positions", INTS))
            origin = origin.join(at.lateral(f"positions_{name}"), true())
        return origin

    def somewhere(self) -> list[Condition]:
        """Compose the conditions that each phrase is at some place, so that others need not be looked at."""
        return [literal_column(has, Boolean) for has in self._held()]

    def at(self, position: Expression) -> list[Condition]:
        """Compose the conditions that the instance at a position has each phrase."""
        names = [_name(number) for number in range(len(self.sought))]
        return [
            or_(
                literal_column(f"places_{name}.everywhere", Boolean),
                position == func.any(literal_column(f"positions_{name}.positions", INTS)),
            )
            for name in names
        ]

    def is_proved(self) -> Condition:
        """Compose the condition that terms prove that one instance has all phrases: at most one phrase varies."""
        return literal_column(self._proof(), Boolean)

    def _is_open(self) -> str:
        return " and ".join([*self._held(), *([f"not ({self._proof()})"] if self.alone else [])])

    def _held(self) -> list[str]:
        names = [_name(number) for number in range(len(self.sought))]
        return [f"(places_{name}.everywhere or places_{name}.places is not null)" for name in names]

    def _proof(self) -> str:
        names = [_name(number) for number in range(len(self.sought))]
        somewhere = " and ".join(f"places_{name}.somewhere" for name in names)
        varying = " + ".join(f"(not places_{name}.everywhere)::int" for name in names)
        return f"{somewhere} and {varying} <= 1"


def _places(name: str, sought: SoughtPhrase) -> FromClause:
    found = _LISTED if sought.listed else _LOOKED_UP
    found += _ZONED if sought.zoned else ""
    written = _PLACES.format(found.format(name, has_phrase("m.value", f":{name}_pattern")), f":{name}_first_zone")
    told = (column("everywhere", Boolean), column("somewhere", Boolean), column("places", INTS))
    source: FromClause = _bound(name, written).columns(*told).lateral(f"places_{name}")
    return source


def phrase_sources(number: int, sought: SoughtPhrase) -> Iterator[Query]:
    """Select the ids of the segments that may have the phrase: a look-up for each of its terms, and its zones."""
    name = _name(number)
    if sought.listed:
        terms = func.unnest(_parameter(name, "hashes")).table_valued("hash").render_derived(name=f"m_{name}")
        yield looked_up(name, terms, aliases.HELD.c.id)
    else:
        dictionary = aliases.TERM
        has = text(has_phrase("m.value", f":{name}_pattern")).bindparams(_parameter(name, "pattern"))
        own = dictionary.c.path_id == func.any(_parameter(name, "paths"))
        texts = and_(dictionary.c.number.is_(None), dictionary.c.value != EMPTY)
        yield looked_up(name, dictionary, aliases.HELD.c.id).where(has, own, texts)
    if sought.zoned:
        yield select(aliases.ZONE.c.segment_id.label("id")).where(_is_text_zone(name))


def phrase_condition(number: int, sought: SoughtPhrase, segment: Any) -> Condition | None:
    """Compose the condition on a segment's row; `None` when the row does not tell."""
    if not sought.few:
        return None
    name = _name(number)
    condition = holds_any(segment.c.terms, _parameter(name, "hashes"))
    if not sought.zoned:
        return condition
    own = and_(aliases.ZONE.c.segment_id == segment.c.id, _is_text_zone(name))
    return or_(condition, exists(select(ONE).select_from(aliases.ZONE).where(own)))


def phrase_parameters(sought: Sequence[SoughtPhrase]) -> dict[str, Any]:
    """Return the values for the parameters of all words and phrases."""
    return {
        f"{_name(number)}_{parameter}": value
        for number, phrase in enumerate(sought)
        for parameter, value in _values(phrase).items()
    }


def _values(sought: SoughtPhrase) -> dict[str, Any]:
    places, zones = sought.places, sought.places[sought.first_zone :]
    return {
        "pattern": sought.pattern,
        "first_zone": sought.first_zone,
        "hashes": list(sought.hashes),
        "term_places": list(sought.term_places),
        "term_marks": [places[place].mark for place in sought.term_places],
        "paths": [place.path_id for place in places[: sought.first_zone]],
        "marks": [place.mark for place in places[: sought.first_zone]],
        "zone_paths": [place.path_id for place in zones],
        "zone_places": list(range(sought.first_zone, len(places))),
        "steps": [place.step for place in places],
        "ways": [place.way for place in places],
    }


_TYPES: Final[Mapping[str, Any]] = {
    "pattern": TEXT,
    "first_zone": INT,
    "hashes": LONGS,
    "steps": TEXTS,
    "ways": TEXTS,
    **dict.fromkeys(("term_places", "term_marks", "paths", "marks", "zone_paths", "zone_places"), INTS),
}


def _name(number: int) -> str:
    return f"phrase_{number}"


def _parameter(name: str, kind: str) -> Any:
    return bindparam(f"{name}_{kind}", type_=_TYPES[kind])


def _bound(name: str, written: str) -> Any:
    used = [kind for kind in _TYPES if f":{name}_{kind}" in written]
    return text(written).bindparams(*(_parameter(name, kind) for kind in used))


def _is_text_zone(name: str) -> Condition:
    zone = aliases.ZONE
    return and_(zone.c.path_id == func.any(_parameter(name, "zone_paths")), zone.c.low_text.is_not(None))
