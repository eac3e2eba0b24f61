"""Codestreams that claim more than they hold: refused by each codec, quickly and in little memory."""

import json
import subprocess
import sys

import pytest

from dicomweb_archive.imaging.codestreams import codestream_size

SCRIPT = r"""
import json, struct, time, zlib
import imagecodecs
import numpy as np
from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.decode import decode_frame
from dicomweb_archive.imaging.pixel_format import PixelFormat
from dicomweb_archive.imaging.scaled_decode import decode_scaled

J = "1.2.840.10008.1.2.4"
GREY = PixelFormat(16, 16, 1, 8, 8, 0, "MONOCHROME2", 0, 1)
plain = np.arange(256, dtype="u1").reshape(16, 16)


def jpeg(**options):
    frame = bytearray(imagecodecs.jpeg8_encode(plain, level=90, **options))
    start = next(at for at in (frame.find(bytes([0xFF, 0xC0 + kind])) for kind in range(4)) if at > 0)
    frame[start + 5 : start + 9] = b"\xff\xdc" * 2
    return bytes(frame)


def jpeg_2000(size):
    frame = bytearray(imagecodecs.jpeg2k_encode(plain, codecformat="j2k", reversible=True))
    frame[8:16] = struct.pack(">II", size, size)
    frame[24:32] = struct.pack(">II", size, size)
    return bytes(frame)


def jpeg_ls():
    frame = bytearray(imagecodecs.jpegls_encode(plain))
    start = frame.index(b"\xff\xf7")
    frame[start + 5 : start + 9] = b"\xff\xff" * 2
    return bytes(frame)


def bomb(size):
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return b"".join(deflater.compress(bytes(2**20)) for _ in range(size)) + deflater.flush()


huge_xl = bytes(imagecodecs.jpegxl_encode(np.zeros((3000, 3000), "u1"), lossless=True, effort=1, numthreads=1))
rle = struct.pack("<16I", 1, 64, *[0] * 14)
FRAMES = {
    "JPEG": (f"{J}.50", jpeg()),
    "JPEG, 12 bits": (f"{J}.51", jpeg()),
    "JPEG lossless": (f"{J}.70", jpeg(lossless=True)),
    "retired JPEG": (f"{J}.55", jpeg()),
    "JPEG-LS": (f"{J}.80", jpeg_ls()),
    "JPEG 2000": (f"{J}.90", jpeg_2000(2**31 - 1)),
    "JPEG 2000 of another size": (f"{J}.91", jpeg_2000(20_000)),
    "HTJ2K": (f"{J}.201", jpeg_2000(2**32 - 1)),
    "JPEG XL": (f"{J}.110", huge_xl),
    "deflated": ("1.2.840.10008.1.2.8.1", bomb(40)),
    "RLE": ("1.2.840.10008.1.2.5", rle + b"\x81\x00" * 50_000),
    "RLE segments elsewhere": ("1.2.840.10008.1.2.5", struct.pack("<16I", 15, *[0xFFFFFFF0] * 15) + bytes(64)),
    "nothing": (f"{J}.90", b""),
}
# What is claimed is made before, and one sound frame brings the libraries in.
decode_frame(bytes(imagecodecs.jpegls_encode(plain)), f"{J}.80", GREY)
found = {}
for name, (syntax, frame) in FRAMES.items():
    begun = time.process_time()
    for decode in (decode_frame, lambda *asked: decode_scaled(*asked, (8, 8))):
        try:
            decode(frame, syntax, GREY)
            outcome = "decoded"
        except UndecodableError:
            outcome = "refused"
        if decode is decode_frame:
            first = outcome
    found[name] = [first, time.process_time() - begun]
# What the kernel tells of resources still counts the parent that this process was a copy of.
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([found, int(peak)]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its peak")
def test_codestreams_that_claim_too_much_are_refused_quickly_and_in_little_memory() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    found, peak_kib = json.loads(done.stdout)
    assert len(found) == 13
    # What comes behind the last row of RLE is dropped, as it is by others.
    assert {name for name, (outcome, _) in found.items() if outcome != "refused"} == {"RLE"}
    assert {name: seconds for name, (_, seconds) in found.items() if seconds > 1} == {}
    # Most of it are the libraries.
    assert peak_kib < 160 * 1024


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xf7\x00\x0b\x08\x00\x10\x00\x20" + bytes(8), (16, 32)),
        (b"\xff\x4f\xff\x51" + bytes(4) + b"\0\0\1\0\0\0\2\0\0\0\0\x10\0\0\0\0", (512, 240)),
        (b"\xff\x4f\xff\x51" + bytes(8), None),
        (b"\xff\xd8" + b"\xff" * 5000, None),
        (b"\xff\xd8" + b"\xff\xe0\0\0" * 999, None),
        (b"\xff\xd8\xff\xe0\xff\xff", None),
        (b"\0\0\0\x0cjP  ", None),
        (b"", None),
    ],
)
def test_the_size_stands_in_the_head_of_a_codestream(head: bytes, size: tuple[int, int] | None) -> None:
    assert codestream_size(head) == size
