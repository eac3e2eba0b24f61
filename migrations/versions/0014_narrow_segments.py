"""Terms stand beside the rows of segments, so that what only has to be counted is read 24 segments a page, not four.

PostgreSQL moves values out of a row only where the row exceeds 2 KB: a generated column, which compresses to nothing,
sees to that. A second one has a bit for each term: most segments that do not have a term deny it by that.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Write all segments anew, with their indexes: about a minute for fifty thousand, in which stores wait."""
    op.execute("""
    create or replace function terms_signature(terms bigint[]) returns bit(1024) language sql immutable parallel safe
    return (select coalesce(bit_or(set_bit(0::bit(1024), (term & 1023)::int, 1)), 0::bit(1024)) from unnest(terms) term)
    """)
    op.execute("alter table segment set (toast_tuple_target = 128)")
    op.execute("alter table segment alter terms set storage external, alter varying set storage main")
    op.execute("""
    alter table segment
    add column signature bit(1024) generated always as (terms_signature(terms)) stored,
    add column weight text generated always as (repeat(' '::text, 2000)) stored,
    alter signature set storage plain, alter weight set storage main
    """)
