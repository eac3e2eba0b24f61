"""The process that decodes: hostile pixels meet the codecs here, far from the archive's memory and secrets.

Speaks on its standard streams, one job after the other: a head of two lengths, a JSON object, a payload. Answers
are plain bytes too, never pickles, so that a process that was taken over cannot hand code to its parent.
"""

import ctypes
import io
import os
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO

import orjson
from pydicom import dcmread

from dicomweb_archive.dicom.report import read_report
from dicomweb_archive.errors import ArchiveError
from dicomweb_archive.imaging.decode import decode_frame
from dicomweb_archive.imaging.display_elements import parse_header
from dicomweb_archive.imaging.display_tables import DisplayTables
from dicomweb_archive.imaging.encode import encode_frame
from dicomweb_archive.imaging.gif_animation import frame_milliseconds
from dicomweb_archive.imaging.picture import Picture
from dicomweb_archive.imaging.pixel_format import PixelFormat
from dicomweb_archive.imaging.render import StoredFrame, render_stored
from dicomweb_archive.imaging.sent_pictures import read_picture
from dicomweb_archive.imaging.transcode import EXPLICIT_VR_LITTLE_ENDIAN, to_compressed, to_explicit_little_endian
from dicomweb_archive.wire.report_pages import write_report

HEAD = struct.Struct(">IQ")
"""Lengths of the JSON object and of the payload that follow."""

PICTURE_HEAD = struct.Struct(">Q")
"""What the payload of a picture begins with: the length of the attributes, behind which the frame follows."""

_PR_SET_PDEATHSIG = 1
_TABLES = DisplayTables()
_Answer = tuple[dict[str, Any], bytes]


def _decode_frame(arguments: dict[str, Any], payload: bytes) -> _Answer:
    pixels = PixelFormat(*arguments["pixels"])
    decoded, photometric_interpretation = decode_frame(payload, arguments["transfer_syntax"], pixels)
    return {"photometric_interpretation": photometric_interpretation}, decoded


def _encode_frame(arguments: dict[str, Any], payload: bytes) -> _Answer:
    pixels = PixelFormat(*arguments["pixels"])
    encoded, photometric_interpretation = encode_frame(payload, arguments["source"], pixels, arguments["target"])
    return {"photometric_interpretation": photometric_interpretation}, encoded


def _transcode(arguments: dict[str, Any], payload: bytes) -> _Answer:
    syntax = arguments["transfer_syntax"]
    if syntax == EXPLICIT_VR_LITTLE_ENDIAN:
        return {}, to_explicit_little_endian(payload)
    return {}, to_compressed(payload, syntax)


def _render(arguments: dict[str, Any], payload: bytes) -> _Answer:
    end = PICTURE_HEAD.size + PICTURE_HEAD.unpack_from(payload)[0]
    head = payload[PICTURE_HEAD.size : end]
    frame = StoredFrame(
        # Codecs want bytes; native pixels are looked at where they lie.
        payload[end:] if arguments["transfer_syntax"] else memoryview(payload)[end:],
        arguments["transfer_syntax"],
        PixelFormat(*arguments["pixels"]),
        arguments["tag"],
        arguments["number"],
    )
    # JSON has no tuples.
    described: dict[str, Any] = arguments["picture"]
    wanted: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in described.items()}
    picture = Picture(**wanted)
    results = {"milliseconds": frame_milliseconds(parse_header(head))} if picture.timed else {}
    return results, render_stored(head, frame, picture, _TABLES)


def _report(arguments: dict[str, Any], payload: bytes) -> _Answer:
    return {}, write_report(read_report(dcmread(io.BytesIO(payload))), arguments["media_type"])


def _read_picture(arguments: dict[str, Any], payload: bytes) -> _Answer:
    described, pixels = read_picture(payload)
    return dict(described), pixels


JOBS: dict[str, Callable[[dict[str, Any], bytes], _Answer]] = {
    "decode_frame": _decode_frame,
    "encode_frame": _encode_frame,
    "transcode": _transcode,
    "render": _render,
    "report": _report,
    "read_picture": _read_picture,
}
"""What a worker can do: (arguments, payload) -> (results, payload)."""


def write_message(stream: BinaryIO, described: dict[str, Any], payload: bytes) -> None:
    """Write one message and flush it."""
    head = orjson.dumps(described)
    stream.write(HEAD.pack(len(head), len(payload)) + head)
    stream.write(payload)
    stream.flush()


def read_message(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Read one message; `None` when the parent has closed the stream."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    described_length, payload_length = HEAD.unpack(head)
    described = orjson.loads(stream.read(described_length))
    payload = stream.read(payload_length)
    return (described, payload) if len(payload) == payload_length else None


def perform(described: dict[str, Any], payload: bytes) -> _Answer:
    """Do one job; what goes wrong is an answer."""
    try:
        results, answer = JOBS[described["job"]](described["arguments"], payload)
    except ArchiveError as error:
        return {"error": str(error)}, b""
    except MemoryError:
        return {"error": "decoding needs more memory than a decoding process may use", "spent": True}, b""
    # Codecs raise whatever fits them; the texts may hold values of a data set, so only the kind is told.
    except Exception as error:  # noqa: BLE001
        return {"error": f"the stored instance cannot be decoded ({type(error).__name__})"}, b""
    return {"results": results}, answer


def _confine(memory_bytes: int) -> None:
    if sys.platform == "linux":
        # A parent that is killed cannot end its workers itself.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def main() -> None:
    """Serve jobs until the parent closes the stream or dies."""
    parent, memory_bytes = int(sys.argv[1]), int(sys.argv[2])
    _confine(memory_bytes)
    if os.getppid() != parent:
        return
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a codec prints must not end up among the answers.
    os.dup2(2, 1)
    while (message := read_message(sys.stdin.buffer)) is not None:
        described, payload = perform(*message)
        del message
        write_message(answers, described, payload)


if __name__ == "__main__":
    main()
