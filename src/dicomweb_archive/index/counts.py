"""Counts and votes: what study and series rows say about the instances below them.

A row's attributes are those of most of its instances, of equals the oldest (architecture section 3). Segments
carry the hash of theirs, so a vote is one grouping over the segments, needed only when hashes differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dicomweb_archive.index.engine import Connection
from dicomweb_archive.index.level_rows import (
    SERIES_ROW_TAGS,
    STUDY_ROW_TAGS,
    facts_of,
    level_attributes,
    series_columns,
    study_columns,
)
from dicomweb_archive.index.segment_document import decode_document

# Adds what a store brought to a study. Everything is computed from the row itself, so that waiting for another
# store's update of it loses nothing.
ADD_TO_STUDY = """
update study set series_count = series_count + $2, instance_count = instance_count + $3,
  size_bytes = size_bytes + $4,
  modalities = array(select distinct m from unnest(modalities || $5::text[]) m where m <> '' order by m),
  sop_classes = array(select distinct c from unnest(sop_classes || $6::text[]) c where c <> '' order by c),
  revision = revision + 1, changed_at = now()
where id = $1 returning facts
"""

# Adds what a store brought to the series of one study; the study's row is locked already.
ADD_TO_SERIES = """
update series s set instance_count = s.instance_count + new.instances, size_bytes = s.size_bytes + new.size_bytes,
  revision = s.revision + 1, changed_at = now()
from unnest($1::int8[], $2::int4[], $3::int8[]) as new(id, instances, size_bytes)
where s.id = new.id returning s.id, s.facts
"""

# Elects what a study's row says.
VOTE_STUDY = """
select study_facts as facts, min(id) as segment_id from segment where study_id = $1
group by study_facts order by sum(instance_count) desc, min(id) limit 1
"""

# Elects what a series' row says.
VOTE_SERIES = """
select series_facts as facts, min(id) as segment_id from segment where series_id = $1
group by series_facts order by sum(instance_count) desc, min(id) limit 1
"""

# Reads the document in which the elected attributes stand.
FIND_DOCUMENT = """
select d.document, s.instance_count from segment s join segment_data d on d.segment_id = s.id where s.id = $1
"""

# Writes an elected study.
UPDATE_STUDY_FACTS = """
update study set attributes = $2, facts = $3, patient_id = $4, patient_name = $5, study_date = $6,
  study_time = $7, accession_number = $8, study_id = $9, referring_physician_name = $10
where id = $1
"""

# Writes an elected series.
UPDATE_SERIES_FACTS = """
update series set attributes = $2, facts = $3, modality = $4, series_number = $5 where id = $1
"""

# Lists the modalities of a study anew, when that of a series has changed or a series has gone.
UPDATE_MODALITIES = """
update study set modalities =
  array(select distinct modality from series where study_id = $1 and modality <> '' order by modality)
where id = $1
"""


@dataclass(frozen=True, slots=True)
class Added:
    """What one store brings to one series; `facts` are the hashes of its new segments."""

    study_id: int
    series_id: int
    is_new_series: bool
    instances: int
    size_bytes: int
    modality: str
    sop_classes: frozenset[str]
    study_facts: frozenset[int]
    series_facts: frozenset[int]


async def add_counts(connection: Connection, added: Sequence[Added]) -> None:
    """Add to counters and lists, and vote where a row says otherwise than what was stored.

    The last thing of a store, because it locks the rows that all stores of a study share; in the order of
    study ids, a study before its series, so that no two stores wait for each other in a circle.
    """
    for study_id in sorted({entry.study_id for entry in added}):
        await _add_to_study(connection, study_id, [entry for entry in added if entry.study_id == study_id])


async def _add_to_study(connection: Connection, study_id: int, added: Sequence[Added]) -> None:
    facts = await connection.fetchval(
        ADD_TO_STUDY,
        study_id,
        sum(entry.is_new_series for entry in added),
        sum(entry.instances for entry in added),
        sum(entry.size_bytes for entry in added),
        [entry.modality for entry in added if entry.is_new_series],
        sorted(frozenset().union(*(entry.sop_classes for entry in added))),
    )
    series_facts = dict(
        await connection.fetch(
            ADD_TO_SERIES,
            [entry.series_id for entry in added],
            [entry.instances for entry in added],
            [entry.size_bytes for entry in added],
        )
    )
    if any(entry.study_facts != {facts} for entry in added):
        await vote_on_study(connection, study_id, facts)
    changed = False
    for entry in added:
        if entry.series_facts != {series_facts[entry.series_id]}:
            changed |= await vote_on_series(connection, entry.series_id, series_facts[entry.series_id])
    if changed:
        await connection.execute(UPDATE_MODALITIES, study_id)


async def vote_on_study(connection: Connection, study_id: int, facts: int) -> bool:
    """Make the study's row say what most instances say; returns whether it changed. The row is locked."""
    elected = await connection.fetchrow(VOTE_STUDY, study_id)
    if elected is None or elected["facts"] == facts:
        return False
    attributes = await _elected_attributes(connection, elected["segment_id"], elected["facts"], STUDY_ROW_TAGS)
    columns = study_columns(attributes)
    await connection.execute(
        UPDATE_STUDY_FACTS,
        study_id,
        attributes,
        elected["facts"],
        columns.patient_id,
        columns.patient_name,
        columns.study_date,
        columns.study_time,
        columns.accession_number,
        columns.study_id,
        columns.referring_physician_name,
    )
    return True


async def vote_on_series(connection: Connection, series_id: int, facts: int) -> bool:
    """Make the series' row say what most instances say; returns whether it changed. Its study is locked."""
    elected = await connection.fetchrow(VOTE_SERIES, series_id)
    if elected is None or elected["facts"] == facts:
        return False
    attributes = await _elected_attributes(connection, elected["segment_id"], elected["facts"], SERIES_ROW_TAGS)
    columns = series_columns(attributes)
    await connection.execute(
        UPDATE_SERIES_FACTS, series_id, attributes, elected["facts"], columns.modality, columns.series_number
    )
    return True


async def _elected_attributes(connection: Connection, segment_id: int, facts: int, tags: frozenset[int]) -> bytes:
    """Read the attributes with this hash from a segment, most of whose instances have them."""
    document, instance_count = await connection.fetchrow(FIND_DOCUMENT, segment_id)
    lines = decode_document(document)
    found = b"{}"
    for position in range(instance_count):
        found = level_attributes(lines.element_texts(position, tags), tags)
        if facts_of(found) == facts:
            break
    return found
