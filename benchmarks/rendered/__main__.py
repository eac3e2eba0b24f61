"""Compare pictures with what pydicom and Pillow make of the same instances, and count them over HTTP.

    python -m benchmarks.rendered [--rounds 5] [--seconds 3] [--clients 8]

First the worker's part alone, in one process: the plain way reads the header with pydicom and computes every pixel,
as the archive did before it had tables; "pydicom + Pillow" is what a script does with a file. Contestants take
turns, the best round counts. Then requests a second from an archive with one worker: thumbnails never drawn before,
thumbnails drawn before, and rendered instances.
"""

import argparse
import http.client
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.uid import JPEGBaseline8Bit
from tests.factories import ROOT, image, part10

from benchmarks.transactions.__main__ import BOUNDARY, Client, archive, multipart
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.imaging.display_tables import DisplayTables
from dicomweb_archive.imaging.pixel_format import pixel_format_of
from dicomweb_archive.imaging.render import Picture, StoredFrame, render, render_stored

SIZE = (256, 256)
SERIES, SLICES = 12, 20


def scene(side: int, seed: int) -> np.ndarray:
    """Return a smooth scene with noise, in 12 bits: neither pure noise nor nothing, so that codecs have work."""
    rows, columns = np.mgrid[:side, :side]
    smooth = 1100 + 700 * np.sin(columns / 40 + seed) * np.cos(rows / 30)
    noise = np.random.default_rng(seed).normal(0, 20, (side, side))
    return (smooth + noise).clip(0, 4095).astype("<u2")


def ct(number: int, *, series: int = 1, side: int = 512) -> bytes:
    """Return a CT slice."""
    pixels = scene(side, number).tobytes()
    return part10(image(rows=side, columns=side, series=series, instance=number, PixelData=pixels))


def ultrasound() -> bytes:
    """Return a colour image in JPEG."""
    grey = (scene(1024, 3) >> 4).astype(np.uint8)
    frame = io.BytesIO()
    Image.fromarray(np.stack([grey, grey // 2, grey // 3], axis=-1)).save(frame, "JPEG", quality=90)
    dataset = image(rows=1024, columns=1024, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422")
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PlanarConfiguration = 7, 0
    dataset.PixelData = encapsulate([frame.getvalue()])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    return part10(dataset, JPEGBaseline8Bit)


def worker(data: bytes, picture: Picture) -> Callable[[], bytes]:
    """Return what draws as the archive's worker does: the index knows where the frame lies."""
    scanned = scan(data)
    stored = scanned.pixel_data
    assert stored is not None
    start, length = stored.fragments[0] if stored.encapsulated else (stored.offset, stored.length)
    syntax = scanned.transfer_syntax_uid if stored.encapsulated else None
    pixels = pixel_format_of(scanned.attributes())
    frame = StoredFrame(data[start : start + length], syntax, pixels, stored.tag, 1)
    tables = DisplayTables()
    return lambda: render_stored(data[: stored.offset], frame, picture, tables)


def plainly(data: bytes, picture: Picture) -> bytes:
    """Draw pixel by pixel, from a header that pydicom reads."""
    return render(pixel_array(io.BytesIO(data), index=0), dcmread(io.BytesIO(data)), picture)


def by_script(data: bytes, picture: Picture) -> bytes:
    """Draw as most scripts do."""
    dataset = dcmread(io.BytesIO(data))
    values = dataset.pixel_array
    if values.ndim == 2:
        values = apply_voi_lut(apply_modality_lut(values, dataset), dataset)
        values = ((values - values.min()) / (values.max() - values.min()) * 255).astype(np.uint8)
    shown = Image.fromarray(values)
    if picture.size is not None:
        shown.thumbnail(picture.size)
    target = io.BytesIO()
    shown.save(target, "JPEG", quality=90)
    return target.getvalue()


def compare(rounds: int) -> None:
    """Print what one picture costs, in processor time."""
    images = {"CT 512x512": ct(1), "CR 2048x2048": ct(2, side=2048), "US JPEG 1024x1024": ultrasound()}
    for label, data in images.items():
        for what, picture in (("rendered", Picture()), ("thumbnail", Picture(size=SIZE, enlarge=False))):
            contestants: dict[str, Callable[[], bytes]] = {
                "ours": worker(data, picture),
                "plain": partial(plainly, data, picture),
                "pydicom + Pillow": partial(by_script, data, picture),
            }
            best = dict.fromkeys(contestants, float("inf"))
            for _ in range(rounds):
                for name, draw in contestants.items():
                    best[name] = min(best[name], milliseconds(draw))
            others = "   ".join(f"{n} {b:6.2f} ms = {b / best['ours']:4.1f} x" for n, b in list(best.items())[1:])
            print(f"{label:18} {what:10} ours {best['ours']:6.2f} ms   {others}")


def milliseconds(draw: Callable[[], bytes], times: int = 5) -> float:
    """Return the processor time of one call."""
    begin = time.process_time()
    for _ in range(times):
        draw()
    return (time.process_time() - begin) / times * 1e3


def paths(kind: str) -> list[str]:
    """Return the resources of the stored study."""
    instances = [
        f"/studies/{ROOT}.1/series/{ROOT}.1.{series}/instances/{ROOT}.1.{series}.{number}"
        for series in range(1, SERIES + 1)
        for number in range(1, SLICES + 1)
    ]
    return [path + kind for path in instances]


def per_second(root: str, targets: list[str], clients: int, seconds: float | None) -> float:
    """Ask for all targets once, or for so many seconds over and over; return requests a second."""
    address = urlsplit(root)
    begin = time.perf_counter()
    turns: Iterator[str] = iter(targets) if seconds is None else cycle(targets)

    def work() -> int:
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        done = 0
        while (seconds is None or time.perf_counter() - begin < seconds) and (path := next(turns, None)) is not None:
            connection.request("GET", address.path + path, headers={"Accept": "image/jpeg"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status}")
            done += 1
        connection.close()
        return done

    with ThreadPoolExecutor(clients) as pool:
        total = sum(job.result() for job in [pool.submit(work) for _ in range(clients)])
    return total / (time.perf_counter() - begin)


def serve(seconds: float, clients: int) -> None:
    """Store a study and print how many pictures of it can be had."""
    with tempfile.TemporaryDirectory() as name, archive(Path(name)) as root:
        related = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        for series in range(1, SERIES + 1):
            body = multipart([ct(number, series=series) for number in range(1, SLICES + 1)])
            Client(root).ask("POST", "/studies", body=body, Content_Type=related)
        per_second(root, paths("/rendered")[:20], clients, None)
        thumbnails = paths("/thumbnail")
        levels = [f"/studies/{ROOT}.1/series/{ROOT}.1.{series}/thumbnail" for series in range(1, SERIES + 1)]
        figures = {
            "thumbnails of instances, cold": per_second(root, thumbnails, clients, None),
            "thumbnails of instances, warm": per_second(root, thumbnails, clients, seconds),
            "thumbnails of series, first": per_second(root, [*levels, f"/studies/{ROOT}.1/thumbnail"], clients, None),
            "thumbnails of series, warm": per_second(root, levels, clients, seconds),
            "rendered instances": per_second(root, paths("/rendered"), clients, seconds),
        }
    for what, figure in figures.items():
        print(f"{what:30} {figure:8.0f} 1/s   ({clients} clients, one worker)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    compare(arguments.rounds)
    serve(arguments.seconds, arguments.clients)


if __name__ == "__main__":
    main()
