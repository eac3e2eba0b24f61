"""Tombstones know the collection of what has gone, and retired packs the series that they held."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns without work for the rows, and take homes over from the events of the deletes, as far as they say."""
    op.execute("alter table tombstone add collection_id int4")
    op.execute("""
    update tombstone t set collection_id = e.collection_id from event e
    where e.id = t.event_id and e.collection_id is not null
    """)
    op.execute("alter table retired_pack add series_instance_uid text collate \"C\" not null default ''")
