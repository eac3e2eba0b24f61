"""Conflicts are decided: the row says how and by whom, and stays when the bytes that it led to have gone."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns that touch no row, and let a conflict be without a pack."""
    op.execute("""
    alter table conflict
      add decision text constraint conflict_decision_check check (decision in ('keep', 'replace', 'reject')),
      add decided_by text,
      add decided_at timestamptz,
      add reason text not null default '',
      alter pack_id drop not null
    """)
