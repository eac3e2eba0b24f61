"""Documents: metadata of instances as finished bytes (PS3.18 10.4.1.1.2, Annex F).

A series is written once per revision: its segments' documents are joined by template, deflated to one
fragment, kept in the table `series_metadata` and in a bounded cache of this process. What goes out is one
gzip member around the fragments, the same as frames of zstd, or, for the rare client without either, the inflated
text (see `metadata_answers`).

The URLs in it begin with the service root of the settings. For a client that has used another address they are
exchanged, which is cheaper than writing the series again, and the result is kept in a cache of its own: so
addresses that somebody makes up push out nothing but each other, and never reach the table.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain
from weakref import WeakValueDictionary

from asyncpg import exceptions

from dicomweb_archive.index.access import Visibility, visible
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading.metadata_answers import Finished, MetadataAnswer, RecentlyUsed
from dicomweb_archive.index.scope import Scope, missing
from dicomweb_archive.index.segments.document import decode_document
from dicomweb_archive.index.segments.gzip_members import Fragment, FragmentWriter, fragment_of, replaced

CACHE_BYTES = 64 * 1024 * 1024
_OTHER_ROOTS_CACHE_BYTES = CACHE_BYTES // 4
_FRAMES_CACHE_BYTES = CACHE_BYTES // 4
_KEPT_BYTES = 8 * 1024 * 1024
_BATCH = 16

# Lists the series of a study, or the one asked for, in the order of a search's result.
FIND_SERIES = f"""
select se.id, se.revision, se.series_instance_uid
from study st join series se on se.study_id = st.id
where {visible("st")} and st.study_instance_uid = $4 and ($5::text is null or se.series_instance_uid = $5)
order by se.series_number nulls last, se.id
"""  # noqa: S608 - composed of constants

# Reads finished metadata.
FIND_METADATA = "select gzip from series_metadata where series_id = $1 and revision = $2 and service_root = $3"

# Keeps finished metadata, unless a later revision is kept already.
KEEP_METADATA = """
insert into series_metadata as kept (series_id, revision, service_root, gzip) values ($1, $2, $3, $4)
on conflict (series_id) do update
set revision = excluded.revision, service_root = excluded.service_root, gzip = excluded.gzip
where kept.revision <= excluded.revision
"""

# Reads the documents of a series with the revision that they belong to: one statement, one state.
READ_DOCUMENTS = """
select se.revision, sg.instance_count, d.document
from series se join segment sg on sg.series_id = se.id join segment_data d on d.segment_id = sg.id
where se.id = $1 order by sg.id
"""

# Reads the document that one instance is in.
READ_INSTANCE = f"""
select i.digest, i.position, sg.instance_count, d.document
from instance i
join segment sg on sg.id = i.segment_id
join segment_data d on d.segment_id = sg.id
join series se on se.id = sg.series_id
join study st on st.id = sg.study_id
where {visible("st")} and i.space_id = any($1::int4[]) and i.sop_instance_uid = $6
  and st.study_instance_uid = $4 and se.series_instance_uid = $5
limit 1
"""  # noqa: S608 - composed of constants


@dataclass(frozen=True, slots=True)
class _Series:
    """One series of an answer."""

    id: int
    revision: int
    study_instance_uid: str
    series_instance_uid: str
    service_root: str

    @property
    def key(self) -> tuple[int, int, str]:
        return self.id, self.revision, self.service_root

    def bulkdata_url(self, sop_instance_uid: bytes) -> bytes:
        """Return where the bulk values of an instance are found, with a slash at the end."""
        series = f"{self.service_root}/studies/{self.study_instance_uid}/series/{self.series_instance_uid}"
        return b"%b/instances/%b/bulkdata/" % (series.encode(), sop_instance_uid)


class MetadataIndex:
    """Answers with metadata. Existence and visibility are asked of the database every time.

    Args:
        kept_root: service root of the settings; what is kept in the table has it in its URLs.
    """

    def __init__(self, database: Database, *, kept_root: str, cache_bytes: int = CACHE_BYTES) -> None:
        self._database = database
        self._kept_root = kept_root
        self._cache: RecentlyUsed[Fragment] = RecentlyUsed(cache_bytes)
        self._other_roots: RecentlyUsed[Fragment] = RecentlyUsed(_OTHER_ROOTS_CACHE_BYTES)
        self._frames: RecentlyUsed[bytes] = RecentlyUsed(_FRAMES_CACHE_BYTES)
        self._other_frames: RecentlyUsed[bytes] = RecentlyUsed(_FRAMES_CACHE_BYTES // 4)
        # Several clients opening one series at once: the first builds, the others wait for it.
        self._locks: WeakValueDictionary[tuple[int, int, str], asyncio.Lock] = WeakValueDictionary()

    async def study_metadata(
        self, study_instance_uid: str, visibility: Visibility, *, service_root: str
    ) -> MetadataAnswer:
        """Metadata of all instances of a study, series by series.

        Args:
            service_root: what URLs of bulk values begin with, without a slash at the end.

        Raises:
            GoneError: it was deleted.
            NotFoundError: there is none, or this principal may not see it.
        """
        return await self._answer(Scope(study_instance_uid), visibility, service_root)

    async def series_metadata(
        self, study_instance_uid: str, series_instance_uid: str, visibility: Visibility, *, service_root: str
    ) -> MetadataAnswer:
        """Metadata of all instances of a series; see `study_metadata`."""
        return await self._answer(Scope(study_instance_uid, series_instance_uid), visibility, service_root)

    async def instance_metadata(
        self,
        study_instance_uid: str,
        series_instance_uid: str,
        sop_instance_uid: str,
        visibility: Visibility,
        *,
        service_root: str,
    ) -> MetadataAnswer:
        """Metadata of one instance; see `study_metadata`."""
        scope = Scope(study_instance_uid, series_instance_uid, sop_instance_uid)
        async with self._database.connection() as connection:
            row = await connection.fetchrow(READ_INSTANCE, *visibility.parameters(), *scope.parameters())
            if row is None:
                raise await missing(connection, scope, visibility)
        digest, position, instance_count, document = row
        series = _Series(0, 0, study_instance_uid, series_instance_uid, service_root)
        text = await asyncio.to_thread(_instance_text, series, document, instance_count, position)
        # The digest names the bytes that the metadata follow from, wherever the index keeps them.
        etag = _etag(service_root, [int.from_bytes(digest)])
        return MetadataAnswer(etag, _one(Finished(None, fragment_of(text))), self._frames)

    async def _answer(self, scope: Scope, visibility: Visibility, service_root: str) -> MetadataAnswer:
        async with self._database.connection() as connection:
            rows = await connection.fetch(FIND_SERIES, *visibility.parameters(), *scope.parameters()[:2])
            if not rows:
                raise await missing(connection, scope, visibility)
        series = [_Series(id_, revision, scope.study_instance_uid, uid, service_root) for id_, revision, uid in rows]
        etag = _etag(service_root, chain.from_iterable((each.id, each.revision) for each in series))
        frames = self._frames if service_root == self._kept_root else self._other_frames
        return MetadataAnswer(etag, self._finished(series), frames)

    async def _finished(self, series: Sequence[_Series]) -> AsyncIterator[Finished]:
        for each in series:
            fragment = await self._fragment(each)
            if fragment.length == 0:
                # Deleted since the list was read.
                continue
            yield Finished(each.key, fragment)

    async def _fragment(self, series: _Series) -> Fragment:
        is_kept = series.service_root == self._kept_root
        cache = self._cache if is_kept else self._other_roots
        lock = self._locks.setdefault(series.key, asyncio.Lock())
        async with lock:
            fragment = cache.find(series.key)
            if fragment is None:
                fragment = (
                    await self._find(series) or await self._build(series)
                    if is_kept
                    else await self._with_other_root(series)
                )
        return fragment

    async def _with_other_root(self, series: _Series) -> Fragment:
        kept = replace(series, service_root=self._kept_root)
        fragment = await self._fragment(kept)
        # A quote within a text is escaped, so this is found where a URL begins and nowhere else.
        fragment = await asyncio.to_thread(replaced, fragment, _url_head(kept), _url_head(series))
        self._other_roots.put(series.key, fragment, len(fragment.deflated))
        return fragment

    async def _find(self, series: _Series) -> Fragment | None:
        async with self._database.connection() as connection:
            member = await connection.fetchval(FIND_METADATA, *series.key)
        if member is None:
            return None
        fragment = Fragment.from_member(member)
        self._cache.put(series.key, fragment, len(fragment.deflated))
        return fragment

    async def _build(self, series: _Series) -> Fragment:
        """Write a series from its segments, a few at a time, and keep the result."""
        writer = _SeriesWriter(series)
        revision = series.revision
        async with self._database.transaction() as connection:
            documents: list[tuple[bytes, int]] = []
            async for row in connection.cursor(READ_DOCUMENTS, series.id, prefetch=_BATCH):
                revision = row["revision"]
                documents.append((row["document"], row["instance_count"]))
                if len(documents) == _BATCH:
                    await asyncio.to_thread(writer.write, documents)
                    documents = []
        fragment = await asyncio.to_thread(writer.finish, documents)
        if fragment.length:
            await self._keep((series.id, revision, series.service_root), fragment)
        return fragment

    async def _keep(self, key: tuple[int, int, str], fragment: Fragment) -> None:
        self._cache.put(key, fragment, len(fragment.deflated))
        if len(fragment.deflated) > _KEPT_BYTES:
            return
        # The series may have been deleted meanwhile; then there is nothing to keep.
        with contextlib.suppress(exceptions.ForeignKeyViolationError):
            async with self._database.connection() as connection:
                await connection.execute(KEEP_METADATA, *key, fragment.to_member())


class _SeriesWriter:
    """Writes the instances of a series, comma between them, instance by instance: never a whole text."""

    def __init__(self, series: _Series) -> None:
        self._series = series
        self._writer = FragmentWriter()
        self._separator = b""

    def write(self, documents: Sequence[tuple[bytes, int]]) -> None:
        for document, instance_count in documents:
            lines = decode_document(document)
            urls = [self._series.bulkdata_url(uid) for uid in lines.sop_instance_uids(instance_count)]
            for text in lines.instance_texts(urls):
                self._writer.write(self._separator + text)
                self._separator = b","

    def finish(self, documents: Sequence[tuple[bytes, int]]) -> Fragment:
        self.write(documents)
        return self._writer.finish()


def _instance_text(series: _Series, document: bytes, instance_count: int, position: int) -> bytes:
    lines = decode_document(document)
    url = series.bulkdata_url(lines.sop_instance_uids(instance_count)[position])
    return next(iter(lines.at(position).instance_texts([url])))


def _url_head(series: _Series) -> bytes:
    return f'"BulkDataURI":"{series.service_root}/studies/'.encode()


def _etag(service_root: str, parts: Iterable[int]) -> str:
    digest = blake2b(service_root.encode(), digest_size=12)
    for part in parts:
        digest.update(b"/%d" % part)
    return f'W/"{digest.hexdigest()}"'


async def _one(finished: Finished) -> AsyncIterator[Finished]:
    yield finished
