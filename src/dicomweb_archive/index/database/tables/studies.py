"""Studies, series and instances, and the packs in which these lie."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from dicomweb_archive.index.database.tables.columns import (
    GIN,
    TEXT,
    UPDATED_IN_PLACE,
    count,
    identity,
    metadata,
    now,
    required_text,
    text_or_empty,
    then,
)

study = Table(
    "study",
    metadata,
    identity(),
    Column("space_id", Integer, ForeignKey("space.id"), nullable=False),
    Column("collection_id", Integer, ForeignKey("collection.id"), nullable=False),
    Column("embargo_until", Date),
    required_text("study_instance_uid"),
    text_or_empty("patient_id"),
    text_or_empty("patient_name"),
    # -1 instead of NULL: every order stays total and a keyset comparison needs no special case.
    Column("study_date", Double, nullable=False, server_default=text("'-1'::integer")),
    Column("study_time", Double, nullable=False, server_default=text("'-1'::integer")),
    text_or_empty("accession_number"),
    text_or_empty("study_id"),
    text_or_empty("referring_physician_name"),
    # Words of the names for fuzzy matching, each behind a blank.
    text_or_empty("patient_name_words"),
    text_or_empty("referring_physician_name_words"),
    Column("modalities", ARRAY(Text), nullable=False, server_default="{}"),
    Column("sop_classes", ARRAY(Text), nullable=False, server_default="{}"),
    count("series_count"),
    count("instance_count"),
    count("size_bytes", BigInteger),
    Column("attributes", LargeBinary, nullable=False),
    Column("facts", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, server_default=text("1")),
    now("created_at"),
    now("changed_at"),
    UniqueConstraint("space_id", "study_instance_uid"),
    postgresql_with=UPDATED_IN_PLACE,
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
    postgresql_with=GIN,
)
Index(
    "study_patient_name_words_idx",
    study.c.patient_name_words,
    postgresql_using="gin",
    postgresql_ops={"patient_name_words": "gin_trgm_ops"},
    postgresql_with=GIN,
)
Index(
    "study_referring_name_trigram_idx",
    study.c.referring_physician_name,
    postgresql_using="gin",
    postgresql_ops={"referring_physician_name": "gin_trgm_ops"},
    postgresql_with=GIN,
)
Index(
    "study_referring_name_words_idx",
    study.c.referring_physician_name_words,
    postgresql_using="gin",
    postgresql_ops={"referring_physician_name_words": "gin_trgm_ops"},
    postgresql_with=GIN,
)
Index("study_modalities_idx", study.c.modalities, postgresql_using="gin", postgresql_with=GIN)

series = Table(
    "series",
    metadata,
    identity(),
    Column("study_id", BigInteger, ForeignKey("study.id", ondelete="CASCADE"), nullable=False),
    required_text("series_instance_uid"),
    text_or_empty("modality"),
    Column("series_number", Integer),
    count("instance_count"),
    count("size_bytes", BigInteger),
    Column("attributes", LargeBinary, nullable=False),
    Column("facts", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, server_default=text("1")),
    now("created_at"),
    now("changed_at"),
    UniqueConstraint("study_id", "series_instance_uid"),
    postgresql_with=UPDATED_IN_PLACE,
)
Index("series_series_instance_uid_idx", series.c.series_instance_uid)

pack = Table(
    "pack",
    metadata,
    identity(),
    required_text("object_key"),
    Column("size_bytes", BigInteger, nullable=False),
    now("created_at"),
    # When something in it died last; compaction looks at such a pack again.
    Column("thinned_at", DateTime(timezone=True)),
    UniqueConstraint("object_key"),
)
Index("pack_thinned_idx", pack.c.thinned_at, postgresql_where=pack.c.thinned_at.is_not(None))

# Packs whose instances lie in others now. Their objects go after a while, for those who are still reading them.
retired_pack = Table(
    "retired_pack",
    metadata,
    Column("object_key", TEXT, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    required_text("study_instance_uid"),
    now("retired_at"),
    # Empty: of a pack that was retired before this was noted, or that held nothing.
    text_or_empty("series_instance_uid"),
)
Index("retired_pack_retired_at_idx", retired_pack.c.retired_at)

instance = Table(
    "instance",
    metadata,
    # No foreign key: the segment is written by the statement of its instances and takes them along by a trigger.
    # Checking it once more for each instance took a fifth of the server's time for a segment of 200.
    Column("segment_id", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("space_id", Integer, nullable=False),
    required_text("sop_instance_uid"),
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

series_metadata = Table(
    "series_metadata",
    metadata,
    Column("series_id", BigInteger, ForeignKey("series.id", ondelete="CASCADE"), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    # The bytes hold URLs of bulk values, so they are good for one root only.
    required_text("service_root"),
    Column("gzip", LargeBinary, nullable=False),
)
then(series_metadata, "ALTER TABLE series_metadata ALTER gzip SET STORAGE EXTERNAL")
