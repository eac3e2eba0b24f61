"""Words of person names in the index: rows of `name_word` for terms, one text for the columns of a study."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from dicomweb_archive.dicom.name_words import stored_words
from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.segments.terms import TermRow

COLUMN_PATHS = frozenset({"00080090", "00100010"})
"""Paths that searches answer from columns of the study row; their words stand there and not in `name_word`."""

# Adds words seen for the first time, in one order for everybody (see `index/dictionary.py`).
INSERT_NAME_WORDS = """
with lazily as (
  select set_config('synchronous_commit', case when $4 then 'off' else current_setting('synchronous_commit') end, true)
)
insert into name_word (hash, word, path_id)
select new.hash, new.word, new.path_id
from lazily, unnest($1::int8[], $2::text[], $3::int4[]) as new(hash, word, path_id)
order by new.hash, new.word
on conflict (hash, word) do nothing
"""


class NameWord(NamedTuple):
    """One spelling of one word of the name that a term stands for."""

    hash: int
    word: str
    path: str


def name_words(rows: Iterable[TermRow], vrs: Mapping[str, str]) -> list[NameWord]:
    """Return the words of those rows of the dictionary that are person names."""
    return [
        NameWord(row.hash, word, row.path)
        for row in rows
        if vrs.get(row.path) == "PN" and row.path not in COLUMN_PATHS
        for word in stored_words(row.text)
    ]


async def insert_name_words(
    connection: Connection, words: Sequence[NameWord], path_ids: Mapping[str, int], *, lazily: bool
) -> None:
    """Write the words that are missing; a word without a term, or of a term without a segment, does no harm."""
    await connection.execute(
        INSERT_NAME_WORDS,
        [word.hash for word in words],
        [word.word for word in words],
        [path_ids[word.path] for word in words],
        lazily,
    )


def words_text(name: str) -> str:
    """Write the words of a name for a column, each behind a blank, so that LIKE finds where one begins."""
    return "".join(f" {word}" for word in stored_words(name))


def beginning_pattern(spelling: str) -> str:
    """Return the LIKE pattern that finds a word by its beginning in `words_text`; spellings hold no wild cards."""
    return f"% {spelling}%"
