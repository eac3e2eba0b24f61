"""Ask for the same series stored one by one and in batches: as they came, and after merging and compaction.

    python -m benchmarks.store.after [--instances 200] [--rounds 5]

An archive of its own with one worker; merging and compaction are asked for at once instead of after an hour's quiet.
The ratio is the median time of what was stored one by one to that of what was stored in batches, asked for in turn.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.retrieve.client import AS_STORED, Connection, connections
from benchmarks.store.client import Cell, store
from benchmarks.store.servers import StoreServer, archive
from benchmarks.store.shapes import Shape
from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.upkeep.merging import SegmentMerger
from dicomweb_archive.index.writing.compaction import CompactionIndex
from dicomweb_archive.services.compaction import Compacted, CompactionService
from dicomweb_archive.storage.filesystem import FolderStore

_JSON = {"Accept": "application/dicom+json", "Accept-Encoding": "identity"}
_ASKED_EACH_ROUND = 5
_MIB = 1024 * 1024


def fill(server: StoreServer, shape: Shape) -> tuple[str, str]:
    """Store one series in single requests and one in one; return the paths of both."""
    paths = []
    for batch, clients in ((1, 4), (shape.study_length, 1)):
        study = server.studies[0]
        store(server, Cell(shape, batch, clients, shape.study_length))
        paths.append(shape.series_path(study=study))
    return paths[0], paths[1]


def questions(series: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Return what is asked of a series."""
    study, _, uid = series.removeprefix("/studies/").partition("/series/")
    return {
        "instances of the series": (f"{series}/instances", _JSON),
        "an instance by its number": (f"{series}/instances?InstanceNumber=7", _JSON),
        "the series by its UID": (f"/series?SeriesInstanceUID={uid}", _JSON),
        "the study by its UID": (f"/studies?StudyInstanceUID={study}", _JSON),
        "metadata": (f"{series}/metadata", _JSON),
        "series stream": (series, {"Accept": AS_STORED}),
    }


def measure(connection: Connection, pair: Sequence[str], rounds: int) -> dict[str, float]:
    """Ask for both series in turn; return by question the median time of the first to that of the second."""
    asked = [questions(series) for series in pair]
    ratios = {}
    for name in asked[0]:
        taken: list[list[float]] = [[], []]
        for _ in range(rounds * _ASKED_EACH_ROUND):
            for number, of_series in enumerate(asked):
                path, headers = of_series[name]
                begun = time.perf_counter()
                connection.get(path, headers)
                taken[number].append(time.perf_counter() - begun)
        ratios[name] = statistics.median(taken[0]) / statistics.median(taken[1])
    return ratios


async def look_after(folder: Path, *, pack_bytes: int = 512 * _MIB) -> Compacted:
    """Merge and compact what the archive of this data folder holds, as if it had been quiet for long."""
    url = EmbeddedPostgres(folder).running_url()
    assert url is not None
    objects = await FolderStore.open_folder(folder / "objects")
    done = Compacted()

    async def report(total: Compacted) -> None:
        nonlocal done
        done = total

    async with await Database.open(url) as database:
        await SegmentMerger(database, quiet_seconds=0, cold_seconds=0).merge()
        await CompactionService(
            CompactionIndex(database),
            objects,
            pack_bytes=pack_bytes,
            pack_instances=1000,
            grace_seconds=24 * 3600,
            quiet_seconds=0,
        ).work(report)
    await objects.close()
    return done


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=200, help="of each series")
    parser.add_argument("--side", type=int, default=256, help="rows and columns")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    shape = Shape("series", arguments.side, series_length=arguments.instances, series_of_study=1)
    quiet = {"MAINTENANCE_INTERVAL_SECONDS": "0", "COMPACTION_INTERVAL_SECONDS": "0"}
    with tempfile.TemporaryDirectory() as name, archive("folder", Path(name), workers=1, **quiet) as server:
        pair = fill(server, shape)
        with connections(server.root, 1) as (connection,):
            before = measure(connection, pair, arguments.rounds)
            done = asyncio.run(look_after(Path(name)))
            after = measure(connection, pair, arguments.rounds)
    print(f"{arguments.instances} instances stored one by one: {done.packs_before} packs became {done.packs_after}")
    print(f"{'time beside the same stored in one batch':<42} {'as they came':>13} {'looked after':>13}")
    for question in before:
        print(f"{question:<42} {before[question]:13.2f} {after[question]:13.2f}")


if __name__ == "__main__":
    main()
