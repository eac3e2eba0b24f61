"""Compare full scan and raw walk with pydicom's read and JSON on the headers of one CT series.

    python -m benchmarks.scanner [--rounds 15] [FOLDER]

FOLDER holds the Part 10 files of one series; without it the real GE CT series of the test data is taken when it
is there, else one is built. Rounds alternate between the contestants, so that a busy machine hits all of them;
each figure is the best round's CPU time. `first seen` scans with empty caches, as the first series after a
start meets it.
"""

import argparse
import io
import logging
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pydicom
from tests.factories import ct_series

from dicomweb_archive.dicom.levels import forget_elements
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.raw_walk import SeriesTemplate

REPOSITORY = Path(__file__).resolve().parents[2]


def load(folder: Path | None) -> tuple[str, list[bytes]]:
    """Return the name and the files of the series to measure."""
    if folder is None:
        named = os.environ.get("DICOMWEB_ARCHIVE_TEST_DATA")
        folder = (Path(named) if named else REPOSITORY.parent / "shared" / "data") / "ct_ge_head"
    files = [path.read_bytes() for path in sorted(folder.glob("*.dcm"))]
    return (folder.name, files) if files else ("built series", ct_series(28, 512, 512))


def header(data: bytes) -> bytes:
    """Cut a file before its pixel data, so that pydicom need not read them."""
    found = scan(data).pixel_data
    return data if found is None else data[: found.offset - 12]


def microseconds(work: Callable[[], object], instances: int) -> float:
    """CPU time of one call, per instance."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e6 / instances


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    name, files = load(arguments.folder)
    headers = [header(data) for data in files]
    template = SeriesTemplate(files[0], scan(files[0]))
    for data in files[1:]:
        if template.walk(data) is None:
            raise SystemExit("the raw walk does not take this series: other layout or encoding")

    def first_seen() -> None:
        for data in files:
            forget_elements()
            scan(data)

    def walk_anew() -> None:
        # Instances repeat from round to round; in an archive they do not.
        forget_elements()
        for data in files[1:]:
            template.walk(data)

    contestants: dict[str, tuple[Callable[[], object], int]] = {
        "pydicom read + to_json_dict": (
            lambda: [pydicom.dcmread(io.BytesIO(h), stop_before_pixels=True).to_json_dict() for h in headers[:4]],
            len(headers[:4]),
        ),
        "full scan, first seen": (first_seen, len(files)),
        "full scan, seen before": (lambda: [scan(data) for data in files], len(files)),
        "raw walk": (walk_anew, len(files) - 1),
    }
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(arguments.rounds):
        for label, (work, instances) in contestants.items():
            best[label] = min(best[label], microseconds(work, instances))
    elements = len(scan(files[0]).base)
    print(f"{name}: {len(files)} instances, {elements} elements, {len(headers[0])} bytes of header")
    peer = next(iter(best.values()))
    for label, figure in best.items():
        print(f"{label:30} {figure:9.1f} us   {peer / figure:7.1f} x")


if __name__ == "__main__":
    main()
