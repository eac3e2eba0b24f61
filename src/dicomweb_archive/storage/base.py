"""ObjectStore: the small contract that every store of objects fulfils."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview

# No part begins with a dot: in a folder neither `..` nor the folder of unfinished files can be reached by a key.
_KEY = re.compile(r"[a-z0-9_-][a-z0-9._-]*(?:/[a-z0-9_-][a-z0-9._-]*)*")


def check_key(key: str) -> str:
    """Return `key` when it fits the grammar of keys.

    Raises:
        ValueError: it does not. Keys are of our own making, so this is a bug and not a client's error.
    """
    if len(key) > 512 or not _KEY.fullmatch(key):
        message = "an object key may hold a-z, 0-9, '_', '-', '.' and '/', and no part may begin with a dot"
        raise ValueError(message)
    return key


@dataclass(frozen=True, slots=True)
class ReadPattern:
    """How a long stream is best read from a store.

    Attributes:
        read_bytes: most bytes that one `ObjectReader.stream` is asked for.
        read_ahead: how many of these are begun ahead of the consumer.
        least_bytes: so few are asked for when the consumer is slow; as many as ever where that is no different.
        first_bytes: what is asked for first; the whole of what is no longer is better had by `ObjectStore.read`.
        growth: how many times as much as before is asked for next, while the consumer keeps up.
        fills: its readers are `FillingReader`s, and bytes are best read where they are sent from.
    """

    read_bytes: int
    read_ahead: int
    least_bytes: int | None = None
    first_bytes: int = 1024 * 1024
    growth: int = 2
    fills: bool = False


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """Size of an object in bytes and the POSIX time of its creation."""

    key: str
    size_bytes: int
    created_at: float


class ObjectWriter(Protocol):
    """An object being written; invisible under its key until `commit` returns, and gone after `abort`."""

    async def write(self, pieces: Sequence[Buffer]) -> None:
        """Append the pieces in order.

        Raises:
            StorageFullError: the store has no room.
        """

    async def commit(self) -> None:
        """Make the object durable (fsync or completed upload) and visible.

        Raises:
            ConflictError: the key is taken.
        """

    async def abort(self) -> None:
        """Drop what was written; harmless after `commit`."""


class ObjectReader(Protocol):
    """An open object; close it, or use it as an async context manager."""

    async def read(self, offset: int, length: int) -> Buffer:
        """Return exactly these bytes.

        Raises:
            DamagedObjectError: the object ends before them.
        """

    def stream(self, offset: int, length: int) -> AsyncGenerator[Buffer, None]:
        """Yield exactly these bytes in pieces as they come; for bytes that are passed on and not needed again.

        Whoever stops early closes the generator.

        Raises:
            DamagedObjectError: the object ends before them.
        """

    async def close(self) -> None:
        """Give back what reading holds; harmless when closed."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class FillingReader(ObjectReader, Protocol):
    """An open object that is read into memory which is there already."""

    async def fill(self, offset: int, places: Sequence[memoryview]) -> None:
        """Fill these places, one behind the other, with the bytes from `offset` on.

        Raises:
            DamagedObjectError: the object ends before them.
        """


class ObjectStore(Protocol):
    """Immutable objects under keys of our own making (`[a-z0-9/._-]`, no `..`).

    All methods raise StorageUnavailableError when the store fails or cannot be reached.
    """

    @property
    def reading(self) -> ReadPattern:
        """How its objects are best streamed."""

    @property
    def streaming(self) -> "ObjectStore":
        """The same objects, for whoever reads many of them once and from end to end: a store that keeps what was
        read keeps nothing of that, so that one long download does not push out what others will ask for again."""

    async def create(self, key: str) -> ObjectWriter:
        """Begin a new object.

        Raises:
            ConflictError: the key is taken; a remote store says so when the writer commits.
        """

    async def open(self, key: str) -> ObjectReader:
        """Open an object for ranged reads.

        Raises:
            ObjectNotFoundError: there is none; a remote store says so at the first read.
        """

    async def read(self, key: str, offset: int, length: int) -> Buffer:
        """Return one range of an object; cheaper than opening it when there is only one to read.

        Raises:
            ObjectNotFoundError: there is no such object.
            DamagedObjectError: the object ends before the range does.
        """

    async def read_at_most(self, key: str, offset: int, length: int) -> Buffer:
        """Return one range as far as the object goes: less than `length` where it ends, nothing behind its end.

        Raises:
            ObjectNotFoundError: there is no such object.
        """

    async def stat(self, key: str) -> ObjectStat:
        """Return what is known of an object without reading it.

        Raises:
            ObjectNotFoundError: there is none.
        """

    async def delete(self, key: str) -> None:
        """Remove the object; no error when there is none."""

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Remove objects, with as few requests as the store allows; all are tried before a failure is raised."""

    def list(self, prefix: str = "") -> AsyncIterator[ObjectStat]:
        """Yield the objects whose key starts with `prefix`, in any order."""

    async def free_bytes(self) -> int | None:
        """Room left, in bytes; `None` when the store has no such notion."""

    async def ping(self) -> None:
        """Find out whether the store can be used at this moment; cheap, and never tried twice.

        Raises:
            StorageUnavailableError: it cannot.
        """

    async def close(self) -> None:
        """Give back what the store holds; called once, when nothing reads or writes any more."""
