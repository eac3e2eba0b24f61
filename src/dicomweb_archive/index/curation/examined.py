"""Examined content: what checks look at in a space, series by series, from the documents of the index."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from dicomweb_archive.checks.content import Column, SeriesPart, StoredFile
from dicomweb_archive.checks.submissions import Related, Relation, SplitSeries
from dicomweb_archive.dicom.instance import Element
from dicomweb_archive.index.access import ARCHIVE_SPACE, Visibility, visible
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.segments.document import Document, decode_document
from dicomweb_archive.index.segments.locations import decode_locations
from dicomweb_archive.index.segments.restored import element_from_json

_SERIES_AT_ONCE = 500
_FILES_AT_ONCE = 200
_ROWS_AT_ONCE = 1000

# The series of a space, those of one study behind each other.
LIST_SERIES = f"""
select st.id as study_id, se.id, st.study_instance_uid, se.series_instance_uid
from study st join series se on se.study_id = st.id
where {visible("st")} and (st.id, se.id) > ($4, $5) order by st.id, se.id limit $6
"""  # noqa: S608 - composed of constants

# What a series holds: a cursor over it sees one state, whatever is merged meanwhile.
READ_SEGMENTS = """
select sg.instance_count, d.document, d.locations
from segment sg join segment_data d on d.segment_id = sg.id where sg.series_id = $1 order by sg.id
"""

# The files of a space in the order of UIDs, which is one that stands still.
LIST_FILES = f"""
select st.study_instance_uid, se.series_instance_uid, i.sop_instance_uid, p.object_key, i.byte_offset, i.byte_length
from instance i
join segment sg on sg.id = i.segment_id
join series se on se.id = sg.series_id
join study st on st.id = sg.study_id
join pack p on p.id = i.pack_id
where {visible("st")} and i.space_id = any($1) and i.sop_instance_uid > $4
order by i.sop_instance_uid limit $5
"""  # noqa: S608 - composed of constants

# Where one file lies now.
FIND_FILE = """
select p.object_key, i.byte_offset, i.byte_length from instance i join pack p on p.id = i.pack_id
where i.space_id = $1 and i.sop_instance_uid = $2
"""

# What of the archive a submission is compared with: its own collection and open ones. That others have a UID is not
# for everybody who reads findings; publishing finds out.
_COMPARABLE = """
{study}.space_id = {archive} and ({study}.collection_id = st.collection_id
  or exists (select from collection c where c.id = {study}.collection_id and c.access = 'open'))
"""

# Instances whose UID the archive has, at the same place or another, with the same bytes or others; and those that were
# kept apart when they came, because their UID was taken, and on which nobody has decided.
LIST_RELATED = f"""
select st.study_instance_uid, se.series_instance_uid, i.sop_instance_uid,
  case when (ose.series_instance_uid, ost.study_instance_uid) <> (se.series_instance_uid, st.study_instance_uid)
    then 'other_place' when o.digest = i.digest then 'same' else 'other_bytes' end as relation
from study st
join segment sg on sg.study_id = st.id
join series se on se.id = sg.series_id
join instance i on i.segment_id = sg.id
join instance o on o.space_id = {ARCHIVE_SPACE} and o.sop_instance_uid = i.sop_instance_uid
join segment osg on osg.id = o.segment_id
join series ose on ose.id = osg.series_id
join study ost on ost.id = osg.study_id
where {visible("st")} and {_COMPARABLE.format(study="ost", archive=ARCHIVE_SPACE)}
union all
select k.study_instance_uid, k.series_instance_uid, k.sop_instance_uid, 'other_bytes'
from conflict k join submission s on s.id = k.submission_id where s.space_id = any($1) and k.decision is null
"""  # noqa: S608 - composed of constants

# Series whose UID another study has, here or in the archive.
LIST_SPLIT = f"""
select st.study_instance_uid, se.series_instance_uid, se.instance_count as instances
from study st join series se on se.study_id = st.id
where {visible("st")} and exists (
  select 1 from series o join study os on os.id = o.study_id
  where o.series_instance_uid = se.series_instance_uid and os.study_instance_uid <> st.study_instance_uid
    and (os.space_id = any($1) or {_COMPARABLE.format(study="os", archive=ARCHIVE_SPACE)}))
"""  # noqa: S608 - composed of constants


@dataclass(frozen=True, slots=True)
class ExaminedFile:
    """Where the file of an instance lies."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    object_key: str
    byte_offset: int
    byte_length: int


class ExaminedContent:
    """Reads what is in a space for checks; nothing of it is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def parts(self, space_id: int) -> AsyncIterator[SeriesPart]:
        """Yield the series of a space, those of one study behind each other, each in parts of one segment."""
        after = (0, 0)
        while True:
            async with self._database.connection() as connection:
                found = await connection.fetch(LIST_SERIES, *_all_of(space_id), *after, _SERIES_AT_ONCE)
            for row in found:
                study, series = row["study_instance_uid"], row["series_instance_uid"]
                async with self._database.transaction() as connection:
                    async for segment in connection.cursor(READ_SEGMENTS, row["id"], prefetch=2):
                        yield await asyncio.to_thread(_part, study, series, *segment)
            if len(found) < _SERIES_AT_ONCE:
                return
            after = found[-1]["study_id"], found[-1]["id"]

    async def files(self, space_id: int) -> AsyncIterator[Sequence[ExaminedFile]]:
        """Yield the files of a space, some hundred at a time."""
        after = ""
        while True:
            async with self._database.connection() as connection:
                rows = await connection.fetch(LIST_FILES, *_all_of(space_id), after, _FILES_AT_ONCE)
            if rows:
                yield [ExaminedFile(*row) for row in rows]
            if len(rows) < _FILES_AT_ONCE:
                return
            after = rows[-1]["sop_instance_uid"]

    async def locate(self, space_id: int, file: ExaminedFile) -> ExaminedFile | None:
        """Find a file again that is no longer where it was; `None` when it is not in the space any more."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_FILE, space_id, file.sop_instance_uid)
        if row is None:
            return None
        return ExaminedFile(file.study_instance_uid, file.series_instance_uid, file.sop_instance_uid, *row)

    async def related(self, space_id: int) -> AsyncIterator[Related]:
        """Yield the instances of a submission whose UIDs the archive has."""
        async with self._database.transaction() as connection:
            async for row in connection.cursor(LIST_RELATED, *_all_of(space_id), prefetch=_ROWS_AT_ONCE):
                study, series, instance, relation = row
                yield Related(study, series, instance, Relation(relation))

    async def split_series(self, space_id: int) -> list[SplitSeries]:
        """Return the series of a space whose UID another study has."""
        async with self._database.connection() as connection:
            return [SplitSeries(*row) for row in await connection.fetch(LIST_SPLIT, *_all_of(space_id))]


def _all_of(space_id: int) -> tuple[list[int], list[int] | None, bool]:
    """Return what a check sees: all of one space."""
    return Visibility((space_id,), see_embargoed=True).parameters()


def _part(study: str, series: str, instance_count: int, document: bytes, locations: bytes) -> SeriesPart:
    text = decode_document(document)
    uids = text.sop_instance_uids(instance_count)
    files = [
        StoredFile(uid.decode(), each.sop_class_uid, each.transfer_syntax_uid, each.pixel_data, each.neutralised)
        for uid, each in zip(uids, decode_locations(locations), strict=True)
    ]
    return SeriesPart(study, series, files, _elements(text))


def _elements(document: Document) -> dict[int, Element | Column]:
    elements: dict[int, Element | Column] = {}
    for name, content in document.lines:
        if isinstance(content, bytes):
            elements[int(name, 16)] = element_from_json(content)
            continue
        # Sorted, so that each distinct text is read once and however often it stands there.
        known = {text: element_from_json(text) if text else None for text, _ in groupby(sorted(content))}
        elements[int(name, 16)] = [known[text] for text in content]
    return elements
