"""Segments list which of their attributes vary, so that a search need not open them to see that none of its keys does.

Segments that stand already have no list: searches open them as before.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; adding one without a default touches no row."""
    op.execute("alter table segment add varying int4[]")
