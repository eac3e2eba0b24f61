"""Tables under the names that statements give them.

Each is made once: an alias copies all columns of its table, which would cost more than the rest of a statement.
Subqueries beside each other may use the same one.
"""

from typing import Final

from dicomweb_archive.index.database import tables

STUDY: Final = tables.study.alias("t")
SERIES: Final = tables.series.alias("s")
SEGMENT: Final = tables.segment.alias("p")
DATA: Final = tables.segment_data.alias("d")
INSTANCE: Final = tables.instance.alias("i")

HELD: Final = tables.segment.alias("held")
"""Segments that terms are looked up in."""
TERM: Final = tables.term.alias("m")
WORD: Final = tables.name_word.alias("w")
ZONE: Final = tables.zone.alias("z")

ROW_OF_INSTANCE: Final = tables.instance.alias("o")
ITS_SEGMENT: Final = tables.segment.alias("q")
LAST_SERIES: Final = tables.series.alias("l")
SORTED_DATA: Final = tables.segment_data.alias("v")

PAGE_STUDY: Final = tables.study.alias("r")
PAGE_SERIES: Final = tables.series.alias("q")

FILTER_STUDY: Final = tables.study.alias("ft")
FILTER_SERIES: Final = tables.series.alias("fs")
FILTER_INSTANCE: Final = tables.instance.alias("fi")
FILTER_DATA: Final = tables.segment_data.alias("fd")

NAMED_STUDY: Final = tables.study.alias("nt")
NAMED_SERIES: Final = tables.series.alias("ns")
NAMED_INSTANCE: Final = tables.instance.alias("ni")
"""Rows that a condition of a filter names by UID or identifier."""
