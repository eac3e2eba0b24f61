"""Merging: an index of small segments, where the positions of merged ones went, cheaper instance rows."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    "create index segment_small_idx on segment (series_id, id) where instance_count <= 128",
    """
    create table segment_moved (
      segment_id int8 primary key,
      new_segment_id int8 not null,
      shift int4 not null,
      moved_at timestamptz not null default now()
    )
    """,
    "create index segment_moved_new_segment_id_idx on segment_moved (new_segment_id)",
    "alter table instance drop constraint instance_pack_id_fkey",
)


def upgrade() -> None:
    """Merging finds its work by the index; the foreign key cost a third of writing a segment."""
    for statement in STATEMENTS:
        op.execute(statement)
