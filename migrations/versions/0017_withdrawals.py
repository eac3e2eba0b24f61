"""Tombstones say why something went, where that is to be known."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen the table of tombstones; the default is no rewrite of it."""
    op.execute("alter table tombstone add reason text not null default ''")
