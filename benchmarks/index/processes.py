"""Register segments from several processes at once, as the workers of an archive do."""

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.register import PackRecord, Register

_SEGMENT = 200
_SEGMENTS = 150
_READY_SECONDS = 120

MakeSeries = Callable[[int], PackRecord]
"""Makes a pack with a new series of so many instances."""


def print_rate(url: str, series: Sequence[MakeSeries], *, tasks: int) -> None:
    """Let as many processes store as make series, in some tasks each, and print what all of them together reach."""
    processes = len(series)
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(processes)
    pipes = [context.Pipe(duplex=False) for _ in range(processes)]
    running = [
        context.Process(target=_write, args=(url, make, tasks, ready.wait, answer))
        for make, (_, answer) in zip(series, pipes, strict=True)
    ]
    for process in running:
        process.start()
    spans = [question.recv() for question, _ in pipes]
    for process in running:
        process.join()
    wall = max(end for _, end, _ in spans) - min(start for start, _, _ in spans)
    busy = sum(processor for _, _, processor in spans) / (processes * _SEGMENTS)
    print(
        f"register, segments of {_SEGMENT}, {processes} processes, {tasks} at once in each: "
        f"{processes * _SEGMENTS * _SEGMENT / wall:7,.0f} instances/s, {busy * 1e3:5.2f} ms CPU a segment"
    )


def _write(url: str, make: MakeSeries, tasks: int, wait: Callable[[float], int], answer: Connection) -> None:
    packs = [make(_SEGMENT) for _ in range(_SEGMENTS + tasks)]
    answer.send(asyncio.run(_store(url, packs, tasks, lambda: wait(_READY_SECONDS))))


async def _store(url: str, packs: list[PackRecord], tasks: int, wait: Callable[[], int]) -> tuple[float, float, float]:
    """Return when storing began and ended, and the processor seconds of this process between."""
    async with await Database.open(url) as database:
        index = Register(database)
        # Connections, statements and dictionary of a worker that serves already.
        await asyncio.gather(*(index.register([packs.pop()], actor="benchmark") for _ in range(tasks)))
        left = iter(packs)

        async def run() -> None:
            for pack in left:
                await index.register([pack], actor="benchmark")

        await asyncio.to_thread(wait)
        start, busy = time.monotonic(), time.process_time()
        await asyncio.gather(*(run() for _ in range(tasks)))
        return start, time.monotonic(), time.process_time() - busy
