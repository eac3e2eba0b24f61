"""One study in detail: its rows, its series, and the attributes of a series as its segments keep them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from dicomweb_archive.dicom.instance import BULK_MARKER
from dicomweb_archive.index.access import Visibility, visible
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.scope import Scope, missing
from dicomweb_archive.index.segments.document import decode_document

# The address of a bulk value is for programs; that there is one is enough here.
_MARKER = BULK_MARKER.encode()
_SEQUENCE = b'{"vr":"SQ"'

MOST_SERIES: Final = 500
"""Most series of a study that are described; the row of the study says how many there are."""

MOST_SEGMENTS: Final = 8
"""Most segments whose documents are read for the attributes of a series; one is the rule."""

MOST_VALUES: Final = 200
"""Most different values of an attribute that are told apart."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""After so much JSON no further segment is read: one of enhanced images alone may hold as much."""

# Reads the row of a study.
FIND_STUDY = f"""
select st.id, st.study_instance_uid, st.attributes, st.modalities, st.series_count, st.instance_count,
  st.size_bytes, st.created_at, st.changed_at
from study st where {visible("st")} and st.study_instance_uid = $4
"""  # noqa: S608 - composed of constants

# Lists its series in the order of a search's result.
FIND_SERIES = """
select series_instance_uid, attributes, modality, series_number, instance_count, size_bytes
from series where study_id = $1 order by series_number nulls last, id limit $2
"""

# Reads documents of a series, oldest first.
READ_DOCUMENTS = f"""
select sg.instance_count, d.document
from study st join series se on se.study_id = st.id
join segment sg on sg.series_id = se.id join segment_data d on d.segment_id = sg.id
where {visible("st")} and st.study_instance_uid = $4 and se.series_instance_uid = $5 order by sg.id limit $6
"""  # noqa: S608 - composed of constants


@dataclass(frozen=True, slots=True)
class SeriesDetails:
    """A series; `attributes` are those of its row in the DICOM JSON model."""

    series_instance_uid: str
    attributes: Mapping[str, Any]
    modality: str
    series_number: int | None
    instance_count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StudyDetails:
    """A study and its series, at most `MOST_SERIES` of them."""

    study_instance_uid: str
    attributes: Mapping[str, Any]
    modalities: Sequence[str]
    series_count: int
    instance_count: int
    size_bytes: int
    created_at: datetime
    changed_at: datetime
    series: Sequence[SeriesDetails]


@dataclass(frozen=True, slots=True)
class AttributeValues:
    """What the instances of a series say of one attribute.

    Attributes:
        tag: eight hexadecimal digits.
        elements: the different elements in the DICOM JSON model, in the order of instances, at most `MOST_VALUES`;
            of a sequence the first alone.
        different: how many different ones there are, counted up to `MOST_VALUES`.
        instances: how many instances have the attribute.
    """

    tag: str
    elements: Sequence[Mapping[str, Any]]
    different: int
    instances: int


@dataclass(frozen=True, slots=True)
class SeriesAttributes:
    """The attributes of the instances of a series, ascending; `instances` is how many have been looked at."""

    attributes: Sequence[AttributeValues]
    instances: int


class StudyDetailsIndex:
    """Describes studies."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # A series may take seconds and tens of megabytes; pages that ask for many at once get them in turn.
        self._merging = asyncio.Semaphore(1)

    async def study(self, visibility: Visibility, study_instance_uid: str) -> StudyDetails:
        """Read a study and its series.

        Raises:
            NotFoundError, GoneError: there is none that may be seen.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_STUDY, *visibility.parameters(), study_instance_uid)
            if row is None:
                raise await missing(connection, Scope(study_instance_uid), visibility)
            series = await connection.fetch(FIND_SERIES, row["id"], MOST_SERIES)
        members = {name: value for name, value in row.items() if name != "id"}
        return StudyDetails(
            **{**members, "attributes": orjson.loads(row["attributes"])},
            series=[SeriesDetails(**{**one, "attributes": orjson.loads(one["attributes"])}) for one in series],
        )

    async def attributes(
        self, visibility: Visibility, study_instance_uid: str, series_instance_uid: str
    ) -> SeriesAttributes:
        """Read what the instances of a series say, as far as its first `MOST_SEGMENTS` segments hold them.

        Raises:
            NotFoundError, GoneError: there is no such series that may be seen.
        """
        uids = (study_instance_uid, series_instance_uid)
        async with self._merging:
            async with self._database.connection() as connection:
                rows = await connection.fetch(READ_DOCUMENTS, *visibility.parameters(), *uids, MOST_SEGMENTS)
                if not rows:
                    raise await missing(connection, Scope(*uids), visibility)
            # Inflating the document of a thousand instances takes tens of milliseconds.
            return await asyncio.to_thread(_merged, [(row["instance_count"], row["document"]) for row in rows])


def _merged(documents: Sequence[tuple[int, bytes]]) -> SeriesAttributes:
    """Put the documents of a series together, each value once."""
    texts: dict[str, dict[bytes, None]] = {}
    counts: dict[str, int] = {}
    instances = size = 0
    for instance_count, document in documents:
        if size > MOST_BYTES:
            break
        instances += instance_count
        for name, content in decode_document(document).lines:
            present = [content] if isinstance(content, bytes) else [text for text in content if text]
            size += sum(map(len, present))
            tag = name.decode()
            counts[tag] = counts.get(tag, 0) + (instance_count if isinstance(content, bytes) else len(present))
            _add_different(texts.setdefault(tag, {}), present)
    return SeriesAttributes([_values(tag, list(found), counts[tag]) for tag, found in sorted(texts.items())], instances)


def _add_different(known: dict[bytes, None], texts: Iterable[bytes]) -> None:
    for text in texts:
        if len(known) >= MOST_VALUES:
            break
        known[text] = None


def _values(tag: str, texts: Sequence[bytes], instances: int) -> AttributeValues:
    # Of sequences the first is shown, and reading two hundred of a thousand items each would take a second.
    shown = texts[:1] if texts[0].startswith(_SEQUENCE) else texts
    elements = [orjson.loads(text.replace(_MARKER, b"")) for text in shown]
    return AttributeValues(tag, elements, len(texts), instances)
