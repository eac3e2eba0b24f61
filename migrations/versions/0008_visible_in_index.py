"""Orders of studies tell who may see a study, so that counts and deep pages are answered by the index alone.

Rows of studies are wide: counting ten thousand of them read as many pages as their attributes fill.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build both indexes anew; tables of studies are small, so that stores wait for seconds at most."""
    op.execute("drop index study_newest_idx")
    op.execute("""
    create index study_newest_idx
    on study (study_date desc, id desc) include (space_id, collection_id, embargo_until)
    """)
    op.execute("drop index study_collection_newest_idx")
    op.execute("""
    create index study_collection_newest_idx
    on study (collection_id, study_date desc, id desc) include (space_id, embargo_until)
    """)
