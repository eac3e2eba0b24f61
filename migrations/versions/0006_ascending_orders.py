"""Studies in ascending order of name or date, those without one last: what people sort by most.

Descending orders are read backwards from indexes that stand, because a missing value is the lowest one there.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the two indexes; tables of studies are small, so that stores wait for seconds at most."""
    op.execute("""
    create index study_patient_name_ascending_idx
    on study (coalesce(nullif(patient_name, ''), '\U0010ffff'), id)
    """)
    op.execute("""
    create index study_date_ascending_idx
    on study (coalesce(nullif(study_date, '-1'::float8), 'Infinity'::float8), id)
    """)
