"""Events get their places in a chain, and in the change feed, once they are committed.

Those that are there already are sealed by the first sealer, a thousand at a time.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what sealing writes; columns without a default touch no row."""
    op.execute("""
    alter table event add collection_id integer, add position bigint, add feed_position bigint, add hash bytea
    """)
    op.execute("create index event_unsealed_idx on event (id) where position is null")
    op.execute("create unique index event_position_idx on event (position) where position is not null")
    op.execute("create unique index event_feed_idx on event (feed_position) where feed_position is not null")
