"""Archives: the instances of an answer as the files of one ZIP, streamed and not compressed (PS3.18 10.4.4).

The CRC-32 of each file is the one that was taken when it came, read from its pack on the way. So each header is
complete before its file, which readers of streams need, and whoever unpacks the archive checks the stored bytes.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import chain, groupby

from dicomweb_archive.errors import DamagedObjectError, UndecodableError
from dicomweb_archive.services.representation import Made, Representation
from dicomweb_archive.storage.base import Buffer, ObjectStore
from dicomweb_archive.storage.pack_members import crc_of, header_span
from dicomweb_archive.storage.spans import MIB, Span, check_spans, stream_spans
from dicomweb_archive.storage.zip_format import Entry, central_header, end_of_directory, local_header
from dicomweb_archive.wire.media_types import ZIP

_MEMBERS_AT_ONCE = 250
_SMALL_BYTES = 64 * 1024
# Headers of files that are left out lie far from each other: from an S3 service one after the other takes minutes.
_HEADERS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive.

    Attributes:
        name: in the archive, with folders.
        stored_name: of the member in its pack.
        span: where it lies in the pack.
        digest: of the stored bytes.
        make: converts it when its turn comes; what turns out not to be convertible goes as it is stored.
    """

    name: bytes
    stored_name: bytes
    span: Span
    digest: bytes
    make: Callable[[], Awaitable[Made]] | None = None


async def archive_of(store: ObjectStore, members: Callable[[], Iterable[Member]]) -> Representation:
    """Answer with an archive of these files, its length known when none of them is converted.

    Args:
        members: called twice, once for the length and once for the bytes, so that those of a study need not be
            listed in memory.

    Raises:
        ObjectNotFoundError, DamagedObjectError: an object is not there as it should be.
    """
    position = directory = count = 0
    is_stored = True
    ends: dict[str, int] = {}
    digest = blake2b(digest_size=16)
    for count, member in enumerate(members(), 1):
        if count % _MEMBERS_AT_ONCE == 0:
            await asyncio.sleep(0)
        key, offset, length = member.span
        ends[key] = max(ends.get(key, 0), offset + length)
        directory += len(central_header(Entry(member.name, 0, length, position)))
        position += len(local_header(member.name, 0, length)) + length
        is_stored = is_stored and member.make is None
        digest.update(b"%b/%d/" % (member.digest, member.make is None))
    await check_spans(store, [Span(key, 0, end) for key, end in ends.items()])
    if not is_stored:
        headers = {"ETag": f'W/"{digest.hexdigest()}/zip"'}
        return Representation(ZIP, _archive(store, members(), _Directory()), None, headers)
    end = len(end_of_directory(count=count, offset=position, size_bytes=directory, comment=b""))
    # The same files in the same order are the same bytes, so a download that broke off can go on.
    headers = {"ETag": f'"{digest.hexdigest()}/zip"'}
    length = position + directory + end
    ranged = partial(_archive_range, store, members)
    return Representation(ZIP, _archive(store, members(), _Directory()), length, headers, ranged)


class _Directory:
    """The central directory, kept until the end: some 30 bytes a file, since most UIDs begin alike.

    Args:
        start: files that lie wholly before this byte of the archive are listed and not read.

    Attributes:
        skipped: bytes of the archive that were left out so.
    """

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.skipped = 0
        self._deflater = zlib.compressobj(1)
        self._pieces: list[bytes] = []
        self._count = 0
        self._size_bytes = 0
        self._position = 0

    def add(self, name: bytes, crc: int, length: int) -> bytes:
        """List a file and return the header that goes before it."""
        head = local_header(name, crc, length)
        record = central_header(Entry(name, crc, length, self._position))
        self._pieces.append(self._deflater.compress(record))
        self._count += 1
        self._size_bytes += len(record)
        self._position += len(head) + length
        return head

    def records(self) -> Iterator[bytes]:
        """Yield the directory and its end."""
        inflater = zlib.decompressobj()
        for piece in (*self._pieces, self._deflater.flush()):
            waiting = piece
            while waiting:
                yield inflater.decompress(waiting, MIB)
                waiting = inflater.unconsumed_tail
        yield inflater.flush()
        yield end_of_directory(count=self._count, offset=self._position, size_bytes=self._size_bytes, comment=b"")


async def _archive_range(
    store: ObjectStore, members: Callable[[], Iterable[Member]], start: int, stop: int
) -> AsyncGenerator[Buffer, None]:
    """Yield the bytes of an archive of stored files from `start` up to `stop`."""
    directory = _Directory(start)
    position: int | None = None
    async with aclosing(_archive(store, members(), directory)) as pieces:
        async for piece in pieces:
            # Whatever is left out comes before the first piece.
            position = directory.skipped if position is None else position
            wanted = memoryview(piece)[max(start - position, 0) : max(stop - position, 0)]
            position += len(piece)
            if wanted:
                yield wanted
            if position >= stop:
                return


async def _archive(
    store: ObjectStore, members: Iterable[Member], directory: _Directory
) -> AsyncGenerator[Buffer, None]:
    for is_stored, group in groupby(members, key=lambda member: member.make is None):
        stream = _stored_files if is_stored else _made_files
        async with aclosing(stream(store, directory, group)) as pieces:
            async for piece in pieces:
                yield piece
    for record in directory.records():
        if record:
            yield record


async def _stored_files(
    store: ObjectStore, directory: _Directory, members: Iterable[Member]
) -> AsyncGenerator[Buffer, None]:
    """Yield files that go as they lie in their packs: one stream of large reads, in which headers come along."""
    described: deque[Member] = deque()
    if directory.start:
        members = await _skip(store, directory, iter(members))

    def spans() -> Iterator[Span]:
        for member in members:
            described.append(member)
            yield header_span(member.stored_name, member.span)
            yield member.span

    # Each piece costs a walk through the server, so what is small goes out together.
    small = bytearray()
    head = bytearray()
    remaining = 0
    async with aclosing(stream_spans(store, spans())) as pieces:
        async for piece in pieces:
            if remaining == 0:
                head += piece
                if not _is_whole(head, described[0]):
                    continue
                member = described.popleft()
                crc = await crc_of(store, member.stored_name, member.span, bytes(head))
                head.clear()
                small += directory.add(member.name, crc, member.span.length)
                remaining = member.span.length
                continue
            remaining -= len(piece)
            is_small = len(piece) < _SMALL_BYTES
            if is_small:
                small += piece
            if small and (len(small) >= _SMALL_BYTES or not is_small):
                yield bytes(small)
                small.clear()
            if not is_small:
                yield piece
    if remaining or described:
        message = "an object is shorter than what was stored"
        raise DamagedObjectError(message)
    if small:
        yield bytes(small)


async def _skip(store: ObjectStore, directory: _Directory, members: Iterator[Member]) -> Iterator[Member]:
    """List the files before the start of a range, from their headers alone, and return the others."""
    described: deque[Member] = deque()
    first: list[Member] = []

    def headers() -> Iterator[Span]:
        end = 0
        for member in members:
            end += len(local_header(member.name, 0, member.span.length)) + member.span.length
            if end > directory.start:
                first.append(member)
                return
            described.append(member)
            yield header_span(member.stored_name, member.span)

    ahead = stream_spans(store, headers(), span_bytes=_SMALL_BYTES, read_ahead=_HEADERS_AT_ONCE)
    head = bytearray()
    async with aclosing(ahead) as pieces:
        async for piece in pieces:
            head += piece
            if not _is_whole(head, described[0]):
                continue
            member = described.popleft()
            crc = await crc_of(store, member.stored_name, member.span, bytes(head))
            head.clear()
            directory.skipped += len(directory.add(member.name, crc, member.span.length)) + member.span.length
    return chain(first, members)


def _is_whole(head: bytearray, member: Member) -> bool:
    """Tell whether all of a stored header has come: where a store's pieces end, nobody knows."""
    return len(head) == header_span(member.stored_name, member.span).length


async def _made_files(
    store: ObjectStore, directory: _Directory, members: Iterable[Member]
) -> AsyncGenerator[Buffer, None]:
    for member in members:
        assert member.make is not None
        try:
            made = await member.make()
        except UndecodableError:
            async with aclosing(_stored_files(store, directory, [member])) as stored:
                async for piece in stored:
                    yield piece
            continue
        # What was made is in memory, whole; these are views of it.
        pieces = [piece async for piece in made.chunks]
        yield directory.add(member.name, await asyncio.to_thread(_crc, pieces), made.length)
        for piece in pieces:
            yield piece


def _crc(pieces: Iterable[Buffer]) -> int:
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
    return crc
