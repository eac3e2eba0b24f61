"""Values of what was purged are known as such, until the dictionary has lost those that nothing else has."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.execute("""
    create table purged_term (
      hash int8 primary key,
      marked_at timestamptz not null default now(),
      dropped_at timestamptz
    )
    """)
