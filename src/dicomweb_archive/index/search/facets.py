"""Facets: counts the values that matching studies, series or instances have of some attributes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dicomweb_archive.dicom.facets import Facet, FacetField, facet_value, takes
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.search.execution import SearchIndex
from dicomweb_archive.index.search.sql.facets import (
    Arguments,
    Drive,
    IndexedField,
    facets_text,
    has_column,
    hits_text,
    total_text,
)
from dicomweb_archive.index.search.sql.statements import Part
from dicomweb_archive.index.search.visible_paths import visible_paths

# Finds the paths of fields, and how many terms each has as far as it matters.
FIND_FIELDS = """
select p.path, p.id, p.vr, (select count(*) from (select from term t where t.path_id = p.id limit 5001) c) as terms
from path p where p.path = any($1::text[])
"""

# About how many rows there are.
ESTIMATE_ROWS = """
select greatest(1, max(reltuples) filter (where relname = 'study'))::float8 as study,
  greatest(1, max(reltuples) filter (where relname = 'series'))::float8 as series,
  greatest(1, max(reltuples) filter (where relname = 'segment'))::float8 as segment
from pg_class where oid in ('study'::regclass, 'series'::regclass, 'segment'::regclass)
"""

_EVERYTHING: Final = 1 << 40

UNFOLD_SECONDS = 40e-6
"""About what it takes to go through the terms of one segment, some two hundred."""

# Seconds, as in `planning/shape`.
_TERM_SECONDS = 11e-6
_SEGMENT_SECONDS = 2.3e-6
_MOST_TERMS = 5000


@dataclass(frozen=True, slots=True)
class Facets:
    """How many entities match, and the values that they have."""

    total: int
    facets: Sequence[Facet]


class FacetIndex:
    """Counts values."""

    def __init__(self, database: Database, search: SearchIndex, *, unfold_seconds: float = UNFOLD_SECONDS) -> None:
        self._database = database
        self._search = search
        self._unfold_seconds = unfold_seconds

    async def count(
        self, query: SearchQuery, visibility: Visibility, fields: Sequence[FacetField], *, limit: int
    ) -> Facets:
        """Count the values of some attributes in everything that a search finds, whatever its page.

        Raises:
            InvalidMatchError: a wild card for an attribute that has none.
            InvalidParameterError: bins that values of an attribute cannot be put into.
            QueryTooExpensiveError: counting ran into the time limit of searches.
            DatabaseUnavailableError: trying again later may help.
        """
        query = replace(query, limit=_EVERYTHING, offset=0, order=(), after=None)
        async with self._database.search_connection() as connection:
            known = await _find_fields(connection, fields, visibility)
            vrs = [_vr_of(field, known) for field in fields]
            for field, vr in zip(fields, vrs, strict=True):
                if vr != "UN" and not takes(field, vr):
                    raise InvalidParameterError("interval", accepted="year or month for dates, a width for numbers")
            prepared = await self._search.prepare(connection, query, visibility)
            if prepared is None:
                return Facets(0, [Facet(field, vr, (), 0) for field, vr in zip(fields, vrs, strict=True)])
            found_by, values = await self._search.statements.find(
                prepared.plan, prepared.of_all(), visibility, Part.ALL
            )
            hits = hits_text(query.level, found_by.text, by_position="position" in found_by.columns)
            total, found = await connection.fetchrow(total_text(query.level, hits), *values)
            indexed = await self._choose(connection, query.level, fields, known, found)
            arguments = Arguments(list(values))
            asked = [field for field in indexed if field is not None]
            rows = []
            if asked and total:
                rows = await connection.fetch(
                    facets_text(query.level, hits, asked, limit, arguments), *arguments.values
                )
        return Facets(total, _facets(fields, vrs, asked, rows))

    async def _choose(
        self,
        connection: Connection,
        level: Level,
        fields: Sequence[FacetField],
        known: Mapping[str, Mapping[str, Any]],
        found: int,
    ) -> list[IndexedField | None]:
        """Choose for each field where its branch begins; `None` where the archive has no such attribute."""
        rows = await connection.fetchrow(ESTIMATE_ROWS)
        own = {Level.STUDY: rows["study"], Level.SERIES: rows["series"], Level.INSTANCE: rows["segment"]}[level]
        segments = found * max(1.0, rows["segment"] / own)
        chosen: list[IndexedField | None] = []
        for field in fields:
            held = known.get(str(field.path))
            if has_column(field):
                chosen.append(IndexedField(field, None))
            elif held is None:
                chosen.append(None)
            else:
                by_dictionary = held["terms"] * _TERM_SECONDS + rows["segment"] * _SEGMENT_SECONDS
                cheap = held["terms"] <= _MOST_TERMS and by_dictionary < segments * self._unfold_seconds
                chosen.append(IndexedField(field, held["id"], Drive.DICTIONARY if cheap else Drive.SEGMENTS))
        return chosen


async def _find_fields(
    connection: Connection, fields: Sequence[FacetField], visibility: Visibility
) -> dict[str, Mapping[str, Any]]:
    """Return what the dictionary knows of the fields; of those that it alone knows what may be seen."""
    rows = await connection.fetch(FIND_FIELDS, [str(field.path) for field in fields])
    unnamed = {str(field.path) for field in fields if field.path.vr == "UN"}
    seen = await visible_paths(connection, (row["id"] for row in rows if row["path"] in unnamed), visibility)
    return {row["path"]: row for row in rows if row["path"] not in unnamed or row["id"] in seen}


def _vr_of(field: FacetField, known: Mapping[str, Mapping[str, Any]]) -> str:
    held = known.get(str(field.path))
    return str(held["vr"]) if held is not None and field.path.vr == "UN" else field.path.vr


def _facets(
    fields: Sequence[FacetField], vrs: Sequence[str], asked: Sequence[IndexedField], rows: Sequence[Mapping[str, Any]]
) -> list[Facet]:
    by_field: dict[FacetField, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_field.setdefault(asked[row["field"]].field, []).append(row)
    facets = []
    for field, vr in zip(fields, vrs, strict=True):
        own = by_field.get(field, [])
        ordered = own if field.interval is None else sorted(own, key=lambda row: (row["number"] is None, row["number"]))
        values = tuple(facet_value(field, vr, row["number"], row["text"], row["count"]) for row in ordered)
        facets.append(Facet(field, vr, values, own[0]["different"] if own else 0))
    return facets
