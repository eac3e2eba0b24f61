"""Time the viewer on a CT of 150 slices, from an archive and from its peers in turn.

    python -m benchmarks.viewer [--target NAME=ADDRESS]... [--slices 150] [--pairs 5]

An ADDRESS serves the viewer at `/ohif/` and DICOMweb at `/dicom-web`; every target should serve the same build of the
viewer. Without one an archive is started for the run, with the viewer that is installed. The series is stored where
it is missing. Each round starts a browser of its own, so nothing is cached, and times in the page's own clock:

- first image: from the start of the navigation to the first slice drawn;
- all frames: from there to the last byte of the last frame's answer.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from playwright.sync_api import Page, sync_playwright

from benchmarks.transactions.__main__ import BOUNDARY, archive
from benchmarks.viewer.series import STUDY, iter_series

_FLAGS = (
    "--headless --no-sandbox --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --use-angle=swiftshader --enable-unsafe-swiftshader --ignore-gpu-blocklist"
)
_TIMEOUT_SECONDS = 120.0
# The viewer's events do not bubble, but whoever listens while they go down sees them.
_WATCH = """
    localStorage.setItem('shownTours', '["basicViewerTour"]');
    performance.setResourceTimingBufferSize(5000);
    let loaded = false;
    document.addEventListener('CORNERSTONE_STACK_NEW_IMAGE', () => { loaded = true; }, true);
    document.addEventListener('CORNERSTONE_IMAGE_RENDERED', () => {
        if (loaded) { window.firstImage ??= performance.now(); }
    }, true);
"""
_FRAMES = "performance.getEntriesByType('resource').filter(e => e.name.includes('/frames/') && e.responseEnd > 0)"


class Times(NamedTuple):
    """Seconds of one round."""

    first_image: float
    all_frames: float


def main() -> None:
    """Store the series everywhere, time the targets in turn and print medians and the ratio of each pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", default=[], metavar="NAME=ADDRESS")
    parser.add_argument("--slices", type=int, default=150)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _targets(options.target, Path(folder)) as targets:
        for name, address in targets.items():
            store_series(f"{address}/dicom-web", options.slices)
            time_viewer(address, options.slices)  # once unmeasured: the server's own caches
            print(f"{name}: {options.slices} slices stored, viewer opened", flush=True)
        rounds: dict[str, list[Times]] = {name: [] for name in targets}
        for number in range(options.pairs):
            order = list(targets.items())
            # Whoever comes first in one round comes last in the next.
            for name, address in order if number % 2 == 0 else reversed(order):
                rounds[name].append(time_viewer(address, options.slices))
                print(f"  {name}: {rounds[name][-1]}", flush=True)
        report(rounds)


@contextmanager
def _targets(named: list[str], folder: Path) -> Iterator[dict[str, str]]:
    if named:
        yield {name: address.rstrip("/") for name, _, address in (target.partition("=") for target in named)}
        return
    with archive(folder) as root:
        yield {"archive": root.removesuffix("/dicom-web")}


def store_series(root: str, slices: int) -> None:
    """Store the series unless it is there, some slices a request.

    Raises:
        httpx.HTTPStatusError: the server refused it.
    """
    with httpx.Client(timeout=60, trust_env=False) as client:
        found = client.get(f"{root}/studies/{STUDY}/instances", params={"limit": slices})
        if found.status_code == 200 and len(found.json()) == slices:
            return
        held = list(iter_series(slices))
        for first in range(0, slices, 25):
            parts = b"".join(
                f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + part + b"\r\n"
                for part in held[first : first + 25]
            )
            client.post(
                f"{root}/studies",
                content=parts + f"--{BOUNDARY}--\r\n".encode(),
                headers={
                    "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
                    "Accept": "application/dicom+json",
                },
            ).raise_for_status()


def time_viewer(address: str, slices: int) -> Times:
    """Open the study in a fresh browser and wait for all of it."""
    program = shutil.which("chromium") or sys.exit("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS.split())
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            return _open(page, f"{address}/ohif/viewer?StudyInstanceUIDs={STUDY}", slices)
        finally:
            browser.close()


def _open(page: Page, address: str, slices: int) -> Times:
    page.add_init_script(_WATCH)
    page.goto(address, wait_until="commit")
    _wait_until(page, "window.firstImage !== undefined")
    _wait_until(page, f"new Set({_FRAMES}.map(e => e.name)).size >= {slices}")
    first: float = page.evaluate("window.firstImage")
    last: float = page.evaluate(f"Math.max(...{_FRAMES}.map(e => e.responseEnd))")
    return Times(round(first / 1000, 3), round(last / 1000, 3))


def _wait_until(page: Page, condition: str) -> None:
    """Ask the page from outside: its content security policy lets no text be run as a script inside.

    Raises:
        TimeoutError: it did not become true.
    """
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not page.evaluate(condition):
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        # The times are the page's own, so asking rarely costs no precision and leaves the processor to the page.
        time.sleep(0.1)


def report(rounds: dict[str, list[Times]]) -> None:
    """Print medians of each target, and against the first target the ratio of every pair."""
    base = next(iter(rounds.values()))
    for figure in Times._fields:
        print(figure.replace("_", " "))
        for name, times in rounds.items():
            own = [getattr(one, figure) for one in times]
            ratios = [f"{getattr(b, figure) / o:.2f}" for b, o in zip(base, own, strict=True)]
            against = "" if times is base else f"   first to this: {', '.join(ratios)}"
            print(f"  {name:12} median {statistics.median(own):6.2f} s   least {min(own):6.2f} s{against}")


if __name__ == "__main__":
    main()
