"""Compare writing a pack with plain write and fsync, and streaming its members with plain pread.

    python -m benchmarks.storage [--instances 100] [--bytes 528000] [--rounds 7] [--folder DIR]

Rounds alternate between the contestants, so that a busy machine hits all of them; each figure is the best
round's, in MB/s of instance bytes. Reads come from the page cache: this measures our work, not the disk.
"""

import argparse
import asyncio
import os
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from blake3 import blake3

from dicomweb_archive.storage.filesystem import FolderStore
from dicomweb_archive.storage.packs import Member, PackWriter, Placed, new_pack_key
from dicomweb_archive.storage.spans import MIB, Span, stream_spans

_BATCH = 4


class Bench:
    """One series, written and read again and again."""

    def __init__(self, folder: Path, store: FolderStore, members: list[Member]) -> None:
        self.folder = folder
        self.store = store
        self.members = members
        self.key = ""
        self.placed: list[Placed] = []

    async def plain_write(self) -> None:
        """The bytes alone: one file, written in batches and flushed with its folder."""

        def work() -> None:
            path = self.folder / "plain"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for start in range(0, len(self.members), _BATCH):
                os.writev(descriptor, [member.data for member in self.members[start : start + _BATCH]])
            os.fsync(descriptor)
            os.close(descriptor)
            parent = os.open(self.folder, os.O_RDONLY)
            os.fsync(parent)
            os.close(parent)

        await asyncio.to_thread(work)

    async def hash_only(self) -> None:
        """BLAKE3 and CRC-32 of the bytes in one thread: what a pack costs besides writing."""

        def work() -> None:
            for member in self.members:
                blake3(member.data).digest()
                zlib.crc32(member.data)

        await asyncio.to_thread(work)

    async def pack_write(self) -> None:
        """A pack: hashed, laid out, written, made durable; the next batch is hashed while one is written."""
        if self.key:
            await self.store.delete(self.key)
        self.key, self.placed = new_pack_key(), []
        pack = await PackWriter.create(self.store, self.key)
        waiting: asyncio.Task[list[Placed]] | None = None
        for start in range(0, len(self.members), _BATCH):
            task = asyncio.create_task(pack.append(self.members[start : start + _BATCH]))
            if waiting is not None:
                self.placed += await waiting
            waiting = task
        assert waiting is not None
        self.placed += await waiting
        await pack.close()

    async def plain_read(self) -> None:
        """The pack's bytes by pread of a MiB, one after the other, in one thread."""

        def work() -> None:
            descriptor = os.open(self.folder / "objects" / self.key, os.O_RDONLY)
            position = 0
            while data := os.pread(descriptor, MIB, position):
                position += len(data)
            os.close(descriptor)

        await asyncio.to_thread(work)

    async def span_stream(self) -> None:
        """The members as the retrieve transaction reads them, on the loop with threads."""
        spans = [Span(self.key, place.offset, place.length) for place in self.placed]
        total = 0
        async for piece in stream_spans(self.store, spans):
            total += len(piece)
        assert total == sum(place.length for place in self.placed)

    async def single_members(self) -> None:
        """Each member by itself, as single instances are asked for: open, read, close."""
        for place in self.placed:
            async for _ in stream_spans(self.store, [Span(self.key, place.offset, place.length)]):
                pass


async def measure(bench: Bench, rounds: int) -> None:
    """Run the contestants in turn and print the best of each."""
    contestants: list[Callable[[], Awaitable[None]]] = [
        bench.plain_write, bench.hash_only, bench.pack_write, bench.plain_read, bench.span_stream,
        bench.single_members,
    ]  # fmt: skip
    size = sum(len(member.data) for member in bench.members)
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for contestant in contestants:
            wall, processor = time.perf_counter(), time.process_time()
            await contestant()
            taken = time.perf_counter() - wall, time.process_time() - processor
            best[contestant.__name__] = min(best.get(contestant.__name__, taken), taken)
    print(f"{len(bench.members)} instances of {len(bench.members[0].data)} bytes, best of {rounds} rounds")
    for name, (wall, processor) in best.items():
        each = processor / len(bench.members) * 1e6
        print(f"{name:>15} {size / wall / 1e6:9.0f} MB/s  {each:8.1f} us of CPU an instance")


async def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=100)
    parser.add_argument("--bytes", type=int, default=528_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        store = await FolderStore.open_folder(folder / "objects")
        members = [Member(f"1.2.{number}.dcm", os.urandom(arguments.bytes)) for number in range(arguments.instances)]
        await measure(Bench(folder, store, members), arguments.rounds)
        await store.close()


if __name__ == "__main__":
    asyncio.run(main())
