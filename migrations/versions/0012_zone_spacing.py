"""Zones tell whether their numbers follow each other at a fixed distance, so that single positions can be excluded.

Zones that stand already say nothing of it: searches open their segments as before.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and let the index answer without the table; stores wait while it is built."""
    op.execute("alter table zone add spacing float8")
    op.execute("drop index zone_path_bounds_idx")
    op.execute("create index zone_path_bounds_idx on zone (path_id, low, high) include (spacing, segment_id)")
    op.execute("create index zone_texts_idx on zone (path_id) where low_text is not null")
