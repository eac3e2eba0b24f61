"""Words of person names, for fuzzy matching (PS3.18 8.3.4.2).

Everything happens in this migration's one transaction; rows are read and written in batches, by key.
"""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from dicomweb_archive.dicom.name_words import stored_words
from dicomweb_archive.index.segments.terms import term_hash

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BATCH = 5000

STATEMENTS = (
    "alter table study add patient_name_words text collate \"C\" not null default ''",
    "alter table study add referring_physician_name_words text collate \"C\" not null default ''",
    'create table name_word (hash int8 not null, word text collate "C" not null, path_id int4 not null)',
)
INDEXES = (
    """
    create index study_patient_name_words_idx on study using gin (patient_name_words gin_trgm_ops)
      with (gin_pending_list_limit = 2048)
    """,
    "alter table name_word add primary key (hash, word)",
    "create index name_word_path_word_idx on name_word (path_id, word) include (hash)",
)

LIST_STUDIES = """
select id, patient_name, referring_physician_name from study where id > :last order by id limit :batch
"""
UPDATE_STUDIES = """
update study set patient_name_words = new.patient, referring_physician_name_words = new.physician
from unnest(cast(:ids as int8[]), cast(:patients as text[]), cast(:physicians as text[])) as new(id, patient, physician)
where study.id = new.id
"""

# Of paths with many names in a segment only bounds were kept; the names are in the columns for re-checks.
LIST_ZONES = """
select z.segment_id, z.path_id, p.path, d.common, d.columns
from zone z join path p on p.id = z.path_id and p.vr = 'PN' join segment_data d on d.segment_id = z.segment_id
where (z.segment_id, z.path_id) > (:segment_id, :path_id) order by z.segment_id, z.path_id limit 20
"""
INSERT_TERMS = """
insert into term (hash, path_id, value)
select hash, :path_id, value from unnest(cast(:hashes as int8[]), cast(:names as text[])) as new(hash, value)
on conflict (hash) do nothing
"""
KEY_OF_TERMS = "select value from archive_state where name = 'term_secret'"

# Names of patients and referring physicians have their words in the row of the study.
LIST_NAMES = """
select t.hash, t.path_id, t.value from term t join path p on p.id = t.path_id
where p.vr = 'PN' and p.path not in ('00080090', '00100010') and t.hash > :last and t.value <> ''
order by t.hash limit :batch
"""
INSERT_WORDS = """
insert into name_word (hash, word, path_id)
select * from unnest(cast(:hashes as int8[]), cast(:words as text[]), cast(:path_ids as int4[]))
"""


def upgrade() -> None:
    """Create the table and the columns, and fill them from the names that are there."""
    for statement in STATEMENTS:
        op.execute(statement)
    connection = op.get_bind()
    _fill_studies(connection)
    _list_names_of_zones(connection)
    _fill_names(connection)
    for statement in INDEXES:
        op.execute(statement)


def _fill_studies(connection: sa.Connection) -> None:
    last = -1
    while rows := connection.execute(sa.text(LIST_STUDIES), {"last": last, "batch": BATCH}).all():
        last = rows[-1].id
        values: dict[str, list[Any]] = {
            "ids": [row.id for row in rows],
            "patients": [_joined(row.patient_name) for row in rows],
            "physicians": [_joined(row.referring_physician_name) for row in rows],
        }
        connection.execute(sa.text(UPDATE_STUDIES), values)


def _joined(name: str) -> str:
    return "".join(f" {word}" for word in stored_words(name))


def _list_names_of_zones(connection: sa.Connection) -> None:
    secret = bytes(connection.execute(sa.text(KEY_OF_TERMS)).scalar_one())
    last = {"segment_id": -1, "path_id": -1}
    while rows := connection.execute(sa.text(LIST_ZONES), last).all():
        last = {"segment_id": rows[-1].segment_id, "path_id": rows[-1].path_id}
        for row in rows:
            names = {*_names_at(row.path, "", row.common)}
            for step, values in row.columns.items():
                names.update(*(_names_at(row.path, "", {step: one}) for one in values if one is not None))
            listed = sorted(names)
            hashes = [term_hash(secret, row.path, name) for name in listed]
            connection.execute(sa.text(INSERT_TERMS), {"path_id": row.path_id, "hashes": hashes, "names": listed})


def _names_at(path: str, above: str, members: dict[str, list[Any]]) -> Iterator[str]:
    """Walk the form for re-checks, values by step with objects for items, down to one path."""
    for step, values in members.items():
        if above + step == path:
            yield from (value for value in values if isinstance(value, str))
        elif path.startswith(f"{above}{step}."):
            for item in values:
                if isinstance(item, dict):
                    yield from _names_at(path, f"{above}{step}.", item)


def _fill_names(connection: sa.Connection) -> None:
    last = -(2**63)
    while rows := connection.execute(sa.text(LIST_NAMES), {"last": last, "batch": BATCH}).all():
        last = rows[-1].hash
        words = [(row.hash, word, row.path_id) for row in rows for word in stored_words(row.value)]
        values: dict[str, list[Any]] = {
            "hashes": [word[0] for word in words],
            "words": [word[1] for word in words],
            "path_ids": [word[2] for word in words],
        }
        connection.execute(sa.text(INSERT_WORDS), values)
