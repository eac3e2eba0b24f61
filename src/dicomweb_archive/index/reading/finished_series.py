"""Finished series: the metadata of a series as deflated bytes, written once per revision.

Its segments' documents are joined by template, deflated to one fragment, kept in the table `series_metadata` and in a
bounded cache of this process.

The URLs in it begin with the service root of the settings. For a client that has used another address they are
exchanged, which is cheaper than writing the series again, and the result is kept in a cache of its own: so
addresses that somebody makes up push out nothing but each other, and never reach the table.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from asyncpg import exceptions

from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading.recently_used import RecentlyUsed
from dicomweb_archive.index.segments.document import decode_document
from dicomweb_archive.index.segments.gzip_members import Fragment, FragmentWriter, replaced

_KEPT_BYTES = 8 * 1024 * 1024
_BATCH = 16

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


@dataclass(frozen=True, slots=True)
class Series:
    """A series in one of its revisions, as clients of one address see it."""

    id: int
    revision: int
    study_instance_uid: str
    series_instance_uid: str
    service_root: str

    @property
    def key(self) -> tuple[int, int, str]:
        """Return what its finished metadata are kept by."""
        return self.id, self.revision, self.service_root

    def bulkdata_url(self, sop_instance_uid: bytes) -> bytes:
        """Return where the bulk values of an instance are found, with a slash at the end."""
        series = f"{self.service_root}/studies/{self.study_instance_uid}/series/{self.series_instance_uid}"
        return b"%b/instances/%b/bulkdata/" % (series.encode(), sop_instance_uid)


class FinishedSeries:
    """Finds the finished metadata of series, or writes them.

    Args:
        kept_root: service root of the settings; what is kept in the table has it in its URLs.
        cache_bytes: deflated bytes that are kept in memory.
        other_roots_bytes: the same for clients of other addresses.
    """

    def __init__(self, database: Database, *, kept_root: str, cache_bytes: int, other_roots_bytes: int) -> None:
        self._database = database
        self._kept_root = kept_root
        self._cache: RecentlyUsed[Fragment] = RecentlyUsed(cache_bytes)
        self._other_roots: RecentlyUsed[Fragment] = RecentlyUsed(other_roots_bytes)
        # Several clients opening one series at once: the first builds, the others wait for it.
        self._locks: WeakValueDictionary[tuple[int, int, str], asyncio.Lock] = WeakValueDictionary()

    async def fragment(self, series: Series) -> Fragment:
        """Return the finished metadata of a series; empty when it has been deleted meanwhile."""
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

    async def _with_other_root(self, series: Series) -> Fragment:
        kept = replace(series, service_root=self._kept_root)
        fragment = await self.fragment(kept)
        # A quote within a text is escaped, so this is found where a URL begins and nowhere else.
        fragment = await asyncio.to_thread(replaced, fragment, _url_head(kept), _url_head(series))
        self._other_roots.put(series.key, fragment, len(fragment.deflated))
        return fragment

    async def _find(self, series: Series) -> Fragment | None:
        async with self._database.connection() as connection:
            member = await connection.fetchval(FIND_METADATA, *series.key)
        if member is None:
            return None
        fragment = Fragment.from_member(member)
        self._cache.put(series.key, fragment, len(fragment.deflated))
        return fragment

    async def _build(self, series: Series) -> Fragment:
        revision, fragment = await self._written(series, None)
        if fragment.length:
            await self._keep((series.id, revision, series.service_root), fragment)
        return fragment

    async def selected(self, series: Series, tags: frozenset[int]) -> Fragment:
        """Write these attributes of a series, among them the SOP Instance UID; empty when it has been deleted."""
        return (await self._written(series, tags))[1]

    async def _written(self, series: Series, tags: frozenset[int] | None) -> tuple[int, Fragment]:
        """Write a series from its segments, a few at a time; returns the revision that was found too."""
        writer = _SeriesWriter(series, tags)
        revision = series.revision
        async with self._database.transaction() as connection:
            documents: list[tuple[bytes, int]] = []
            async for row in connection.cursor(READ_DOCUMENTS, series.id, prefetch=_BATCH):
                revision = row["revision"]
                documents.append((row["document"], row["instance_count"]))
                if len(documents) == _BATCH:
                    await asyncio.to_thread(writer.write, documents)
                    documents = []
        return revision, await asyncio.to_thread(writer.finish, documents)

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

    def __init__(self, series: Series, tags: frozenset[int] | None) -> None:
        self._series = series
        self._tags = tags
        self._writer = FragmentWriter(quick=tags is not None)
        self._separator = b""

    def write(self, documents: Sequence[tuple[bytes, int]]) -> None:
        for document, instance_count in documents:
            whole = decode_document(document)
            lines = whole if self._tags is None else whole.only(self._tags)
            urls = [self._series.bulkdata_url(uid) for uid in lines.sop_instance_uids(instance_count)]
            for text in lines.instance_texts(urls):
                self._writer.write(self._separator + text)
                self._separator = b","

    def finish(self, documents: Sequence[tuple[bytes, int]]) -> Fragment:
        self.write(documents)
        return self._writer.finish()


def _url_head(series: Series) -> bytes:
    return f'"BulkDataURI":"{series.service_root}/studies/'.encode()
