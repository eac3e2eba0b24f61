"""Segments: instances of one series indexed together."""

from sqlalchemy import ARRAY, BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, Table, text
from sqlalchemy.dialects.postgresql import JSONB

from dicomweb_archive.index.database.tables.columns import ANALYSED_EARLY, GIN, identity, metadata, now, then

segment = Table(
    "segment",
    metadata,
    identity(),
    Column("study_id", BigInteger, ForeignKey("study.id", ondelete="CASCADE"), nullable=False),
    Column("series_id", BigInteger, ForeignKey("series.id", ondelete="CASCADE"), nullable=False),
    Column("instance_count", Integer, nullable=False),
    Column("study_facts", BigInteger, nullable=False),
    Column("series_facts", BigInteger, nullable=False),
    Column("terms", ARRAY(BigInteger), nullable=False),
    # Which attributes vary within it (`terms.step_mark`), so that a search need not open `segment_data` to see that
    # none of its keys does. NULL in segments that were written before there was this column: then it opens them.
    Column("varying", ARRAY(Integer)),
    postgresql_with=ANALYSED_EARLY,
)
Index("segment_study_id_idx", segment.c.study_id)
Index("segment_series_id_idx", segment.c.series_id)
Index("segment_terms_idx", segment.c.terms, postgresql_using="gin", postgresql_with=GIN)
# What merging looks for (`merging.SMALL_INSTANCES`); it answers without the table.
Index("segment_small_idx", segment.c.series_id, segment.c.id, postgresql_where=segment.c.instance_count <= text("128"))
# The share of segments that hold a common value decides between the two search shapes.
then(segment, "ALTER TABLE segment ALTER terms SET STATISTICS 1000")
# Its instances go with it; see their table.
then(
    segment,
    """
    CREATE OR REPLACE FUNCTION delete_instances_of_segment() RETURNS trigger LANGUAGE plpgsql AS $$
    begin
      delete from instance where segment_id = old.id;
      return null;
    end $$
    """,
)
then(
    segment,
    """
    CREATE TRIGGER segment_takes_instances AFTER DELETE ON segment
    FOR EACH ROW EXECUTE FUNCTION delete_instances_of_segment()
    """,
)

segment_data = Table(
    "segment_data",
    metadata,
    Column("segment_id", BigInteger, ForeignKey("segment.id", ondelete="CASCADE"), primary_key=True),
    Column("common", JSONB, nullable=False),
    Column("columns", JSONB, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("locations", LargeBinary, nullable=False),
    # Long sequences, in the form for re-checks: apart, so that the others stay cheap to read.
    Column("large", JSONB),
)
# Both are compressed by us already; a second attempt by TOAST only costs time.
for _name in ("document", "locations"):
    then(segment_data, f"ALTER TABLE segment_data ALTER {_name} SET STORAGE EXTERNAL")

# Where the positions of merged segments went, for requests that have found them before.
segment_moved = Table(
    "segment_moved",
    metadata,
    Column("segment_id", BigInteger, primary_key=True, autoincrement=False),
    Column("new_segment_id", BigInteger, nullable=False),
    Column("shift", Integer, nullable=False),
    now("moved_at"),
)
Index("segment_moved_new_segment_id_idx", segment_moved.c.new_segment_id)

# A set of paths that many segments have: ids of `path`, negative where the attribute varies within the segment.
path_set = Table(
    "path_set",
    metadata,
    Column("hash", BigInteger, primary_key=True, autoincrement=False),
    Column("path_ids", ARRAY(Integer), nullable=False),
)

# Which set a segment has, found out after it was stored; narrow, for every row is read to count series.
segment_paths = Table(
    "segment_paths",
    metadata,
    Column("segment_id", BigInteger, ForeignKey("segment.id", ondelete="CASCADE"), primary_key=True),
    Column("study_id", BigInteger, nullable=False),
    Column("series_id", BigInteger, nullable=False),
    Column("path_set", BigInteger, nullable=False),
)
Index("segment_paths_study_id_idx", segment_paths.c.study_id)
