"""What the dictionary knows of the keys of a search, and how common terms are."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.search.planning.conditions import UNTOLD, IndexKey, Kind
from dicomweb_archive.index.search.planning.key_prunes import Finding
from dicomweb_archive.index.search.planning.shape import LIST_LIMIT, Statistics
from dicomweb_archive.index.search.sql.bounds import NEARLY
from dicomweb_archive.index.search.sql.segments import key_bounds, word_bounds
from dicomweb_archive.index.search.visible_paths import visible_paths
from dicomweb_archive.index.segments.terms import TEXT_LIMIT, step_mark, term_hash

DICTIONARY_LIMIT = 1000
"""Most terms of a pattern or range that are looked at to estimate how many segments they find."""

RANGE_LIMIT = 10_000
"""Most terms of a range of numbers that are counted for the same purpose: an hour has 3,600 seconds."""

ZONE_LIMIT = 1000
"""Most zones that are counted for the same purpose."""

STATISTICS_SECONDS = 60.0

_SELDOM = 0.1

# Finds the paths that keys name.
FIND_PATHS = "select path, id, vr from path where path = any($1::text[])"

# Finds single terms (their hash and the segments counted for them) and counts the zones that overlap each key.
FIND_TERMS = f"""
select null::int4 as key, m.hash, m.segment_count::int8 as segments from term m where m.hash = any($1::int8[])
union all
select b.key, null, (select count(*) from (
    select 1 from zone z
    where z.path_id = b.path_id and z.low <= b.high and z.high >= b.low and (z.spacing is null
      or floor((least(z.high, b.high) - z.low + {NEARLY.format(zone="z")}) / z.spacing)
      >= ceil((greatest(z.low, b.low) - z.low - {NEARLY.format(zone="z")}) / z.spacing))
    union all
    select 1 from zone z
    where z.path_id = b.path_id and z.low_text is not null and z.low_text <= b.high_text and z.high_text >= b.low_text
    limit {ZONE_LIMIT}) c)
from unnest($2::int4[], $3::int4[], $4::float8[], $5::float8[], $6::text[], $7::text[])
  as b(key, path_id, low, high, low_text, high_text)
"""  # noqa: S608 - composed of constants

# Finds the terms of a pattern.
FIND_LIKE = f"""
select hash, segment_count from term
where path_id = $1 and value like $2 and number is null and value <> '' limit {DICTIONARY_LIMIT + 1}
"""  # noqa: S608 - composed of constants

# Finds the terms of a range.
FIND_BETWEEN = f"""
select hash, segment_count from term where path_id = $1 and number between $2 and $3 limit {DICTIONARY_LIMIT + 1}
"""  # noqa: S608 - composed of constants

# Counts the terms of a range that are more than that, by their index alone.
COUNT_BETWEEN = f"""
select count(*) from (select from term where path_id = $1 and number between $2 and $3 limit {RANGE_LIMIT}) c
"""  # noqa: S608 - composed of constants

# Finds the terms of a range of texts.
FIND_TEXTS = f"""
select hash, segment_count from term
where path_id = $1 and value between $2 and $3 and number is null and value <> '' limit {DICTIONARY_LIMIT + 1}
"""  # noqa: S608 - composed of constants

# Finds the terms of a pattern without regard to case; the default collation knows the case of all letters.
FIND_LIKE_ANY_CASE = f"""
select hash, segment_count from term
where path_id = $1 and lower(value collate "default") like lower($2 collate "default")
  and number is null and value <> '' limit {DICTIONARY_LIMIT + 1}
"""  # noqa: S608 - composed of constants


def _rows_of(table: str, *, page: int) -> str:
    """Compose the number of rows by the size that a table has now and the density that ANALYZE has seen.

    So an archive that is being filled is not planned for as if it were still empty; `page` is the density before
    the first ANALYZE.
    """
    return f"""(
  select (case when c.relpages > 0 then greatest(c.reltuples, 0) / c.relpages else {page} end
    * pg_relation_size(c.oid) / current_setting('block_size')::int4)::int8
  from pg_class c where c.oid = '{table}'::regclass)"""  # noqa: S608 - composed of constants


# About how many rows there are, and which terms are common: what ANALYZE has seen.
READ_STATISTICS = f"""
select {_rows_of("study", page=8)} as studies, {_rows_of("segment", page=5)} as segments,
  e.most_common_elems::text::int8[] as terms, e.most_common_elem_freqs as shares,
  v.most_common_elems::text::int8[] as marks, v.most_common_elem_freqs as varying,
  {_rows_of("term", page=90)} as dictionary, n.most_common_vals::text::int4[] as paths, n.most_common_freqs as rows
from (select) as one left join pg_stats e
  on e.schemaname = current_schema() and e.tablename = 'segment' and e.attname = 'terms'
left join pg_stats v
  on v.schemaname = current_schema() and v.tablename = 'segment' and v.attname = 'varying'
left join pg_stats n
  on n.schemaname = current_schema() and n.tablename = 'term' and n.attname = 'path_id'
"""  # noqa: S608 - composed of constants

# Finds the names with a word that begins with one spelling of a key's word. A name may come more than once.
FIND_WORDS = f"""
select w.hash from unnest($2::text[], $3::text[]) as b(low, high)
join name_word w on w.path_id = $1 and w.word >= b.low and w.word < b.high limit {2 * DICTIONARY_LIMIT}
"""  # noqa: S608 - composed of constants

_KNOWN_PATHS = 50_000


@dataclass(frozen=True, slots=True)
class TermStatistics:
    """Sizes of the index, and the share of the segments that hold each common term."""

    sizes: Statistics = field(default_factory=Statistics)
    shares: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    rare_share: float = 0.0
    varying: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    """The share of the segments in which an attribute varies, by `step_mark`."""
    values: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    """How many different values the attributes have that have most, by path."""

    def segments(self, term: int, counted: int) -> int:
        """Estimate how many segments hold a term; `counted` is what the dictionary says."""
        share = self.shares.get(term, self.rare_share)
        return max(1, counted, round(share * self.sizes.segments))

    def segments_varying(self, path: str) -> int:
        """Estimate in how many segments an attribute, or the sequence that it is in, varies."""
        return round(self.varying.get(step_mark(path.partition(".")[0]), 0.0) * self.sizes.segments)


@dataclass(frozen=True, slots=True)
class _Path:
    id: int
    vr: str


class TermFinder:
    """Looks keys up in the dictionary, with what it needs to know for that kept in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._secret: bytes | None = None
        self._paths: dict[str, _Path] = {}
        self._statistics = TermStatistics()
        self._statistics_until = -1.0

    async def known_vrs(self, connection: Connection, names: Sequence[str], visibility: Visibility) -> dict[str, str]:
        """Return the VR with which the archive holds each of these paths, where it holds any that may be seen."""
        paths = await self._find_paths(connection, names)
        seen = await visible_paths(connection, (path.id for path in paths.values()), visibility)
        return {name: path.vr for name, path in paths.items() if path.id in seen}

    async def statistics(self, connection: Connection) -> TermStatistics:
        """Return what ANALYZE has seen, at most a minute old."""
        if time.monotonic() >= self._statistics_until:
            self._statistics_until = time.monotonic() + STATISTICS_SECONDS
            self._statistics = _statistics(await connection.fetchrow(READ_STATISTICS))
        return self._statistics

    async def secret(self) -> bytes:
        """Return the secret of the archive that keys terms."""
        if self._secret is None:
            self._secret = await self._database.term_secret()
        return self._secret

    async def find(self, connection: Connection, keys: Sequence[IndexKey]) -> list[Finding] | None:
        """Look all keys up; `None` when there is one that no segment can hold."""
        paths = await self._find_paths(connection, [key.path for key in keys])
        if any(key.path not in paths and key.kind is not Kind.EMPTY for key in keys):
            return None
        findings = [finding for finding in await self._find_known(connection, keys, paths) if finding is not None]
        return findings if len(findings) == len(keys) else None

    async def find_each(self, connection: Connection, keys: Sequence[IndexKey]) -> list[Finding | None]:
        """Look each key up; `None` stands for one that no segment can hold."""
        paths = await self._find_paths(connection, [key.path for key in keys])
        known = [key for key in keys if key.path in paths]
        findings = iter(await self._find_known(connection, known, paths) if known else ())
        return [next(findings) if key.path in paths else None for key in keys]

    async def _find_known(
        self, connection: Connection, keys: Sequence[IndexKey], paths: Mapping[str, _Path]
    ) -> list[Finding | None]:
        secret = await self.secret()
        hashes = [[term_hash(secret, key.path, text) for text in key.texts] for key in keys]
        path_ids = [paths[key.path].id if key.path in paths else 0 for key in keys]
        counted, zones = await self._find_terms(connection, keys, hashes, path_ids)
        statistics = await self.statistics(connection)
        findings: list[Finding | None] = []
        for number, key in enumerate(keys):
            if key.kind in UNTOLD:
                # Nothing is counted of what is not there; most attributes are missing in most segments.
                findings.append(Finding(0, (), True, 0, statistics.sizes.segments, 0))
                continue
            path_id = path_ids[number]
            found = {term: counted[term] for term in hashes[number] if term in counted}
            if key.kind in _FIND_MANY:
                found = await _find_many(connection, path_id, key)
            finding = _finding(key, path_id, found, hashes[number], zones[number], statistics)
            finding = replace(finding, varying=statistics.segments_varying(key.path))
            if key.kind is Kind.BETWEEN and len(found) > DICTIONARY_LIMIT:
                terms = await connection.fetchval(COUNT_BETWEEN, path_id, key.low, key.high)
                finding = finding_of_range(finding, terms, statistics)
            findings.append(None if finding.nothing else finding)
        return findings

    async def _find_paths(self, connection: Connection, names: Sequence[str]) -> dict[str, _Path]:
        """Return the paths that there are; what was seen once is remembered, within bounds, since rows never change.

        A search goes on with what it was given: others learn and forget paths meanwhile.
        """
        known = {name: self._paths[name] for name in names if name in self._paths}
        unknown = [name for name in names if name not in known]
        if unknown:
            known |= {name: _Path(id_, vr) for name, id_, vr in await connection.fetch(FIND_PATHS, unknown)}
            if len(self._paths) > _KNOWN_PATHS:
                self._paths.clear()
            self._paths |= known
        return known

    async def _find_terms(
        self,
        connection: Connection,
        keys: Sequence[IndexKey],
        hashes: Sequence[Sequence[int]],
        path_ids: Sequence[int],
    ) -> tuple[dict[int, int], dict[int, int]]:
        """Return the count of each term that exists, and the number of zones for each key."""
        bounds = (list(column) for column in zip(*map(_cut_bounds, keys), strict=True))
        listed = [term for terms in hashes for term in terms]
        rows = await connection.fetch(FIND_TERMS, listed, list(range(len(keys))), list(path_ids), *bounds)
        counted = {term: segments for key, term, segments in rows if key is None}
        return counted, {key: segments for key, _, segments in rows if key is not None}


def _cut_bounds(key: IndexKey) -> tuple[float | None, float | None, str | None, str | None]:
    low, high, low_text, high_text = key_bounds(key)
    # Zones keep prefixes of long texts, so a long text has to be found by its prefix.
    return low, high, None if low_text is None else low_text[:TEXT_LIMIT], high_text


_FIND_MANY: Mapping[Kind, str] = {
    Kind.LIKE: FIND_LIKE,
    Kind.BETWEEN: FIND_BETWEEN,
    Kind.TEXT_RANGE: FIND_TEXTS,
    Kind.LIKE_ANY_CASE: FIND_LIKE_ANY_CASE,
    Kind.FUZZY: FIND_WORDS,
}


async def _find_many(connection: Connection, path_id: int, key: IndexKey) -> dict[int, int]:
    match key.kind:
        case Kind.BETWEEN:
            rows = await connection.fetch(_FIND_MANY[key.kind], path_id, key.low, key.high)
        case Kind.TEXT_RANGE:
            rows = await connection.fetch(_FIND_MANY[key.kind], path_id, *key.texts)
        case Kind.FUZZY:
            names = await connection.fetch(_FIND_MANY[key.kind], path_id, *word_bounds(key))
            # How common a name is ANALYZE knows; fetching their counters would cost more than it is worth.
            return dict.fromkeys((row["hash"] for row in names), 0)
        case _:
            rows = await connection.fetch(_FIND_MANY[key.kind], path_id, key.pattern)
    return dict(rows)


def _finding(
    key: IndexKey,
    path_id: int,
    found: Mapping[int, int],
    hashes: Sequence[int],
    zones: int,
    statistics: TermStatistics,
) -> Finding:
    segments = [statistics.segments(term, counted) for term, counted in found.items()]
    if key.kind is Kind.EQUALS:
        complete = len(found) == len(set(hashes))
        # The hashes stay even when they are not in the dictionary: zones may hold the values.
        return Finding(path_id, tuple(hashes), True, len(found) if complete else 0, min(segments, default=0), zones)
    estimate = sum(segments)
    if len(found) > DICTIONARY_LIMIT:
        # Cut off: the rest is unknown and may be anything.
        estimate = max(estimate, statistics.sizes.segments)
    return Finding(path_id, tuple(found), len(found) <= LIST_LIMIT, len(found), estimate, zones)


def finding_of_range(finding: Finding, terms: int, statistics: TermStatistics) -> Finding:
    """Estimate a long range of numbers by its share of all values that the attribute has.

    An attribute that often varies has several values in a segment, so that the share says too little.
    """
    values = statistics.values.get(finding.path_id)
    if terms >= RANGE_LIMIT or values is None or finding.varying > statistics.sizes.segments * _SELDOM:
        return finding
    segments = round(statistics.sizes.segments * min(1.0, terms / values))
    return replace(finding, terms=terms, segments=max(1, segments))


def _statistics(row: Mapping[str, Any]) -> TermStatistics:
    sizes = Statistics(max(1, row["studies"] or 1), max(1, row["segments"] or 1))
    # Behind the shares of the terms stand their minimum, maximum and that of NULL.
    shares = dict(zip(row["terms"] or (), row["shares"] or (), strict=False))
    varying = dict(zip(row["marks"] or (), row["varying"] or (), strict=False))
    rare_share = min(shares.values(), default=0.0) / 2
    rows = zip(row["paths"] or (), row["rows"] or (), strict=False)
    values = {path: max(1, round(share * (row["dictionary"] or 0))) for path, share in rows}
    return TermStatistics(
        sizes, MappingProxyType(shares), rare_share, MappingProxyType(varying), MappingProxyType(values)
    )
