"""Build archives of several sizes and time every kind of search on each, at several numbers of clients.

    python -m benchmarks.search_scale --sizes 100000,1000000 --keep FOLDER [--results results.json]

An archive is built once, in FOLDER, and started again by later runs; without FOLDER it is gone at the end. The
results are one JSON file, and beside it the same as a Markdown table and as a chart.
"""

import argparse
import asyncio
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.search_scale.archives import archive_of
from benchmarks.search_scale.headers import Shape
from benchmarks.search_scale.kinds import KINDS
from benchmarks.search_scale.measure import measure
from benchmarks.search_scale.report import bytes_an_instance, write_report

SHAPES = {"classic": Shape(), "small": Shape(series_length=3, series_per_study=2)}


def main() -> None:
    """Build, measure, report."""
    arguments = _arguments()
    shape = SHAPES[arguments.shape]
    if arguments.series_length:
        shape = Shape(arguments.series_length, shape.series_per_study)
    runs = []
    temporary = tempfile.TemporaryDirectory(prefix="dwa-scale-") if arguments.keep is None else None
    with temporary or nullcontext(arguments.keep) as kept:
        for instances in arguments.sizes:
            runs.append(_run(Path(kept), instances, shape, arguments))
            if arguments.results:
                write_report(arguments.results, runs)


def _run(kept: Path, instances: int, shape: Shape, arguments: argparse.Namespace) -> dict[str, Any]:
    print(f"{instances:,} instances, series of {shape.series_length}, {shape.series_per_study} a study", flush=True)
    opened = archive_of(kept, instances, shape, sample=arguments.sample, workers=arguments.workers)
    with opened as (url, archive, built):
        print("  " + bytes_an_instance(built, instances))
        timings = asyncio.run(
            measure(
                url,
                archive,
                kinds=arguments.kinds or list(KINDS),
                clients=arguments.clients,
                searches=arguments.searches,
                seconds=arguments.seconds,
            )
        )
    return {"instances": instances, "built": built, "timings": [timing.as_json() for timing in timings]}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=_numbers, default=[100_000, 1_000_000], help="instances, comma separated")
    parser.add_argument("--keep", type=Path, help="folder of the archives; needs 6 GB for ten million instances")
    parser.add_argument("--shape", choices=SHAPES, default="classic")
    parser.add_argument("--series-length", type=int, help="1 to 500; by itself it follows from the shape")
    parser.add_argument("--clients", type=_numbers, default=[1, 8, 32])
    parser.add_argument("--kinds", type=_kinds, help="names of kinds, comma separated")
    parser.add_argument("--searches", type=int, default=120, help="of each kind and number of clients")
    parser.add_argument("--seconds", type=float, default=4, help="longest time for them")
    parser.add_argument("--sample", type=int, default=20, help="studies that go through the register")
    parser.add_argument("--workers", type=int, default=2, help="processes that build")
    parser.add_argument("--results", type=Path, help="JSON file to write")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(number.replace("_", "")) for number in text.split(",")]


def _kinds(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := set(names) - set(KINDS):
        raise argparse.ArgumentTypeError(f"there is no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    return names


if __name__ == "__main__":
    main()
