"""Measure every retrieve resource from a folder and from S3, beside the bare limits of the same server and store.

    python -m benchmarks.retrieve [--instances 100] [--rounds 5] [--stores folder,s3] [--slow-readers 100]

The archives run as `serve` with one worker, a private PostgreSQL and a folder or a SeaweedFS of their own; `bare` is
the same HTTP server sending one flat file of a series' size, or of a frame's, by a loop of its own, and `flat` is one
that sends it by the archive's streams from the archive's folder. Rounds alternate between all of them, so
that a busy machine hits each alike; figures are medians, ratios are taken within each round. Processor time is that
of the worker alone. Client, server and S3 service share the machine.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from tests.factories import ROOT, ct_series

from benchmarks.retrieve.client import AS_STORED, Kind, Taken, measure
from benchmarks.retrieve.flat import flat_file
from benchmarks.retrieve.limits import largest_object, place_of, raw_read, relay
from benchmarks.retrieve.servers import Server, archive, archive_on_s3
from benchmarks.retrieve.slow import measure_beside_a_stream, measure_slow_readers
from benchmarks.transactions.__main__ import BOUNDARY, Client, bare, multipart
from dicomweb_archive.cli.seaweedfs import SeaweedServer

STUDY = f"/studies/{ROOT}.1"
SERIES = f"{STUDY}/series/{ROOT}.1.1"
STREAMED = f"{STUDY}/series/{ROOT}.1.2"
"""Another series, of which nothing else is asked: so nothing of it is in the block cache."""
JSON = {"Accept": "application/dicom+json"}
SIDE = 512


def kinds(instances: int) -> list[Kind]:
    """Everything that is asked for."""
    paths = [f"{SERIES}/instances/{ROOT}.1.1.{number}" for number in range(1, instances + 1)]
    frames = Kind("frame", [f"{path}/frames/1" for path in paths], headers={"Accept": "application/octet-stream"})
    instance = Kind("instance", paths, headers={"Accept": "application/dicom; transfer-syntax=*"})
    metadata = Kind("series metadata", [f"{SERIES}/metadata"], requests=50, clients=8)
    return [
        Kind("series", [STREAMED], headers={"Accept": AS_STORED}),
        Kind("series, 4 clients", [STREAMED], clients=4, requests=4, headers={"Accept": AS_STORED}),
        Kind("study", [STUDY], headers={"Accept": AS_STORED}),
        Kind("series as zip", [STREAMED], headers={"Accept": "application/zip"}),
        replace(instance, requests=instances),
        replace(instance, name="instance, 8 clients", clients=8, requests=2 * instances),
        replace(frames, requests=instances),
        replace(frames, name="frame, 8 clients", clients=8, requests=2 * instances),
        replace(frames, name="frame, 25 clients", clients=25, requests=2 * instances),
        replace(frames, name="frame, 32 clients", clients=32, requests=2 * instances),
        replace(metadata, headers={**JSON, "Accept-Encoding": "identity"}),
        replace(metadata, name="the same in gzip", headers={**JSON, "Accept-Encoding": "gzip"}),
        Kind("rendered", [f"{path}/rendered" for path in paths], clients=8, requests=40),
    ]


LIMIT_OF = {"series": "flat", "series, 4 clients": "flat, 4 clients", "study": "flat", "series as zip": "flat"}
"""Which bare limit stands beside what; frames and instances have that of a small file."""


_FLAT = "flat file by our streams"


def limits(instances: int) -> list[Kind]:
    """What the bare server is asked for: files of the size of a series and of a frame."""
    return [
        Kind("flat", ["/flat"]),
        Kind("flat, 4 clients", ["/flat"], clients=4, requests=4),
        Kind("frame", ["/small"], requests=instances),
        *(Kind(f"frame, {count} clients", ["/small"], clients=count, requests=2 * instances) for count in (8, 25, 32)),
    ]


@contextmanager
def servers(folder: Path, stores: list[str]) -> Iterator[tuple[list[Server], SeaweedServer | None]]:
    """Run the archives that are measured, on the stores that are asked for."""
    with ExitStack() as opened:
        started: list[Server] = []
        seaweed = None
        if "folder" in stores:
            started.append(opened.enter_context(archive("folder", folder / "on-folder")))
        if "s3" in stores:
            seaweed = opened.enter_context(SeaweedServer(folder / "seaweed", durable=False))
            started.append(opened.enter_context(archive_on_s3("s3", folder / "on-s3", seaweed)))
        yield started, seaweed


def fill(server: Server, *, instances: int, series: int) -> int:
    """Store a study of several series, and return the size of one of them in bytes."""
    related = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    pixels = os.urandom(SIDE * SIDE * 2)
    size = 0
    for number in range(1, series + 1):
        body = multipart(ct_series(instances, study=1, series=number, Rows=SIDE, Columns=SIDE, PixelData=pixels))
        Client(server.root).ask("POST", "/studies", body=body, Content_Type=related)
        size = len(body)
    return size


def compare(asked: list[tuple[str, Callable[[], Taken]]], rounds: int) -> dict[str, list[Taken]]:
    """Take everything in turn, `rounds` times, after one round that counts for nothing."""
    taken: dict[str, list[Taken]] = {name: [] for name, _ in asked}
    for number in range(rounds + 1):
        for name, take in asked:
            found = take()
            if number:
                taken[name].append(found)
    return taken


def report(taken: dict[str, list[Taken]], stores: list[str], asked: list[Kind]) -> None:
    """Print a row for each kind and store."""
    print(f"{'':>8}  {'':<22} {'MB/s':>8} {'1/s':>8} {'CPU ms/MB':>10}  beside its limit")
    for kind in asked:
        for store in stores:
            found = taken[f"{store} {kind.name}"]
            rate = statistics.median(each.size_bytes / each.seconds / 1e6 for each in found)
            often = statistics.median(each.requests / each.seconds for each in found)
            cost = statistics.median(each.processor_seconds / each.size_bytes * 1e9 for each in found)
            limit = taken.get(f"bare {LIMIT_OF.get(kind.name, kind.name)}")
            print(f"{store:>8}  {kind.name:<22} {rate:8.0f} {often:8.1f} {cost:10.2f}  {_beside(found, limit)}")
    for store in stores:
        ratio = _beside(taken[f"{store} series"], taken[_FLAT])
        print(f"series from {store} beside a flat file by the same streams: {ratio}")
    for name in sorted(name for name in taken if name.startswith(("bare", "raw", "flat", "relay"))):
        rate = statistics.median(each.size_bytes / each.seconds / 1e6 for each in taken[name])
        print(f"{'limit':>8}  {name:<22} {rate:8.0f}")
    if raw := taken.get("raw read of the pack"):
        print(f"series from S3 beside the raw ranged read: {_beside(taken['s3 series'], raw)}")
        # The server's hop costs everybody: what is left is to be seen beside servers that do nothing else.
        for name in ("relay of the raw read", "relay of a GET per instance"):
            print(f"series from S3 beside the {name}: {_beside(taken['s3 series'], taken[name])}")


def _beside(found: list[Taken], limit: list[Taken] | None) -> str:
    if limit is None:
        return ""
    ratios = [
        (ours.size_bytes / ours.seconds) / (theirs.size_bytes / theirs.seconds)
        for ours, theirs in zip(found, limit, strict=True)
    ]
    return f"{statistics.median(ratios):.2f}"


def run(arguments: argparse.Namespace, folder: Path) -> None:
    """Fill the stores, measure, and print."""
    stores = arguments.stores.split(",")
    with ExitStack() as opened, servers(folder, stores) as (started, seaweed), bare(folder) as bare_root:
        size = 0
        for server in started:
            size = fill(server, instances=arguments.instances, series=arguments.series)
        (folder / "flat").write_bytes(os.urandom(size))
        (folder / "small").write_bytes(os.urandom(SIDE * SIDE * 2))
        flat = Server("bare", bare_root.url, bare_root.pid)
        by_streams = opened.enter_context(flat_file(folder))
        asked = kinds(arguments.instances)
        takes = [(f"bare {kind.name}", _take(flat, kind)) for kind in limits(arguments.instances)]
        takes += [(f"{server.name} {kind.name}", _take(server, kind)) for kind in asked for server in started]
        takes.append((_FLAT, _take(by_streams, Kind("flat", ["/"]))))
        if seaweed is not None:
            takes += opened.enter_context(_on_s3(seaweed, arguments.instances))
        report(compare(takes, arguments.rounds), [server.name for server in started], asked)
        other = f"{SERIES}/instances/{ROOT}.1.1.1/metadata"
        for server in started:
            measure_beside_a_stream(server, SERIES, other, seconds=arguments.seconds / 4)
            measure_slow_readers(
                server,
                STUDY,
                other,
                count=arguments.slow_readers,
                bytes_per_second=arguments.slow_rate,
                seconds=arguments.seconds,
            )


def _take(server: Server, kind: Kind) -> Callable[[], Taken]:
    return lambda: measure(server, kind)


@contextmanager
def _on_s3(seaweed: SeaweedServer, instances: int) -> Iterator[list[tuple[str, Callable[[], Taken]]]]:
    """Give what stands beside a series from S3: the raw read, and servers that pass it on and do nothing else."""
    place = place_of(seaweed)
    key, size = asyncio.run(largest_object(place))

    def take() -> Taken:
        seconds, processor_seconds = raw_read(place, key, size)
        return Taken(1, size, seconds, processor_seconds)

    with relay(place, key, size, step=-(-size // instances)) as server:
        yield [
            ("raw read of the pack", take),
            ("relay of the raw read", _take(server, Kind("", ["/whole"]))),
            ("relay of a GET per instance", _take(server, Kind("", ["/each"]))),
        ]


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=100, help="of 512x512 in each series")
    parser.add_argument("--series", type=int, default=2, help="of the study, two or more; 19 of 100 instances are 1 GB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stores", default="folder,s3")
    parser.add_argument("--slow-readers", type=int, default=100)
    parser.add_argument("--slow-rate", type=int, default=200_000, help="bytes a second of each slow reader")
    parser.add_argument("--seconds", type=float, default=16, help="that the slow readers read")
    with tempfile.TemporaryDirectory() as name:
        run(parser.parse_args(), Path(name))


if __name__ == "__main__":
    main()
