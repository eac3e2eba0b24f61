"""Streams of a store in pieces that end anywhere, as those of an S3 service do."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.storage.filesystem import FolderReader

Stream = Callable[[FolderReader, int, int], AsyncGenerator[Buffer, None]]


def in_pieces_of(size: int, stream: Stream) -> Stream:
    """Return a `FolderReader.stream` that passes on as many bytes at a time, or fewer."""

    async def cut(reader: FolderReader, offset: int, length: int) -> AsyncGenerator[Buffer, None]:
        async with aclosing(stream(reader, offset, length)) as pieces:
            async for piece in pieces:
                view = memoryview(piece)
                for start in range(0, len(view), size):
                    yield view[start : start + size]

    return cut
