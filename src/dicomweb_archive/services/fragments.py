"""Frames in very many fragments: read as the one range that they lie in, and cut by a thread.

A plan of reads for each fragment, and a piece of an answer for each, would keep the loop from everybody else for a
second.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from dicomweb_archive.services.representation import Made
from dicomweb_archive.storage.base import Buffer, ObjectStore
from dicomweb_archive.storage.spans import Span, check_spans, stream_spans

MANY_FRAGMENTS: Final = 500
"""From so many on; fewer are sent without being copied."""


@dataclass(frozen=True, slots=True)
class GatheredFragments:
    """The fragments of a frame, which lie one behind the other with nothing but their heads between them.

    Attributes:
        span: from the first to the end of the last.
        origin: where that begins in the instance's file.
        ranges: (offset in the file, length) of each.
    """

    store: ObjectStore
    span: Span
    origin: int
    ranges: Sequence[tuple[int, int]]

    @property
    def length(self) -> int:
        """How many bytes they have together."""
        return sum([length for _, length in self.ranges])

    async def make(self, content_type: str) -> Made:
        """Find out whether they can be read, and begin to.

        Raises:
            ObjectNotFoundError, DamagedObjectError: they are not there as they should be.
        """
        await check_spans(self.store, [self.span])
        return Made(content_type, self.length, self.stream())

    async def read(self) -> list[Buffer]:
        """Return all of them."""
        return [piece async for piece in self.stream()]

    async def stream(self) -> AsyncGenerator[Buffer, None]:
        """Yield their bytes, in pieces of as many fragments as are read at once."""
        position, index = self.origin, 0
        async with aclosing(stream_spans(self.store, [self.span])) as chunks:
            async for chunk in chunks:
                piece, index = await asyncio.to_thread(_cut, chunk, position, self.ranges, index)
                position += len(chunk)
                if piece:
                    yield piece


def _cut(chunk: Buffer, position: int, ranges: Sequence[tuple[int, int]], index: int) -> tuple[bytes, int]:
    """Join what of the ranges lies in a chunk; returns which of them goes on in the next."""
    view = memoryview(chunk)
    end = position + len(view)
    kept = []
    while index < len(ranges) and ranges[index][0] < end:
        offset, length = ranges[index]
        kept.append(view[max(offset - position, 0) : offset + length - position])
        if offset + length > end:
            break
        index += 1
    return b"".join(kept), index
