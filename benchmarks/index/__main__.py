"""Register series of 200 and single instances on a private PostgreSQL, read them back, and weigh the tables.

    python -m benchmarks.index [--seconds 4] [--sizes 20000] [FOLDER]

FOLDER holds the Part 10 files of one series whose headers are repeated under new UIDs; without it the real GE CT
series of the test data is taken when it is there, else one is built.

Storing from several processes at once, as the workers of an archive do, is measured with segments made beforehand.

What counts as registering goes from instances that the scanner has read to rows that are committed: building the
segment, dictionary, transaction and the wait for the disk. CPU is that of our process alone; that of building is
printed first. The bare limits beside the figures are the same rows of the table `instance` alone, in a transaction
of their own, on the same server in the same minute.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.stored import digest_of, sharing_base

from benchmarks.index.processes import print_rate
from benchmarks.index.sizes import print_curve
from benchmarks.scanner.__main__ import load
from dicomweb_archive.dicom.instance import Element, ScannedInstance
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.database.migrate import upgrade
from dicomweb_archive.index.reading.documents import MetadataIndex
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.reading.metadata_answers import Coding, MetadataAnswer
from dicomweb_archive.index.segments.building import StoredInstance, build_segments
from dicomweb_archive.index.writing.register import PackRecord, Register

ROOT = "1.2.826.0.1.3680043.10.1463.7"
URL = "http://127.0.0.1:8000/dicom-web"
EVERYTHING = Visibility()
# Numbers of the series that one process makes, so that no other makes the same; three are a study.
_SERIES_APART = 3_000_000


def uid_element(value: str) -> Element:
    return Element("UI", b'{"vr":"UI","Value":["%b"]}' % value.encode(), (value,))


def text_element(vr: str, value: str) -> Element:
    return Element(vr, b'{"vr":"%b","Value":["%b"]}' % (vr.encode(), value.encode()), (value,))


class Headers:
    """Makes series without end out of the headers of one; three series a study, some values new in each."""

    def __init__(self, files: list[bytes], first: int = 1) -> None:
        self._scanned = sharing_base(scan(data) for data in files)
        self._numbers = itertools.count(first)

    def series(self, instances: int) -> tuple[PackRecord, tuple[str, str, str]]:
        """Return a pack with one new series, and the UIDs of its last instance."""
        number = next(self._numbers)
        study, series = f"{ROOT}.{number // 3}", f"{ROOT}.{number // 3}.{number}"
        base = {
            **self._scanned[0].base,
            0x00080031: text_element("TM", f"{number % 24:02}{number % 60:02}{number * 7 % 60:02}"),
            0x00100020: text_element("LO", f"P{number // 3:06}"),
            0x0020000D: uid_element(study),
            0x0020000E: uid_element(series),
            0x00200052: uid_element(f"{series}.0"),
        }
        base = dict(sorted(base.items()))
        segment = [self._instance(base, study, series, position) for position in range(instances)]
        key = f"packs/{number:08x}.zip"
        return PackRecord(key, 1000, [segment]), (study, series, segment[-1].scanned.sop_instance_uid)

    def _instance(self, base: dict[int, Element], study: str, series: str, position: int) -> StoredInstance:
        source = self._scanned[position % len(self._scanned)]
        uid = f"{series}.{position + 1}"
        delta = {tag: element for tag, element in source.delta.items() if tag not in (0x00080031, 0x00200052)}
        scanned: ScannedInstance = replace(
            source,
            sop_instance_uid=uid,
            study_instance_uid=study,
            series_instance_uid=series,
            base=base,
            delta={
                **delta,
                0x00080018: uid_element(uid),
                0x00200013: text_element("IS", str(position + 1)),
                0x00201041: text_element("DS", f"{position * 1.25}"),
            },
        )
        return StoredInstance(scanned, position * source.size_bytes, source.size_bytes, digest_of(uid))


async def repeated(seconds: float, tasks: int, work: Callable[[], Awaitable[object]]) -> float:
    """Run the work over and over in several tasks; return how often a second."""
    done, start = 0, time.perf_counter()

    async def run() -> None:
        nonlocal done
        while time.perf_counter() - start < seconds:
            await work()
            done += 1

    await asyncio.gather(*(run() for _ in range(tasks)))
    return done / (time.perf_counter() - start)


async def median_ms(work: Callable[[], Awaitable[object]], times: int) -> float:
    """Return the median wall time of the work."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        await work()
        taken.append((time.perf_counter() - start) * 1000)
    return sorted(taken)[times // 2]


async def drained(answer: MetadataAnswer, *, as_gzip: bool) -> int:
    return sum([len(chunk) async for chunk in answer.encoded(Coding.GZIP if as_gzip else Coding.IDENTITY)])


def build_us(headers: Headers, instances: int) -> float:
    """CPU time of building a segment, per instance."""
    packs = [headers.series(instances)[0] for _ in range(max(4000 // instances, 5) if instances > 1 else 300)]
    start = time.process_time()
    for pack in packs:
        build_segments(pack.segments[0], bytes(16))
    return (time.process_time() - start) * 1e6 / (len(packs) * instances)


def bare_rows(instances: int) -> Iterator[list[tuple[object, ...]]]:
    for number in itertools.count():
        yield [(n, number, 1, f"{ROOT}.{number}.{n}", 1, n, n, digest_of("")) for n in range(instances)]


async def measured(
    batch: int, seconds: float, tasks: int, make: Callable[[], Awaitable[object]]
) -> tuple[float, float]:
    """Run pieces of work in several tasks, a batch at a time; return how many a second, and CPU seconds of each.

    `make` is called before the clock runs, so what is registered is there already.
    """
    wall = processor = 0.0
    done = 0
    while wall < seconds:
        waiting = iter([make() for _ in range(batch)])

        async def run(waiting: Iterator[Awaitable[object]] = waiting) -> None:
            for work in waiting:
                await work

        start, busy = time.perf_counter(), time.process_time()
        await asyncio.gather(*(run() for _ in range(tasks)))
        wall += time.perf_counter() - start
        processor += time.process_time() - busy
        done += batch
    return done / wall, processor / done


async def register(database: Database, headers: Headers, instances: int, tasks: int, seconds: float) -> None:
    """Measure from scanned instances to committed rows, with the bare limit beside it."""
    index = Register(database)
    batch = max(8 * tasks, 100 // instances)

    def store() -> Awaitable[object]:
        return index.register([headers.series(instances)[0]], actor="benchmark")

    rate, busy = await measured(batch, seconds, tasks, store)
    rows = bare_rows(instances)

    async def bare() -> None:
        async with database.transaction() as connection:
            await connection.copy_records_to_table("bare", records=next(rows))

    limit, bare_busy = await measured(batch, seconds / 2, tasks, bare)
    async with database.connection() as connection:
        await connection.execute("truncate bare")
    print(
        f"register, segments of {instances:3}, {tasks} at once: {rate * instances:7,.0f} instances/s"
        f" {rate:6,.0f} transactions/s of {busy * 1e3:5.2f} ms CPU"
        f"   bare rows {limit * instances:8,.0f}/s, {bare_busy * 1e3:5.2f} ms   ratio {rate / limit:.3f}"
    )


async def read(database: Database, headers: Headers) -> None:
    """Measure the ways back."""
    pack, (study, series, instance) = headers.series(200)
    await Register(database).register([pack], actor="benchmark")
    index = MetadataIndex(database, kept_root=URL)

    async def series_metadata(index: MetadataIndex, *, as_gzip: bool) -> int:
        answer = await index.series_metadata(study, series, EVERYTHING, service_root=URL)
        return await drained(answer, as_gzip=as_gzip)

    async def built() -> None:
        async with database.connection() as connection:
            await connection.execute("delete from series_metadata")
        await series_metadata(MetadataIndex(database, kept_root=URL), as_gzip=True)

    plain, packed = await series_metadata(index, as_gzip=False), await series_metadata(index, as_gzip=True)
    print(f"metadata of a series of 200: {plain:,} bytes, {packed:,} as gzip; median ms")
    print(f"  built from template    {await median_ms(built, 15):8.2f}")
    from_table = await median_ms(lambda: series_metadata(MetadataIndex(database, kept_root=URL), as_gzip=True), 50)
    print(f"  from the table         {from_table:8.2f}")
    print(f"  from memory, gzip      {await median_ms(lambda: series_metadata(index, as_gzip=True), 200):8.2f}")
    print(f"  from memory, identity  {await median_ms(lambda: series_metadata(index, as_gzip=False), 50):8.2f}")
    one = await median_ms(lambda: index.instance_metadata(study, series, instance, EVERYTHING, service_root=URL), 100)
    print(f"metadata of one instance {one:8.2f}")
    warm, cold = InstanceIndex(database), InstanceIndex(database, clock=itertools.count(0, 10).__next__)
    for name, locations in (("cached", warm), ("checked", cold)):
        rate = await repeated(1, 8, lambda here=locations: here.locate_instance(study, series, instance, EVERYTHING))
        print(f"locate one instance, {name:8} {rate:10,.0f}/s")


async def run(url: str, headers: Headers, seconds: float) -> None:
    """Measure everything on one database."""
    await upgrade(url)
    async with await Database.open(url) as database:
        async with database.connection() as connection:
            await connection.execute("create table bare (like instance including all)")
        for tasks in (1, 2, 4):
            await register(database, headers, 200, tasks, seconds)
        await read(database, headers)
        for tasks in (1, 8, 16):
            await register(database, headers, 1, tasks, seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--sizes", type=int, default=20_000, help="instances in the table of sizes; 0: no table")
    arguments = parser.parse_args()
    name, files = load(arguments.folder)
    headers = Headers(files)
    print(f"headers of {name}")
    for instances in (200, 1):
        print(f"build segments of {instances:3}: {build_us(headers, instances):7.1f} µs of CPU an instance")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder)) as postgres:
            asyncio.run(run(postgres.url, headers, arguments.seconds))
            firsts = itertools.count(_SERIES_APART, _SERIES_APART)
            for processes, tasks in ((1, 2), (2, 2), (2, 4)):
                make = [Headers(files, next(firsts)) for _ in range(processes)]
                print_rate(postgres.url, [lambda length, of=each: of.series(length)[0] for each in make], tasks=tasks)
            if arguments.sizes:
                asyncio.run(print_curve(postgres, lambda length: headers.series(length)[0], arguments.sizes))


if __name__ == "__main__":
    main()
