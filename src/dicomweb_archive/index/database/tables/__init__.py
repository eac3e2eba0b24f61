"""Table definitions: what the index keeps in PostgreSQL; `migrations/` is their history.

A test compares these definitions with a migrated database, so they are also the reference of the schema. The
names of constraints are the ones that PostgreSQL gives by itself.
"""

from dicomweb_archive.index.database.tables.archive import (
    api_key,
    archive_state,
    collection,
    event,
    job,
    space,
    tombstone,
    webhook,
)
from dicomweb_archive.index.database.tables.columns import metadata
from dicomweb_archive.index.database.tables.quarantine import (
    check_run,
    conflict,
    edit,
    edit_instance,
    finding,
    manifest,
    manifest_instance,
    submission,
    submission_note,
    submission_space,
    value_approval,
)
from dicomweb_archive.index.database.tables.segments import (
    path_set,
    segment,
    segment_data,
    segment_moved,
    segment_paths,
)
from dicomweb_archive.index.database.tables.studies import instance, pack, retired_pack, series, series_metadata, study
from dicomweb_archive.index.database.tables.terms import FOLDED_VALUE, name_word, path, purged_term, term, zone

__all__ = [
    "FOLDED_VALUE",
    "api_key",
    "archive_state",
    "check_run",
    "collection",
    "conflict",
    "edit",
    "edit_instance",
    "event",
    "finding",
    "instance",
    "job",
    "manifest",
    "manifest_instance",
    "metadata",
    "name_word",
    "pack",
    "path",
    "path_set",
    "purged_term",
    "retired_pack",
    "segment",
    "segment_data",
    "segment_moved",
    "segment_paths",
    "series",
    "series_metadata",
    "space",
    "study",
    "submission",
    "submission_note",
    "submission_space",
    "term",
    "tombstone",
    "value_approval",
    "webhook",
    "zone",
]
