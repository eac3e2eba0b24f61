"""A tombstone knows the embargo of what has gone: until it ends, nobody is told that it was here."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give tombstones the column; of those that are there nothing was under embargo, which nothing has set so far."""
    op.execute("alter table tombstone add embargo_until date")
