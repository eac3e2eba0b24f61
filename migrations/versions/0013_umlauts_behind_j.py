"""Names with an umlaut behind J are found however the umlaut is written: Jörg, Joerg, Jaeger.

Their second spelling began with `ioe` instead of `io`. Spellings are only added: nobody types the old ones.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from dicomweb_archive.dicom.name_words import stored_words

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BATCH = 5000

LIST_STUDIES = """
select id, patient_name, referring_physician_name from study
where id > :last and (patient_name ~ 'j[aou][ea]' or referring_physician_name ~ 'j[aou][ea]') order by id limit :batch
"""
UPDATE_STUDIES = """
update study set patient_name_words = new.patient, referring_physician_name_words = new.physician
from unnest(cast(:ids as int8[]), cast(:patients as text[]), cast(:physicians as text[])) as new(id, patient, physician)
where study.id = new.id
"""
LIST_NAMES = """
select distinct t.hash, t.path_id, t.value from term t join name_word w on w.hash = t.hash
where t.hash > :last and t.value ~ 'j[aou][ea]' order by t.hash limit :batch
"""
INSERT_WORDS = """
insert into name_word (hash, word, path_id)
select * from unnest(cast(:hashes as int8[]), cast(:words as text[]), cast(:path_ids as int4[]))
on conflict do nothing
"""


def upgrade() -> None:
    """Spell such names anew, in batches by key."""
    connection = op.get_bind()
    _spell_studies(connection)
    _spell_names(connection)


def _spell_studies(connection: sa.Connection) -> None:
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


def _spell_names(connection: sa.Connection) -> None:
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
