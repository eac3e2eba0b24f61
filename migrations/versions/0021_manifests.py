"""What a submitter has announced is rows, so that it is compared with what has come."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of manifests and of the instances that they name."""
    op.execute("""
    create table manifest (
      submission_id int8 primary key references submission (id),
      studies int4,
      series int4,
      instances int4,
      size_bytes int8,
      set_by text not null,
      set_at timestamptz not null default now()
    )
    """)
    op.execute("""
    create table manifest_instance (
      submission_id int8 references manifest (submission_id) on delete cascade,
      sop_instance_uid text collate "C",
      digest bytea,
      primary key (submission_id, sop_instance_uid)
    )
    """)
