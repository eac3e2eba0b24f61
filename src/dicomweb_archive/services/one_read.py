"""One read: the answers that viewers ask for by the thousand, of one stored range that is read at once."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial

from dicomweb_archive.services.representation import Part, Representation
from dicomweb_archive.storage.base import Buffer, ObjectStore
from dicomweb_archive.storage.spans import MIB, Span
from dicomweb_archive.wire.multipart import PartFraming


def is_one_read(parts: Sequence[Part]) -> bool:
    """Tell whether the parts are one stored range of less than a MiB.

    Hot path: such an answer needs no plan of reads, nothing that runs ahead and no pace (benchmarks/storage). What is
    missing or short is found by its only read, and so before its first byte.
    """
    if len(parts) != 1 or parts[0].make is not None or len(parts[0].spans) != 1:
        return False
    return 0 < parts[0].spans[0].length < MIB


def single_of_one_read(store: ObjectStore, part: Part, headers: Mapping[str, str]) -> Representation:
    """Answer with the bytes of the one range."""
    (span,) = part.spans
    return Representation(
        part.content_type, _read(store, span), span.length, headers, partial(_read_range, store, span)
    )


def multipart_of_one_read(
    store: ObjectStore, media_type: str, part: Part, headers: Mapping[str, str]
) -> Representation:
    """Answer with a multipart/related payload of one part (PS3.18 8.6.1.2)."""
    (span,) = part.spans
    framing = PartFraming(media_type)
    head = framing.head(part.content_type, length=span.length, location=part.location)
    tail = framing.TAIL + framing.closing()
    return Representation(
        framing.content_type, _read(store, span, head, tail), len(head) + span.length + len(tail), headers
    )


async def _read(store: ObjectStore, span: Span, head: bytes = b"", tail: bytes = b"") -> AsyncGenerator[Buffer, None]:
    # Read first: nothing of an answer is passed on that cannot be had.
    data = await store.read(*span)
    if head:
        yield head
    yield data
    if tail:
        yield tail


def _read_range(store: ObjectStore, span: Span, start: int, stop: int) -> AsyncGenerator[Buffer, None]:
    return _read(store, Span(span.key, span.offset + start, stop - start))
