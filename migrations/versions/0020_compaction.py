"""Packs that have lost instances are known as such, and retired ones until their objects are deleted."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column without a default, which touches no row, and a table."""
    op.execute("alter table pack add thinned_at timestamptz")
    op.execute("create index pack_thinned_idx on pack (thinned_at) where thinned_at is not null")
    op.execute("""
    create table retired_pack (
      object_key text collate "C" primary key,
      size_bytes bigint not null,
      study_instance_uid text collate "C" not null,
      retired_at timestamptz not null default now()
    )
    """)
    op.execute("create index retired_pack_retired_at_idx on retired_pack (retired_at)")
