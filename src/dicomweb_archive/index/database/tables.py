"""Table definitions: what the index keeps in PostgreSQL; `migrations/` is their history.

A test compares these definitions with a migrated database, so they are also the reference of the schema. The
names of constraints are the ones that PostgreSQL gives by itself.
"""

from sqlalchemy import (
    ARRAY,
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    and_,
    func,
    literal,
    text,
)
from sqlalchemy import (
    event as schema_event,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from dicomweb_archive.dicom.free_text import FOLDED_FROM, FOLDED_TO

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    }
)

# Byte order of the "C" collation lets a plain B-tree serve LIKE 'X%' and costs less to compare.
_TEXT: TypeEngine[str] = Text(collation="C")

# Rows whose counters change with every store keep room for a new version on the same page (HOT update).
_UPDATED_IN_PLACE = {"fillfactor": 85}

# Bulk inserts stall while a pending list is merged, so it is kept short (spike: 0.4 s at the default).
_GIN = {"gin_pending_list_limit": 2048}

# The planner of searches lives from fresh statistics of these two.
_ANALYSED_EARLY = {"autovacuum_analyze_scale_factor": 0.02}


def _identity(kind: type[BigInteger] | type[Integer] = BigInteger) -> Column[int]:
    return Column("id", kind, Identity(always=False), primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, _TEXT, nullable=False)


def _text_or_empty(name: str) -> Column[str]:
    return Column(name, _TEXT, nullable=False, server_default="")


def _words(name: str) -> Column[str]:
    """Make a column for what people write, which nobody searches by prefix."""
    return Column(name, Text, nullable=False, server_default="")


def _count(name: str, kind: type[BigInteger] | type[Integer] = Integer) -> Column[int]:
    return Column(name, kind, nullable=False, server_default=text("0"))


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"))


def _then(table: Table, statement: str) -> None:
    """Follow the creation of the table with a setting that a Column cannot express."""
    schema_event.listen(table, "after_create", DDL(statement))  # type: ignore[no-untyped-call]


archive_state = Table(
    "archive_state",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

space = Table(
    "space",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _text("name"),
    UniqueConstraint("name"),
)

collection = Table(
    "collection",
    metadata,
    _identity(Integer),
    _text("accession"),
    Column("title", Text, nullable=False),
    _words("description"),
    _words("contact"),
    # An SPDX expression.
    _words("licence"),
    Column("access", Text, CheckConstraint("access in ('open', 'restricted')"), nullable=False, server_default="open"),
    Column(
        "policy",
        Text,
        CheckConstraint("policy in ('automatic', 'curated')"),
        nullable=False,
        server_default="automatic",
    ),
    Column("check_set", Text, nullable=False, server_default="structural"),
    # What is accepted: SOP classes, transfer syntaxes, sites.
    Column("rules", JSONB, nullable=False, server_default="{}"),
    Column("revision", BigInteger, nullable=False, server_default=text("1")),
    _now("created_at"),
    _now("changed_at"),
    # Its row stays when it is closed, so that its accession is never given again.
    Column("closed_at", DateTime(timezone=True)),
    UniqueConstraint("accession"),
)

# Spaces of submissions have the numbers of this sequence; those below are ours.
submission_space = Sequence("submission_space", start=1001, data_type=Integer, metadata=metadata)

submission = Table(
    "submission",
    metadata,
    _identity(),
    # What its URL ends with; nobody can guess it.
    _text("name"),
    Column("space_id", Integer, ForeignKey("space.id"), nullable=False),
    Column("collection_id", Integer, ForeignKey("collection.id"), nullable=False),
    Column("state", Text, nullable=False),
    _words("title"),
    _words("contact"),
    _words("site"),
    Column("opened_by", Text, nullable=False),
    # The day, of one that was opened by a store which named none.
    Column("opened_for", Date),
    Column("revision", BigInteger, nullable=False, server_default=text("1")),
    _now("created_at"),
    _now("changed_at"),
    UniqueConstraint("name"),
    UniqueConstraint("space_id"),
)
Index("submission_state_idx", submission.c.state, submission.c.changed_at)
Index("submission_collection_idx", submission.c.collection_id, submission.c.state)
# Stores that name no submission share one a day.
Index(
    "submission_of_day_idx",
    submission.c.collection_id,
    submission.c.opened_by,
    submission.c.opened_for,
    unique=True,
    postgresql_where=and_(submission.c.opened_for.is_not(None), submission.c.state == literal("open")),
)

# What people have written, apart from the events, which are exported.
submission_note = Table(
    "submission_note",
    metadata,
    Column("event_id", BigInteger, primary_key=True, autoincrement=False),
    Column("submission_id", BigInteger, ForeignKey("submission.id"), nullable=False),
    Column("text", Text, nullable=False),
)
Index("submission_note_submission_id_idx", submission_note.c.submission_id)

# One run of a set of checks over a space.
check_run = Table(
    "check_run",
    metadata,
    _identity(),
    Column("space_id", Integer, ForeignKey("space.id"), nullable=False),
    Column("check_set", Text, nullable=False),
    Column("set_version", Integer, nullable=False),
    Column("read_files", Boolean, nullable=False),
    Column("actor", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    _now("finished_at"),
    Column("series", Integer, nullable=False),
    Column("instances", Integer, nullable=False),
)
Index("check_run_space_id_idx", check_run.c.space_id, check_run.c.id)

# What a check has to say; its UIDs may be of instances that are gone.
finding = Table(
    "finding",
    metadata,
    _identity(),
    Column("space_id", Integer, ForeignKey("space.id"), nullable=False),
    # NULL: found while storing.
    Column("run_id", BigInteger, ForeignKey("check_run.id")),
    Column("check_name", Text, nullable=False),
    Column("check_version", Integer, nullable=False),
    Column("severity", Text, CheckConstraint("severity in ('block', 'warn', 'info')"), nullable=False),
    Column("message", Text, nullable=False),
    Column("level", Text, nullable=False),
    _text_or_empty("study_instance_uid"),
    _text_or_empty("series_instance_uid"),
    _text_or_empty("sop_instance_uid"),
    _text_or_empty("path"),
    Column("instances", Integer, nullable=False),
    _now("found_at"),
    Column("waived_by", Text),
    Column("waived_at", DateTime(timezone=True)),
    _words("waiver_reason"),
)
Index("finding_space_id_idx", finding.c.space_id, finding.c.check_name)

api_key = Table(
    "api_key",
    metadata,
    _identity(Integer),
    # What stands in the key itself, in lists and in the cookies of its sessions; no secret.
    _text("public_id"),
    # Of what is derived from the secret; neither can be found from it.
    Column("digest", LargeBinary, nullable=False),
    # Who holds it; keys with one name are one principal.
    Column("name", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    # Ids; NULL: the roles count in all collections.
    Column("collections", ARRAY(Integer)),
    _now("created_at"),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    # To some minutes.
    Column("last_used_at", DateTime(timezone=True)),
    UniqueConstraint("public_id"),
)

webhook = Table(
    "webhook",
    metadata,
    _identity(),
    _text("public_id"),
    Column("url", Text, nullable=False),
    # What its messages are signed with, so it has to be kept as it is.
    Column("secret", LargeBinary, nullable=False),
    # Ids; NULL: changes of all collections.
    Column("collections", ARRAY(Integer)),
    Column("state", Text, CheckConstraint("state in ('active', 'dead')"), nullable=False, server_default="active"),
    # Places in the change feed: up to the one everything was delivered, and up to the other the last message goes.
    Column("position", BigInteger, nullable=False),
    Column("sending_to", BigInteger),
    _count("failures"),
    Column("problem", Text),
    _now("next_attempt_at"),
    Column("delivered_at", DateTime(timezone=True)),
    Column("created_by", Text, nullable=False),
    _now("created_at"),
    UniqueConstraint("public_id"),
)

study = Table(
    "study",
    metadata,
    _identity(),
    Column("space_id", Integer, ForeignKey("space.id"), nullable=False),
    Column("collection_id", Integer, ForeignKey("collection.id"), nullable=False),
    Column("embargo_until", Date),
    _text("study_instance_uid"),
    _text_or_empty("patient_id"),
    _text_or_empty("patient_name"),
    # -1 instead of NULL: every order stays total and a keyset comparison needs no special case.
    Column("study_date", Double, nullable=False, server_default=text("'-1'::integer")),
    Column("study_time", Double, nullable=False, server_default=text("'-1'::integer")),
    _text_or_empty("accession_number"),
    _text_or_empty("study_id"),
    _text_or_empty("referring_physician_name"),
    # Words of the names for fuzzy matching, each behind a blank.
    _text_or_empty("patient_name_words"),
    _text_or_empty("referring_physician_name_words"),
    Column("modalities", ARRAY(Text), nullable=False, server_default="{}"),
    Column("sop_classes", ARRAY(Text), nullable=False, server_default="{}"),
    _count("series_count"),
    _count("instance_count"),
    _count("size_bytes", BigInteger),
    Column("attributes", LargeBinary, nullable=False),
    Column("facts", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, server_default=text("1")),
    _now("created_at"),
    _now("changed_at"),
    UniqueConstraint("space_id", "study_instance_uid"),
    postgresql_with=_UPDATED_IN_PLACE,
)
# They have what tells who may see a study, so that counts and deep pages leave its wide row alone.
Index(
    "study_newest_idx",
    study.c.study_date.desc(),
    study.c.id.desc(),
    postgresql_include=["space_id", "collection_id", "embargo_until"],
)
Index(
    "study_collection_newest_idx",
    study.c.collection_id,
    study.c.study_date.desc(),
    study.c.id.desc(),
    postgresql_include=["space_id", "embargo_until"],
)
Index("study_patient_id_idx", study.c.patient_id)
Index("study_accession_number_idx", study.c.accession_number)
Index("study_patient_name_idx", study.c.patient_name)
# Ascending orders have missing values last; the constants are those of search/sql/keyset.py.
Index("study_patient_name_ascending_idx", text("coalesce(nullif(patient_name, ''), '\U0010ffff')"), study.c.id)
Index(
    "study_date_ascending_idx",
    text("coalesce(nullif(study_date, '-1'::float8), 'Infinity'::float8)"),
    study.c.id,
)
Index(
    "study_patient_name_trigram_idx",
    study.c.patient_name,
    postgresql_using="gin",
    postgresql_ops={"patient_name": "gin_trgm_ops"},
    postgresql_with=_GIN,
)
Index(
    "study_patient_name_words_idx",
    study.c.patient_name_words,
    postgresql_using="gin",
    postgresql_ops={"patient_name_words": "gin_trgm_ops"},
    postgresql_with=_GIN,
)
Index(
    "study_referring_name_trigram_idx",
    study.c.referring_physician_name,
    postgresql_using="gin",
    postgresql_ops={"referring_physician_name": "gin_trgm_ops"},
    postgresql_with=_GIN,
)
Index(
    "study_referring_name_words_idx",
    study.c.referring_physician_name_words,
    postgresql_using="gin",
    postgresql_ops={"referring_physician_name_words": "gin_trgm_ops"},
    postgresql_with=_GIN,
)
Index("study_modalities_idx", study.c.modalities, postgresql_using="gin", postgresql_with=_GIN)

series = Table(
    "series",
    metadata,
    _identity(),
    Column("study_id", BigInteger, ForeignKey("study.id", ondelete="CASCADE"), nullable=False),
    _text("series_instance_uid"),
    _text_or_empty("modality"),
    Column("series_number", Integer),
    _count("instance_count"),
    _count("size_bytes", BigInteger),
    Column("attributes", LargeBinary, nullable=False),
    Column("facts", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, server_default=text("1")),
    _now("created_at"),
    _now("changed_at"),
    UniqueConstraint("study_id", "series_instance_uid"),
    postgresql_with=_UPDATED_IN_PLACE,
)
Index("series_series_instance_uid_idx", series.c.series_instance_uid)

pack = Table(
    "pack",
    metadata,
    _identity(),
    _text("object_key"),
    Column("size_bytes", BigInteger, nullable=False),
    _now("created_at"),
    # When something in it died last; compaction looks at such a pack again.
    Column("thinned_at", DateTime(timezone=True)),
    UniqueConstraint("object_key"),
)
Index("pack_thinned_idx", pack.c.thinned_at, postgresql_where=pack.c.thinned_at.is_not(None))

# Packs whose instances lie in others now. Their objects go after a while, for those who are still reading them.
retired_pack = Table(
    "retired_pack",
    metadata,
    Column("object_key", _TEXT, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    _text("study_instance_uid"),
    _now("retired_at"),
    # Empty: of a pack that was retired before this was noted, or that held nothing.
    _text_or_empty("series_instance_uid"),
)
Index("retired_pack_retired_at_idx", retired_pack.c.retired_at)

# Instances that came under a UID that was taken by other bytes. Their packs hold nothing else that lives, or instances
# that were stored by the same request.
conflict = Table(
    "conflict",
    metadata,
    _identity(),
    Column("submission_id", BigInteger, ForeignKey("submission.id"), nullable=False),
    _text("study_instance_uid"),
    _text("series_instance_uid"),
    _text("sop_instance_uid"),
    _text("sop_class_uid"),
    _text("transfer_syntax_uid"),
    # A foreign key here, because a delete may be about to drop the pack. NULL: the bytes have gone.
    Column("pack_id", BigInteger, ForeignKey("pack.id")),
    Column("byte_offset", BigInteger, nullable=False),
    Column("byte_length", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("received_by", Text, nullable=False),
    _now("received_at"),
    # Of one that has replaced what stood, the place and the digest are those of what stood before.
    Column("decision", Text, CheckConstraint("decision in ('keep', 'replace', 'reject')")),
    Column("decided_by", Text),
    Column("decided_at", DateTime(timezone=True)),
    _words("reason"),
    UniqueConstraint("submission_id", "sop_instance_uid", "digest"),
)
Index("conflict_pack_id_idx", conflict.c.pack_id)

# What the submitter has announced; NULL: nothing of that.
manifest = Table(
    "manifest",
    metadata,
    Column("submission_id", BigInteger, ForeignKey("submission.id"), primary_key=True, autoincrement=False),
    Column("studies", Integer),
    Column("series", Integer),
    Column("instances", Integer),
    Column("size_bytes", BigInteger),
    Column("set_by", Text, nullable=False),
    _now("set_at"),
)

manifest_instance = Table(
    "manifest_instance",
    metadata,
    Column("submission_id", BigInteger, ForeignKey("manifest.submission_id", ondelete="CASCADE"), primary_key=True),
    Column("sop_instance_uid", _TEXT, primary_key=True),
    Column("digest", LargeBinary),
)

# Corrections of what waits in a submission.
edit = Table(
    "edit",
    metadata,
    _identity(),
    Column("submission_id", BigInteger, ForeignKey("submission.id"), nullable=False),
    Column("undoes", BigInteger, ForeignKey("edit.id")),
    Column("rules", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, CheckConstraint("state in ('applying', 'applied', 'stopped')"), nullable=False),
    Column("actor", Text, nullable=False),
    # How many instances it has changed, and how many it was meant for and has left as they are.
    _count("instances"),
    _count("unfit"),
    _now("created_at"),
    # When it changed an instance last: what checks have found before that is out of date.
    Column("changed_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
)
Index("edit_submission_id_idx", edit.c.submission_id, edit.c.id)

# What an edit has done to each instance. Old values are here and nowhere else: for curators, and to undo it.
edit_instance = Table(
    "edit_instance",
    metadata,
    Column("edit_id", BigInteger, ForeignKey("edit.id", ondelete="CASCADE"), primary_key=True),
    Column("sop_instance_uid", _TEXT, primary_key=True),
    _text("study_instance_uid"),
    _text("series_instance_uid"),
    Column("digest_before", LargeBinary, nullable=False),
    Column("digest_after", LargeBinary),
    # Why it was left as it is.
    _words("problem"),
    Column("changes", JSONB, nullable=False),
    # The elements that were edited, as they were.
    Column("elements", LargeBinary),
)
Index("edit_instance_study_instance_uid_idx", edit_instance.c.study_instance_uid)

segment = Table(
    "segment",
    metadata,
    _identity(),
    Column("study_id", BigInteger, ForeignKey("study.id", ondelete="CASCADE"), nullable=False),
    Column("series_id", BigInteger, ForeignKey("series.id", ondelete="CASCADE"), nullable=False),
    Column("instance_count", Integer, nullable=False),
    Column("study_facts", BigInteger, nullable=False),
    Column("series_facts", BigInteger, nullable=False),
    Column("terms", ARRAY(BigInteger), nullable=False),
    # Which attributes vary within it (`terms.step_mark`), so that a search need not open `segment_data` to see that
    # none of its keys does. NULL in segments that were written before there was this column: then it opens them.
    Column("varying", ARRAY(Integer)),
    postgresql_with=_ANALYSED_EARLY,
)
Index("segment_study_id_idx", segment.c.study_id)
Index("segment_series_id_idx", segment.c.series_id)
Index("segment_terms_idx", segment.c.terms, postgresql_using="gin", postgresql_with=_GIN)
# What merging looks for (`merging.SMALL_INSTANCES`); it answers without the table.
Index("segment_small_idx", segment.c.series_id, segment.c.id, postgresql_where=segment.c.instance_count <= text("128"))
# The share of segments that hold a common value decides between the two search shapes.
_then(segment, "ALTER TABLE segment ALTER terms SET STATISTICS 1000")
# Its instances go with it; see their table.
_then(
    segment,
    """
    CREATE OR REPLACE FUNCTION delete_instances_of_segment() RETURNS trigger LANGUAGE plpgsql AS $$
    begin
      delete from instance where segment_id = old.id;
      return null;
    end $$
    """,
)
_then(
    segment,
    """
    CREATE TRIGGER segment_takes_instances AFTER DELETE ON segment
    FOR EACH ROW EXECUTE FUNCTION delete_instances_of_segment()
    """,
)

segment_data = Table(
    "segment_data",
    metadata,
    Column("segment_id", BigInteger, ForeignKey("segment.id", ondelete="CASCADE"), primary_key=True),
    Column("common", JSONB, nullable=False),
    Column("columns", JSONB, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("locations", LargeBinary, nullable=False),
    # Long sequences, in the form for re-checks: apart, so that the others stay cheap to read.
    Column("large", JSONB),
)
# Both are compressed by us already; a second attempt by TOAST only costs time.
for _name in ("document", "locations"):
    _then(segment_data, f"ALTER TABLE segment_data ALTER {_name} SET STORAGE EXTERNAL")

# Where the positions of merged segments went, for requests that have found them before.
segment_moved = Table(
    "segment_moved",
    metadata,
    Column("segment_id", BigInteger, primary_key=True, autoincrement=False),
    Column("new_segment_id", BigInteger, nullable=False),
    Column("shift", Integer, nullable=False),
    _now("moved_at"),
)
Index("segment_moved_new_segment_id_idx", segment_moved.c.new_segment_id)

path = Table(
    "path",
    metadata,
    _identity(Integer),
    _text("path"),
    Column("vr", Text, nullable=False),
    UniqueConstraint("path"),
)

term = Table(
    "term",
    metadata,
    Column("hash", BigInteger, primary_key=True, autoincrement=False),
    Column("path_id", Integer, nullable=False),
    _text("value"),
    Column("number", Double),
    _count("segment_count"),
    postgresql_with=_UPDATED_IN_PLACE | _ANALYSED_EARLY,
)
Index("term_path_value_idx", term.c.path_id, term.c.value)
Index("term_path_number_idx", term.c.path_id, term.c.number, postgresql_where=term.c.number.is_not(None))
Index(
    "term_value_trigram_idx",
    term.c.value,
    postgresql_using="gin",
    postgresql_ops={"value": "gin_trgm_ops"},
    postgresql_where=term.c.number.is_(None),
    postgresql_with=_GIN,
)

FOLDED_VALUE = f"translate({{}}, '{FOLDED_FROM}', '{FOLDED_TO}')"
"""A text as `dicom.free_text.folded` gives it, in SQL."""

# For free text. Of ASCII folding changes only the case, of which trigrams know nothing: they are in the index above.
Index(
    "term_folded_trigram_idx",
    func.translate(term.c.value, literal(FOLDED_FROM), literal(FOLDED_TO)).label("folded"),
    postgresql_using="gin",
    postgresql_ops={"folded": "gin_trgm_ops"},
    postgresql_where=and_(term.c.number.is_(None), func.octet_length(term.c.value) != func.length(term.c.value)),
    postgresql_with=_GIN,
)

name_word = Table(
    "name_word",
    metadata,
    Column("hash", BigInteger, nullable=False, autoincrement=False),
    _text("word"),
    Column("path_id", Integer, nullable=False),
    PrimaryKeyConstraint("hash", "word"),
)
Index("name_word_path_word_idx", name_word.c.path_id, name_word.c.word, postgresql_include=["hash"])

zone = Table(
    "zone",
    metadata,
    Column("segment_id", BigInteger, ForeignKey("segment.id", ondelete="CASCADE")),
    Column("path_id", Integer),
    Column("low", Double),
    Column("high", Double),
    Column("low_text", _TEXT),
    Column("high_text", _TEXT),
    # All values are `low` and whole multiples of this; NULL: nothing is known of that.
    Column("spacing", Double),
    PrimaryKeyConstraint("segment_id", "path_id"),
)
# Numbers are looked through by the index alone; texts are long, and few zones have any.
Index("zone_path_bounds_idx", zone.c.path_id, zone.c.low, zone.c.high, postgresql_include=["spacing", "segment_id"])
Index("zone_texts_idx", zone.c.path_id, postgresql_where=zone.c.low_text.is_not(None))

# Values of what was purged, until it is known that nothing else has them.
purged_term = Table(
    "purged_term",
    metadata,
    Column("hash", BigInteger, primary_key=True, autoincrement=False),
    _now("marked_at"),
    Column("dropped_at", DateTime(timezone=True)),
)

# A set of paths that many segments have: ids of `path`, negative where the attribute varies within the segment.
path_set = Table(
    "path_set",
    metadata,
    Column("hash", BigInteger, primary_key=True, autoincrement=False),
    Column("path_ids", ARRAY(Integer), nullable=False),
)

# Which set a segment has, found out after it was stored; narrow, for every row is read to count series.
segment_paths = Table(
    "segment_paths",
    metadata,
    Column("segment_id", BigInteger, ForeignKey("segment.id", ondelete="CASCADE"), primary_key=True),
    Column("study_id", BigInteger, nullable=False),
    Column("series_id", BigInteger, nullable=False),
    Column("path_set", BigInteger, nullable=False),
)
Index("segment_paths_study_id_idx", segment_paths.c.study_id)

instance = Table(
    "instance",
    metadata,
    # No foreign key: the segment is written by the statement of its instances and takes them along by a trigger.
    # Checking it once more for each instance took a fifth of the server's time for a segment of 200.
    Column("segment_id", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("space_id", Integer, nullable=False),
    _text("sop_instance_uid"),
    # No foreign key: a pack is written by the transaction of its instances and goes when it has none. Checking
    # it once more for each instance took a third of the time of writing a segment.
    Column("pack_id", BigInteger, nullable=False),
    Column("byte_offset", BigInteger, nullable=False),
    Column("byte_length", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    PrimaryKeyConstraint("segment_id", "position"),
    UniqueConstraint("space_id", "sop_instance_uid"),
)
Index("instance_pack_id_idx", instance.c.pack_id)

event = Table(
    "event",
    metadata,
    _identity(),
    Column("kind", Text, nullable=False),
    _now("at"),
    Column("actor", Text, nullable=False),
    Column("space_id", Integer, nullable=False),
    Column("study_instance_uid", Text),
    Column("detail", JSONB, nullable=False),
    # The home of what it is about; the sealer finds it where the event does not say.
    Column("collection_id", Integer),
    # Both without gaps: among all sealed events, and among those of the change feed.
    Column("position", BigInteger),
    Column("feed_position", BigInteger),
    # SHA-256 over the one before it and this event (`index/events/chain.py`).
    Column("hash", LargeBinary),
)
Index("event_unsealed_idx", event.c.id, postgresql_where=event.c.position.is_(None))
Index("event_position_idx", event.c.position, unique=True, postgresql_where=event.c.position.is_not(None))
Index("event_feed_idx", event.c.feed_position, unique=True, postgresql_where=event.c.feed_position.is_not(None))

# The trail of a submission; events of the archive's own space stay out, so that a store does not pay for it.
Index("event_of_submission_idx", event.c.space_id, event.c.id, postgresql_where=event.c.space_id > text("1000"))

tombstone = Table(
    "tombstone",
    metadata,
    Column("space_id", Integer, nullable=False),
    Column("level", Text, nullable=False),
    Column("study_instance_uid", Text, nullable=False),
    Column("series_instance_uid", Text, nullable=False, server_default=""),
    Column("sop_instance_uid", Text, nullable=False, server_default=""),
    _now("deleted_at"),
    Column("event_id", BigInteger),
    # Why it was withdrawn; whoever asks for it is told.
    Column("reason", Text, nullable=False, server_default=""),
    # The home of what has gone; NULL: of old ones, of which only those are told who see all collections.
    Column("collection_id", Integer),
    PrimaryKeyConstraint("space_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid"),
)

# What runs later. `due_at` is from when on somebody may take it: of a waiting job its time, of a running one the end of
# its lease.
job = Table(
    "job",
    metadata,
    _identity(),
    Column("kind", Text, nullable=False),
    # Of the unfinished jobs of a kind only one has it.
    Column("key", Text),
    Column(
        "state",
        Text,
        CheckConstraint("state in ('waiting', 'running', 'succeeded', 'failed', 'cancelled')"),
        nullable=False,
        server_default="waiting",
    ),
    Column("collection_id", Integer, ForeignKey("collection.id")),
    # The path of the resource that it is about.
    _words("subject"),
    Column("arguments", JSONB, nullable=False, server_default="{}"),
    Column("checkpoint", JSONB),
    _count("done", BigInteger),
    Column("total", BigInteger),
    Column("result", JSONB),
    Column("problem", Text),
    _count("attempt"),
    _now("due_at"),
    Column("lease", Text),
    Column("cancel_asked", Boolean, nullable=False, server_default=text("false")),
    Column("actor", Text, nullable=False),
    _now("created_at"),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    postgresql_with=_UPDATED_IN_PLACE,
)
Index("job_due_idx", job.c.due_at, postgresql_where=job.c.state.in_([literal("waiting"), literal("running")]))
Index(
    "job_key_idx",
    job.c.kind,
    job.c.key,
    unique=True,
    postgresql_where=and_(job.c.key.is_not(None), job.c.state.in_([literal("waiting"), literal("running")])),
)
Index("job_finished_idx", job.c.finished_at)

series_metadata = Table(
    "series_metadata",
    metadata,
    Column("series_id", BigInteger, ForeignKey("series.id", ondelete="CASCADE"), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    # The bytes hold URLs of bulk values, so they are good for one root only.
    _text("service_root"),
    Column("gzip", LargeBinary, nullable=False),
)
_then(series_metadata, "ALTER TABLE series_metadata ALTER gzip SET STORAGE EXTERNAL")
