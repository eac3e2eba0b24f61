"""What the dictionary knows of free text: which terms have a word, and of which attributes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dicomweb_archive.dicom.free_text import TEXT_VRS
from dicomweb_archive.dicom.held_attributes import path_steps
from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.search.planning.filter_planner import json_path
from dicomweb_archive.index.search.planning.shape import LIST_LIMIT
from dicomweb_archive.index.search.planning.text_plan import Place, SoughtPhrase
from dicomweb_archive.index.search.sql.phrases import has_phrase
from dicomweb_archive.index.search.terms import DICTIONARY_LIMIT, ZONE_LIMIT, TermStatistics
from dicomweb_archive.index.segments.terms import step_mark

# Looks through texts first: by attribute PostgreSQL might go through the whole dictionary.
_FOUND = f"""
with found as materialized (
  select m.hash, m.segment_count, m.path_id from term m
  where {has_phrase("m.value", "$1")} and m.number is null and m.value <> '')
"""  # noqa: S608 - composed of constants

# Finds the terms that have a word, as far as a statement can carry them.
FIND_TERMS = f"""{_FOUND}
select f.hash, f.segment_count, p.id, p.path from found f join path p on p.id = f.path_id
where p.vr = any($2::text[]) limit {DICTIONARY_LIMIT + 1}
"""  # noqa: S608 - composed of constants

# Finds the attributes of the terms that have a word which is too common for that.
FIND_PATHS = f"""{_FOUND}
select p.id, p.path from path p where p.vr = any($2::text[]) and p.id in (select f.path_id from found f) order by p.id
"""  # noqa: S608 - composed of constants

# Finds the attributes of texts that are zones, skipping from path to path, and how many segments keep them so.
FIND_ZONES = f"""
with recursive zoned(path_id) as (
  (select path_id from zone order by path_id limit 1)
  union all
  select (select z.path_id from zone z where z.path_id > zoned.path_id order by z.path_id limit 1)
  from zoned where zoned.path_id is not null)
select p.id, p.path, (select count(*) from (
    select from zone z where z.path_id = p.id and z.low_text is not null limit {ZONE_LIMIT}) c) as segments
from zoned join path p on p.id = zoned.path_id where p.vr = any($1::text[])
"""  # noqa: S608 - composed of constants


async def find_phrases(
    connection: Connection, sought: Sequence[SoughtPhrase], statistics: TermStatistics
) -> tuple[SoughtPhrase, ...]:
    """Look all words and phrases up in the dictionary."""
    zones = [row for row in await connection.fetch(FIND_ZONES, TEXT_VRS) if row["segments"]] if sought else []
    return tuple([await _find(connection, phrase, zones, statistics) for phrase in sought])


async def _find(
    connection: Connection, sought: SoughtPhrase, zones: Sequence[Mapping[str, Any]], statistics: TermStatistics
) -> SoughtPhrase:
    rows = await connection.fetch(FIND_TERMS, sought.pattern, TEXT_VRS)
    listed = len(rows) <= DICTIONARY_LIMIT
    segments = sum(statistics.segments(row["hash"], row["segment_count"]) for row in rows)
    if not listed:
        # Cut off: the rest is unknown and may be anything.
        segments = max(segments, statistics.sizes.segments)
    paths = rows if listed else await connection.fetch(FIND_PATHS, sought.pattern, TEXT_VRS)
    names = {row["id"]: row["path"] for row in paths}
    numbers = {path_id: number for number, path_id in enumerate(names)}
    return replace(
        sought,
        listed=listed,
        few=len(rows) <= LIST_LIMIT,
        zoned=bool(zones),
        hashes=tuple(row["hash"] for row in rows) if listed else (),
        term_places=tuple(numbers[row["id"]] for row in rows) if listed else (),
        places=(*(_place(*each) for each in names.items()), *(_place(row["id"], row["path"]) for row in zones)),
        first_zone=len(names),
        terms=len(rows),
        segments=segments + sum(row["segments"] for row in zones),
    )


def _place(path_id: int, name: str) -> Place:
    first, *below = path_steps(name)
    return Place(path_id, str(first), step_mark(str(first)), json_path(below, in_item=False))
