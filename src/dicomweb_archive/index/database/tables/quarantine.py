"""Submissions and what is said of them: notes, findings, conflicts, manifests, edits, approvals."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    and_,
    literal,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from dicomweb_archive.index.database.tables.columns import (
    TEXT,
    count,
    identity,
    metadata,
    now,
    required_text,
    text_or_empty,
    words,
)

# Spaces of submissions have the numbers of this sequence; those below are ours.
submission_space = Sequence("submission_space", start=1001, data_type=Integer, metadata=metadata)

submission = Table(
    "submission",
    metadata,
    identity(),
    # What its URL ends with; nobody can guess it.
    required_text("name"),
    Column("space_id", Integer, ForeignKey("space.id"), nullable=False),
    Column("collection_id", Integer, ForeignKey("collection.id"), nullable=False),
    Column("state", Text, nullable=False),
    words("title"),
    words("contact"),
    words("site"),
    Column("opened_by", Text, nullable=False),
    # The day, of one that was opened by a store which named none.
    Column("opened_for", Date),
    Column("revision", BigInteger, nullable=False, server_default=text("1")),
    now("created_at"),
    now("changed_at"),
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
    identity(),
    Column("space_id", Integer, ForeignKey("space.id"), nullable=False),
    Column("check_set", Text, nullable=False),
    Column("set_version", Integer, nullable=False),
    Column("read_files", Boolean, nullable=False),
    Column("actor", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    now("finished_at"),
    Column("series", Integer, nullable=False),
    Column("instances", Integer, nullable=False),
)
Index("check_run_space_id_idx", check_run.c.space_id, check_run.c.id)

# What a check has to say; its UIDs may be of instances that are gone.
finding = Table(
    "finding",
    metadata,
    identity(),
    Column("space_id", Integer, ForeignKey("space.id"), nullable=False),
    # NULL: found while storing.
    Column("run_id", BigInteger, ForeignKey("check_run.id")),
    Column("check_name", Text, nullable=False),
    Column("check_version", Integer, nullable=False),
    Column("severity", Text, CheckConstraint("severity in ('block', 'warn', 'info')"), nullable=False),
    Column("message", Text, nullable=False),
    Column("level", Text, nullable=False),
    text_or_empty("study_instance_uid"),
    text_or_empty("series_instance_uid"),
    text_or_empty("sop_instance_uid"),
    text_or_empty("path"),
    Column("instances", Integer, nullable=False),
    now("found_at"),
    Column("waived_by", Text),
    Column("waived_at", DateTime(timezone=True)),
    words("waiver_reason"),
)
Index("finding_space_id_idx", finding.c.space_id, finding.c.check_name)

# Instances that came under a UID that was taken by other bytes. Their packs hold nothing else that lives, or instances
# that were stored by the same request.
conflict = Table(
    "conflict",
    metadata,
    identity(),
    Column("submission_id", BigInteger, ForeignKey("submission.id"), nullable=False),
    required_text("study_instance_uid"),
    required_text("series_instance_uid"),
    required_text("sop_instance_uid"),
    required_text("sop_class_uid"),
    required_text("transfer_syntax_uid"),
    # A foreign key here, because a delete may be about to drop the pack. NULL: the bytes have gone.
    Column("pack_id", BigInteger, ForeignKey("pack.id")),
    Column("byte_offset", BigInteger, nullable=False),
    Column("byte_length", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("received_by", Text, nullable=False),
    now("received_at"),
    # Of one that has replaced what stood, the place and the digest are those of what stood before.
    Column("decision", Text, CheckConstraint("decision in ('keep', 'replace', 'reject')")),
    Column("decided_by", Text),
    Column("decided_at", DateTime(timezone=True)),
    words("reason"),
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
    now("set_at"),
)

manifest_instance = Table(
    "manifest_instance",
    metadata,
    Column("submission_id", BigInteger, ForeignKey("manifest.submission_id", ondelete="CASCADE"), primary_key=True),
    Column("sop_instance_uid", TEXT, primary_key=True),
    Column("digest", LargeBinary),
)

# Corrections of what waits in a submission.
edit = Table(
    "edit",
    metadata,
    identity(),
    Column("submission_id", BigInteger, ForeignKey("submission.id"), nullable=False),
    Column("undoes", BigInteger, ForeignKey("edit.id")),
    Column("rules", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, CheckConstraint("state in ('applying', 'applied', 'stopped')"), nullable=False),
    Column("actor", Text, nullable=False),
    # How many instances it has changed, and how many it was meant for and has left as they are.
    count("instances"),
    count("unfit"),
    now("created_at"),
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
    Column("sop_instance_uid", TEXT, primary_key=True),
    required_text("study_instance_uid"),
    required_text("series_instance_uid"),
    Column("digest_before", LargeBinary, nullable=False),
    Column("digest_after", LargeBinary),
    # Why it was left as it is.
    words("problem"),
    Column("changes", JSONB, nullable=False),
    # The elements that were edited, as they were.
    Column("elements", LargeBinary),
)
Index("edit_instance_study_instance_uid_idx", edit_instance.c.study_instance_uid)

# Values of its inventory that a curator of a submission has found right: 16 bytes of a keyed digest each.
value_approval = Table(
    "value_approval",
    metadata,
    identity(),
    Column("submission_id", BigInteger, ForeignKey("submission.id"), nullable=False),
    required_text("path"),
    Column("digests", LargeBinary, nullable=False),
    Column("approved_by", Text, nullable=False),
    now("approved_at"),
)
Index("value_approval_submission_id_idx", value_approval.c.submission_id, value_approval.c.path)
