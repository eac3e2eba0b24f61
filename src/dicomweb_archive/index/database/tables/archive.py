"""What concerns the archive as a whole: spaces and collections, keys, webhooks, events, tombstones, jobs."""

from sqlalchemy import (
    ARRAY,
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
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    and_,
    literal,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from dicomweb_archive.index.database.tables.columns import (
    UPDATED_IN_PLACE,
    count,
    identity,
    metadata,
    now,
    required_text,
    words,
)

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
    required_text("name"),
    UniqueConstraint("name"),
)

collection = Table(
    "collection",
    metadata,
    identity(Integer),
    required_text("accession"),
    Column("title", Text, nullable=False),
    words("description"),
    words("contact"),
    # An SPDX expression.
    words("licence"),
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
    now("created_at"),
    now("changed_at"),
    # Its row stays when it is closed, so that its accession is never given again.
    Column("closed_at", DateTime(timezone=True)),
    UniqueConstraint("accession"),
)

api_key = Table(
    "api_key",
    metadata,
    identity(Integer),
    # What stands in the key itself, in lists and in the cookies of its sessions; no secret.
    required_text("public_id"),
    # Of what is derived from the secret; neither can be found from it.
    Column("digest", LargeBinary, nullable=False),
    # Who holds it; keys with one name are one principal.
    Column("name", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    # Ids; NULL: the roles count in all collections.
    Column("collections", ARRAY(Integer)),
    now("created_at"),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    # To some minutes.
    Column("last_used_at", DateTime(timezone=True)),
    UniqueConstraint("public_id"),
)

webhook = Table(
    "webhook",
    metadata,
    identity(),
    required_text("public_id"),
    Column("url", Text, nullable=False),
    # What its messages are signed with, so it has to be kept as it is.
    Column("secret", LargeBinary, nullable=False),
    # Ids; NULL: changes of all collections.
    Column("collections", ARRAY(Integer)),
    Column("state", Text, CheckConstraint("state in ('active', 'dead')"), nullable=False, server_default="active"),
    # Places in the change feed: up to the one everything was delivered, and up to the other the last message goes.
    Column("position", BigInteger, nullable=False),
    Column("sending_to", BigInteger),
    count("failures"),
    Column("problem", Text),
    now("next_attempt_at"),
    Column("delivered_at", DateTime(timezone=True)),
    Column("created_by", Text, nullable=False),
    now("created_at"),
    UniqueConstraint("public_id"),
)

event = Table(
    "event",
    metadata,
    identity(),
    Column("kind", Text, nullable=False),
    now("at"),
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
    now("deleted_at"),
    Column("event_id", BigInteger),
    # Why it was withdrawn; whoever asks for it is told.
    Column("reason", Text, nullable=False, server_default=""),
    # The home of what has gone; NULL: of old ones, of which only those are told who see all collections.
    Column("collection_id", Integer),
    # Until when the study was under embargo: until then it stays unknown that it was here.
    Column("embargo_until", Date),
    PrimaryKeyConstraint("space_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid"),
)

# What runs later. `due_at` is from when on somebody may take it: of a waiting job its time, of a running one the end of
# its lease.
job = Table(
    "job",
    metadata,
    identity(),
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
    words("subject"),
    Column("arguments", JSONB, nullable=False, server_default="{}"),
    Column("checkpoint", JSONB),
    count("done", BigInteger),
    Column("total", BigInteger),
    Column("result", JSONB),
    Column("problem", Text),
    count("attempt"),
    now("due_at"),
    Column("lease", Text),
    Column("cancel_asked", Boolean, nullable=False, server_default=text("false")),
    Column("actor", Text, nullable=False),
    now("created_at"),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    postgresql_with=UPDATED_IN_PLACE,
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
