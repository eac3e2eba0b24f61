"""Instances go with their segment by a trigger on the segment, no longer by a foreign key.

The key was checked again for each instance of a store, though the segment is written by the same statement: a fifth
of what the server did for a segment of 200.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the key away and make the trigger; neither reads a row."""
    op.execute("alter table instance drop constraint instance_segment_id_fkey")
    op.execute("""
    create function delete_instances_of_segment() returns trigger language plpgsql as $$
    begin
      delete from instance where segment_id = old.id;
      return null;
    end $$
    """)
    op.execute("""
    create trigger segment_takes_instances after delete on segment
    for each row execute function delete_instances_of_segment()
    """)
