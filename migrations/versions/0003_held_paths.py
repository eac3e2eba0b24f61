"""Which paths a segment has: sets of them, and the set of each segment, filled in when they are first asked for."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = (
    "create table path_set (hash int8 primary key, path_ids int4[] not null)",
    """
    create table segment_paths (
      segment_id int8 primary key references segment on delete cascade,
      study_id int8 not null,
      series_id int8 not null,
      path_set int8 not null
    )
    """,
    "create index segment_paths_study_id_idx on segment_paths (study_id)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
