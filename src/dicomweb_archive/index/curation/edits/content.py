"""What edits look at: the instances of a submission with their attributes, some at a time, series by series."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dicomweb_archive.index.access import Visibility, visible
from dicomweb_archive.index.curation.conflicts import Place
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.segments.document import Document, decode_document
from dicomweb_archive.index.segments.locations import FileLayout, decode_locations

MOST_INSTANCES: Final = 500
_MOST_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
_MOST_REPLACED_BYTES: Final = 8 * 1024 * 1024
_SERIES_AT_ONCE: Final = 500

# The series of a space in an order that stands still.
LIST_SERIES: Final = f"""
select se.id, st.id as study_id, st.study_instance_uid, se.series_instance_uid
from study st join series se on se.study_id = st.id where {visible("st")} and se.id > $4 order by se.id limit $5
"""  # noqa: S608 - composed of constants

COUNT: Final = f"select coalesce(sum(st.instance_count), 0)::int8 from study st where {visible('st')}"  # noqa: S608 - composed of constants

LIST_SEGMENTS: Final = """
select sg.id, sg.instance_count, octet_length(d.document) as size_bytes
from segment sg join segment_data d on d.segment_id = sg.id where sg.series_id = $1 order by sg.id
"""
READ_DOCUMENTS: Final = """
select segment_id, document, locations from segment_data where segment_id = any($1::int8[])
"""

# The instances of segments that an edit has not been through.
READ_INSTANCES: Final = """
select i.segment_id, i.position, i.sop_instance_uid, i.digest, p.object_key, i.byte_offset, i.byte_length
from instance i join pack p on p.id = i.pack_id where i.segment_id = any($1::int8[])
  and not exists (select from edit_instance x where x.edit_id = $2 and x.sop_instance_uid = i.sop_instance_uid)
order by i.segment_id, i.position
"""

# Instances that an edit has changed and another one, which takes it back, has not been through: as many as can be held
# with what was replaced in them, and one at least. By the length in memory: stored it may be a hundredth of that.
LIST_CHANGED: Final = f"""
with changed as (
  select st.id as study_id, st.study_instance_uid, se.series_instance_uid, i.sop_instance_uid, i.digest, p.object_key,
    i.byte_offset, i.byte_length, x.digest_before, x.digest_after, x.elements, x.changes, i.segment_id, i.position,
    x.series_instance_uid as of_series
  from edit_instance x
  join instance i on i.sop_instance_uid = x.sop_instance_uid
  join segment sg on sg.id = i.segment_id
  join series se on se.id = sg.series_id join study st on st.id = sg.study_id join pack p on p.id = i.pack_id
  where {visible("st")} and i.space_id = any($1) and x.edit_id = $4 and x.digest_after is not null
    and (x.series_instance_uid, x.sop_instance_uid) > ($6, $7)
    and not exists (select from edit_instance y where y.edit_id = $5 and y.sop_instance_uid = x.sop_instance_uid)
  order by x.series_instance_uid, x.sop_instance_uid limit $8
), sized as (
  select *, coalesce(sum(octet_length(elements) + octet_length(changes::text)) over (
    order by of_series, sop_instance_uid rows between unbounded preceding and 1 preceding), 0) as before
  from changed
)
select study_id, study_instance_uid, series_instance_uid, sop_instance_uid, digest, object_key, byte_offset,
  byte_length, digest_before, digest_after, elements, changes::text, segment_id, position
from sized where before < $9 order by of_series, sop_instance_uid
"""  # noqa: S608 - composed of constants

READ_LOCATIONS: Final = "select segment_id, locations from segment_data where segment_id = any($1::int8[])"


@dataclass(frozen=True, slots=True)
class SeriesToEdit:
    """A series of a submission."""

    id: int
    study_id: int
    study_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class InstanceToEdit:
    """An instance of a submission: where its bytes lie, their digest, and what they say."""

    sop_instance_uid: str
    digest: bytes
    place: Place
    document: Document
    position: int
    layout: FileLayout

    def texts(self) -> dict[int, bytes]:
        """Return the JSON of its elements by tag."""
        return self.document.element_texts(self.position)


@dataclass(frozen=True, slots=True)
class InstanceToRestore:
    """An instance that an edit has changed, with what it needs to become what it was.

    Attributes:
        digest: of its bytes now.
        digest_before, digest_after: of those before and after the edit.
        elements: what the edit has replaced (`dicom.editing.files.encode_raw`).
        changes: what it has done, as JSON.
    """

    study_id: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    digest: bytes
    place: Place
    digest_before: bytes
    digest_after: bytes
    elements: bytes
    changes: str
    layout: FileLayout


class EditContent:
    """Reads what an edit is about; nothing of it is kept."""

    def __init__(self, database: Database, *, most_replaced_bytes: int = _MOST_REPLACED_BYTES) -> None:
        self._database = database
        self._most_replaced_bytes = most_replaced_bytes

    async def count(self, space_id: int) -> int:
        """Count the instances of a space."""
        async with self._database.connection() as connection:
            found: int = await connection.fetchval(COUNT, *_all_of(space_id))
        return found

    async def series(self, space_id: int, *, after: int = 0) -> AsyncIterator[SeriesToEdit]:
        """Yield the series of a space behind one of them."""
        while True:
            async with self._database.connection() as connection:
                rows = await connection.fetch(LIST_SERIES, *_all_of(space_id), after, _SERIES_AT_ONCE)
            for row in rows:
                yield SeriesToEdit(*row)
            if len(rows) < _SERIES_AT_ONCE:
                return
            after = rows[-1]["id"]

    async def segments(self, series_id: int) -> list[list[int]]:
        """Return the segments of a series, put together so that each group can be held."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_SEGMENTS, series_id)
        groups: list[list[int]] = []
        instances = size = 0
        for segment_id, count, size_bytes in rows:
            instances, size = instances + count, size + size_bytes
            if not groups or instances > MOST_INSTANCES or size > _MOST_DOCUMENT_BYTES:
                groups.append([])
                instances, size = count, size_bytes
            groups[-1].append(segment_id)
        return groups

    async def read(
        self, segment_ids: Sequence[int], *, edit_id: int | None = None
    ) -> tuple[list[InstanceToEdit], bool]:
        """Read the instances of segments, and tell whether all of these are there still: they may have been merged.

        Args:
            edit_id: leaves out what this edit has been through.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(READ_INSTANCES, segment_ids, edit_id)
            # Segments never change: one whose document is there has the positions that were just read.
            documents = await connection.fetch(READ_DOCUMENTS, segment_ids)
        return await asyncio.to_thread(_instances, rows, documents), len(documents) == len(segment_ids)

    async def changed(
        self, space_id: int, edit_id: int, *, undoing: int, after: tuple[str, str] = ("", "")
    ) -> list[InstanceToRestore]:
        """Return instances that an edit has changed, in the order of series and instance, behind one of them.

        They are as many as can be held with what the edit has replaced in them; none when there are no more.
        """
        asked = (*_all_of(space_id), edit_id, undoing, *after, MOST_INSTANCES, self._most_replaced_bytes)
        async with (
            self._database.connection() as connection,
            # Else segments might be merged in between.
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            rows = await connection.fetch(LIST_CHANGED, *asked)
            locations = await connection.fetch(READ_LOCATIONS, sorted({row["segment_id"] for row in rows}))
        return await asyncio.to_thread(_restored, rows, locations)


def _all_of(space_id: int) -> tuple[list[int], list[int] | None, bool]:
    """Return what an edit sees: all of one space."""
    return Visibility((space_id,), see_embargoed=True).parameters()


def _instances(rows: Sequence[Mapping[str, Any]], documents: Sequence[Mapping[str, Any]]) -> list[InstanceToEdit]:
    read = {
        row["segment_id"]: (decode_document(row["document"]), list(decode_locations(row["locations"])))
        for row in documents
    }
    found = []
    for segment_id, position, uid, digest, *place in (tuple(row.values()) for row in rows):
        if segment_id in read:
            document, layouts = read[segment_id]
            found.append(InstanceToEdit(uid, digest, Place(*place), document, position, layouts[position]))
    return found


def _restored(rows: Sequence[Mapping[str, Any]], locations: Sequence[Mapping[str, Any]]) -> list[InstanceToRestore]:
    layouts = {row["segment_id"]: list(decode_locations(row["locations"])) for row in locations}
    return [
        InstanceToRestore(
            study_id=row["study_id"],
            study_instance_uid=row["study_instance_uid"],
            series_instance_uid=row["series_instance_uid"],
            sop_instance_uid=row["sop_instance_uid"],
            digest=row["digest"],
            place=Place(row["object_key"], row["byte_offset"], row["byte_length"]),
            digest_before=row["digest_before"],
            digest_after=row["digest_after"],
            elements=row["elements"],
            changes=row["changes"],
            layout=layouts[row["segment_id"]][row["position"]],
        )
        for row in rows
    ]
