"""The dictionary of searches: paths, distinct values, words of names, and bounds of what varies."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    and_,
    func,
    literal,
)

from dicomweb_archive.dicom.free_text import FOLDED_FROM, FOLDED_TO
from dicomweb_archive.index.database.tables.columns import (
    ANALYSED_EARLY,
    GIN,
    TEXT,
    UPDATED_IN_PLACE,
    count,
    identity,
    metadata,
    now,
    required_text,
)

path = Table(
    "path",
    metadata,
    identity(Integer),
    required_text("path"),
    Column("vr", Text, nullable=False),
    UniqueConstraint("path"),
)

term = Table(
    "term",
    metadata,
    Column("hash", BigInteger, primary_key=True, autoincrement=False),
    Column("path_id", Integer, nullable=False),
    required_text("value"),
    Column("number", Double),
    count("segment_count"),
    postgresql_with=UPDATED_IN_PLACE | ANALYSED_EARLY,
)
Index("term_path_value_idx", term.c.path_id, term.c.value)
Index("term_path_number_idx", term.c.path_id, term.c.number, postgresql_where=term.c.number.is_not(None))
Index(
    "term_value_trigram_idx",
    term.c.value,
    postgresql_using="gin",
    postgresql_ops={"value": "gin_trgm_ops"},
    postgresql_where=term.c.number.is_(None),
    postgresql_with=GIN,
)

FOLDED_VALUE = f"translate({{}}, '{FOLDED_FROM}', '{FOLDED_TO}')"
"""A text as `dicom.free_text.folded` gives it, in SQL."""

# For free text. Of ASCII folding changes only the case, of which trigrams know nothing: they are in the index above.
Index(
    "term_folded_trigram_idx",
    func.translate(term.c.value, literal(FOLDED_FROM), literal(FOLDED_TO)).label("folded"),
    postgresql_using="gin",
    postgresql_ops={"folded": "gin_trgm_ops"},
    postgresql_where=and_(term.c.number.is_(None), func.octet_length(term.c.value) != func.length(term.c.value)),
    postgresql_with=GIN,
)

name_word = Table(
    "name_word",
    metadata,
    Column("hash", BigInteger, nullable=False, autoincrement=False),
    required_text("word"),
    Column("path_id", Integer, nullable=False),
    PrimaryKeyConstraint("hash", "word"),
)
Index("name_word_path_word_idx", name_word.c.path_id, name_word.c.word, postgresql_include=["hash"])

zone = Table(
    "zone",
    metadata,
    Column("segment_id", BigInteger, ForeignKey("segment.id", ondelete="CASCADE")),
    Column("path_id", Integer),
    Column("low", Double),
    Column("high", Double),
    Column("low_text", TEXT),
    Column("high_text", TEXT),
    # All values are `low` and whole multiples of this; NULL: nothing is known of that.
    Column("spacing", Double),
    PrimaryKeyConstraint("segment_id", "path_id"),
)
# Numbers are looked through by the index alone; texts are long, and few zones have any.
Index("zone_path_bounds_idx", zone.c.path_id, zone.c.low, zone.c.high, postgresql_include=["spacing", "segment_id"])
Index("zone_texts_idx", zone.c.path_id, postgresql_where=zone.c.low_text.is_not(None))

# Values of what was purged, until it is known that nothing else has them.
purged_term = Table(
    "purged_term",
    metadata,
    Column("hash", BigInteger, primary_key=True, autoincrement=False),
    now("marked_at"),
    Column("dropped_at", DateTime(timezone=True)),
)
