"""Columns and settings that tables share, and the metadata that knows all tables."""

from sqlalchemy import DDL, BigInteger, Column, DateTime, Identity, Integer, MetaData, Table, Text, text
from sqlalchemy import event as schema_event
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    }
)

# Byte order of the "C" collation lets a plain B-tree serve LIKE 'X%' and costs less to compare.
TEXT: TypeEngine[str] = Text(collation="C")

# Rows whose counters change with every store keep room for a new version on the same page (HOT update).
UPDATED_IN_PLACE = {"fillfactor": 85}

# Bulk inserts stall while a pending list is merged, so it is kept short (spike: 0.4 s at the default).
GIN = {"gin_pending_list_limit": 2048}

# The planner of searches lives from fresh statistics of these two.
ANALYSED_EARLY = {"autovacuum_analyze_scale_factor": 0.02}


def identity(kind: type[BigInteger] | type[Integer] = BigInteger) -> Column[int]:
    """Make the column `id`, numbered by the database."""
    return Column("id", kind, Identity(always=False), primary_key=True)


def required_text(name: str) -> Column[str]:
    """Make a column for what is searched for and never left out."""
    return Column(name, TEXT, nullable=False)


def text_or_empty(name: str) -> Column[str]:
    """Make a column for what is searched for and empty where there is none."""
    return Column(name, TEXT, nullable=False, server_default="")


def words(name: str) -> Column[str]:
    """Make a column for what people write, which nobody searches by prefix."""
    return Column(name, Text, nullable=False, server_default="")


def count(name: str, kind: type[BigInteger] | type[Integer] = Integer) -> Column[int]:
    """Make a column that counts from zero on."""
    return Column(name, kind, nullable=False, server_default=text("0"))


def now(name: str) -> Column[object]:
    """Make a column for the moment at which its row is written."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"))


def then(table: Table, statement: str) -> None:
    """Follow the creation of the table with a setting that a Column cannot express."""
    schema_event.listen(table, "after_create", DDL(statement))  # type: ignore[no-untyped-call]
