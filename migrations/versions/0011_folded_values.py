"""Values with other letters than those of ASCII, without case and accents: free text finds them there.

Values of ASCII are found by the index that stands, so that the new one is small in most archives.
"""

from alembic import op

from dicomweb_archive.index.database.tables import FOLDED_VALUE

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the index; stores of new values wait meanwhile, about a second for a hundred thousand such values."""
    op.execute(f"""
    create index term_folded_trigram_idx
    on term using gin (({FOLDED_VALUE.format("value")}) gin_trgm_ops) with (gin_pending_list_limit = 2048)
    where number is null and octet_length(value) <> length(value)
    """)
