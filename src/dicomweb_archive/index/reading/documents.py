"""Documents: metadata of instances as finished bytes (PS3.18 10.4.1.1.2, Annex F).

Series are written once per revision (see `finished_series`), instances from the document of their segment. What goes
out is one gzip member, one frame of zstd, or the text, made once and kept in memory for those who ask again (see
`metadata_answers`). Whether it is there, and of which revision, is asked of the database every time.
"""

import asyncio
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple

from dicomweb_archive.index.access import Visibility, visible
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading.finished_series import FinishedSeries, Series
from dicomweb_archive.index.reading.metadata_answers import MetadataAnswer, SeriesAnswer, TextAnswer
from dicomweb_archive.index.reading.recently_used import RecentlyUsed
from dicomweb_archive.index.scope import Scope, missing
from dicomweb_archive.index.segments.document import Document, decode_document
from dicomweb_archive.index.segments.gzip_members import Fragment

CACHE_BYTES = 96 * 1024 * 1024
"""Memory of a process for metadata: a third for deflated series, half for what goes out, a sixth for documents."""

# Longer documents and instances are read and written in a thread, for which short ones would only wait.
_SHORT_DOCUMENT_BYTES = 16 * 1024
_SHORT_INSTANCE_BYTES = 256 * 1024

# Lists the series of a study, or the one asked for, in the order of a search's result.
FIND_SERIES = f"""
select se.id, se.revision, se.series_instance_uid
from study st join series se on se.study_id = st.id
where {visible("st")} and st.study_instance_uid = $4 and ($5::text is null or se.series_instance_uid = $5)
order by se.series_number nulls last, se.id
"""  # noqa: S608 - composed of constants

_INSTANCE = f"""
from instance i
join segment sg on sg.id = i.segment_id
join series se on se.id = sg.series_id
join study st on st.id = sg.study_id
{{join}}
where {visible("st")} and i.space_id = any($1::int4[]) and i.sop_instance_uid = $6
  and st.study_instance_uid = $4 and se.series_instance_uid = $5
limit 1
"""

# Finds where in which document one instance is.
FIND_INSTANCE = "select i.digest, i.position, sg.id" + _INSTANCE.format(join="")

# Reads the document that one instance is in, with where it is there: one statement, one state.
READ_INSTANCE = "select i.position, sg.id, sg.instance_count, d.document" + _INSTANCE.format(
    join="join segment_data d on d.segment_id = sg.id"
)


class _Held(NamedTuple):
    """The document of a segment, and whether an instance of it is soon written."""

    document: Document
    is_short: bool


class MetadataIndex:
    """Answers with metadata. Existence and visibility are asked of the database every time.

    Args:
        kept_root: service root of the settings; what is kept in the table has it in its URLs.
        cache_bytes: memory for what is finished.
    """

    def __init__(self, database: Database, *, kept_root: str, cache_bytes: int = CACHE_BYTES) -> None:
        self._database = database
        self._kept_root = kept_root
        self._tag_key = b""
        self._finished = FinishedSeries(
            database, kept_root=kept_root, cache_bytes=cache_bytes // 4, other_roots_bytes=cache_bytes // 12
        )
        self._answers: RecentlyUsed[bytes] = RecentlyUsed(cache_bytes // 4)
        self._other_answers: RecentlyUsed[bytes] = RecentlyUsed(cache_bytes // 6)
        # Who makes up selections pushes out nothing but selections.
        self._selections: RecentlyUsed[bytes] = RecentlyUsed(cache_bytes // 12)
        # Segments never change.
        self._documents: RecentlyUsed[_Held] = RecentlyUsed(cache_bytes // 6)

    async def study_metadata(
        self,
        study_instance_uid: str,
        visibility: Visibility,
        *,
        service_root: str,
        fields: frozenset[int] | None = None,
    ) -> MetadataAnswer:
        """Metadata of all instances of a study, series by series.

        Args:
            service_root: what URLs of bulk values begin with, without a slash at the end.
            fields: tags of the attributes that are wanted, among them the SOP Instance UID; `None` for all.

        Raises:
            GoneError: it was deleted.
            NotFoundError: there is none, or this principal may not see it.
        """
        return await self._answer(Scope(study_instance_uid), visibility, service_root, fields)

    async def series_metadata(
        self,
        study_instance_uid: str,
        series_instance_uid: str,
        visibility: Visibility,
        *,
        service_root: str,
        fields: frozenset[int] | None = None,
    ) -> MetadataAnswer:
        """Metadata of all instances of a series; see `study_metadata`."""
        return await self._answer(Scope(study_instance_uid, series_instance_uid), visibility, service_root, fields)

    async def instance_metadata(
        self,
        study_instance_uid: str,
        series_instance_uid: str,
        sop_instance_uid: str,
        visibility: Visibility,
        *,
        service_root: str,
        fields: frozenset[int] | None = None,
    ) -> MetadataAnswer:
        """Metadata of one instance; see `study_metadata`."""
        scope = Scope(study_instance_uid, series_instance_uid, sop_instance_uid)
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_INSTANCE, *visibility.parameters(), *scope.parameters())
            if row is None:
                raise await missing(connection, scope, visibility)
        digest, position, segment_id = row
        series = Series(0, 0, study_instance_uid, series_instance_uid, service_root)
        tag_key = await self._key_of_tags()

        async def text() -> bytes:
            held = self._documents.find(segment_id)
            held, place = (held, position) if held else await self._read_document(scope, visibility)
            url = series.bulkdata_url(sop_instance_uid.encode())
            document = held.document if fields is None else held.document.only(fields)
            if held.is_short:
                return _array(document, place, url)
            return await asyncio.to_thread(_array, document, place, url)

        # The digest names the bytes that the metadata follow from, wherever the index keeps them.
        return TextAnswer(_etag(service_root, [int.from_bytes(digest)], fields, tag_key), text)

    async def _read_document(self, scope: Scope, visibility: Visibility) -> tuple["_Held", int]:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(READ_INSTANCE, *visibility.parameters(), *scope.parameters())
            if row is None:
                raise await missing(connection, scope, visibility)
        position, segment_id, instance_count, data = row
        is_short = len(data) < _SHORT_DOCUMENT_BYTES
        document = decode_document(data) if is_short else await asyncio.to_thread(decode_document, data)
        size = document.estimated_bytes()
        held = _Held(document, is_short=size < _SHORT_INSTANCE_BYTES * instance_count)
        self._documents.put(segment_id, held, size)
        return held, position

    async def _answer(
        self, scope: Scope, visibility: Visibility, service_root: str, fields: frozenset[int] | None
    ) -> MetadataAnswer:
        async with self._database.connection() as connection:
            rows = await connection.fetch(FIND_SERIES, *visibility.parameters(), *scope.parameters()[:2])
            if not rows:
                raise await missing(connection, scope, visibility)
        series = [Series(id_, revision, scope.study_instance_uid, uid, service_root) for id_, revision, uid in rows]
        parts = chain.from_iterable((each.id, each.revision) for each in series)
        etag = _etag(service_root, parts, fields, await self._key_of_tags())
        if fields is not None:
            return self._selection(etag, series, fields)
        answers = self._answers if service_root == self._kept_root else self._other_answers

        async def fragment(place: int) -> Fragment:
            return await self._finished.fragment(series[place])

        return SeriesAnswer(etag, [each.key for each in series], fragment, answers)

    async def _key_of_tags(self) -> bytes:
        if not self._tag_key:
            self._tag_key = blake2b(b"metadata etag", key=await self._database.term_secret()).digest()
        return self._tag_key

    def _selection(self, etag: str, series: Sequence[Series], fields: frozenset[int]) -> MetadataAnswer:
        async def fragment(place: int) -> Fragment:
            return await self._finished.selected(series[place], fields)

        # A digest: the fields themselves take more memory than what there is of them in most series.
        named = _etag("", (), fields, b"")
        return SeriesAnswer(etag, [(each.key, named) for each in series], fragment, self._selections)


def _array(document: Document, position: int, url: bytes) -> bytes:
    return b"[%b]" % document.instance_text(position, url)


def _etag(service_root: str, parts: Iterable[int], fields: frozenset[int] | None, key: bytes) -> str:
    # With a key, since ids and revisions are found by trying: they tell how much the archive holds that a reader may
    # not see, and how often it changes.
    digest = blake2b(service_root.encode(), digest_size=12, key=key)
    for part in parts:
        digest.update(b"/%d" % part)
    for tag in sorted(fields or ()):
        digest.update(b"?%d" % tag)
    return f'W/"{digest.hexdigest()}"'
