"""Long sequences are kept for re-checks too, in a column of their own.

Segments that stand already have none: keys below sequences of more than 64 KB of JSON do not find them until they
are written anew.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; adding one without a default touches no row."""
    op.execute("alter table segment_data add large jsonb")
