"""Read one large multipart/related body with our reader and with python-multipart's, in chunks of several sizes.

    python -m benchmarks.multipart [--parts 500] [--part-bytes 524288]

Each figure is the best of five readings, in MB/s of part data.
"""

import argparse
import random
import time
from collections.abc import Callable

from python_multipart.multipart import MultipartParser

from dicomweb_archive.wire.multipart import PartData, PartFraming, PartReader

BOUNDARY = "0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1"


def build_body(parts: int, part_bytes: int) -> bytes:
    """Build parts that look like CT slices: small 16-bit values, so that CR and LF occur as in pixels."""
    generator = random.Random(1)
    pixels = bytes(byte for _ in range(part_bytes // 2) for byte in (generator.randrange(256), generator.randrange(8)))
    framing = PartFraming("application/dicom", BOUNDARY)
    head = framing.head("application/dicom", length=len(pixels))
    return (head + pixels + framing.TAIL) * parts + framing.closing()


def read_with_ours(chunks: list[bytes]) -> int:
    reader = PartReader(BOUNDARY)
    total = 0
    for chunk in chunks:
        for event in reader.feed(chunk):
            if isinstance(event, PartData):
                total += len(event.data)
    reader.finish()
    return total


def read_with_python_multipart(chunks: list[bytes]) -> int:
    total = 0

    def on_data(_data: bytes, start: int, end: int) -> None:
        nonlocal total
        total += end - start

    parser = MultipartParser(BOUNDARY.encode(), {"on_part_data": on_data})
    for chunk in chunks:
        parser.write(chunk)
    parser.finalize()
    return total


def rate(read: Callable[[list[bytes]], int], chunks: list[bytes], expected: int) -> float:
    """Best of five, in MB of part data per second."""
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        assert read(chunks) == expected
        best = min(best, time.perf_counter() - begin)
    return expected / best / 1e6


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=500)
    parser.add_argument("--part-bytes", type=int, default=512 * 1024)
    options = parser.parse_args()
    body = build_body(options.parts, options.part_bytes)
    print(f"{options.parts} parts of {options.part_bytes} bytes; MB/s")
    for kib in (16, 64, 256, 1024):
        size = kib * 1024
        chunks = [body[start : start + size] for start in range(0, len(body), size)]
        expected = options.parts * options.part_bytes
        ours = rate(read_with_ours, chunks, expected)
        theirs = rate(read_with_python_multipart, chunks, expected)
        print(f"chunks of {kib:4} KiB: ours {ours:7,.0f}  python-multipart {theirs:7,.0f}  ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
