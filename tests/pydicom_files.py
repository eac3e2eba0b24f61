"""The DICOM files that come with pydicom, never fetched from anywhere."""

import io
import warnings
from functools import cache
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file


def bundled(name: str) -> bytes:
    """Return the bytes of one of pydicom's own files."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"pydicom does not bundle {name}"
    return Path(path).read_bytes()


@cache
def bundled_names() -> tuple[str, ...]:
    """Return the names of all bundled Part 10 files, sorted."""
    anchor = get_testdata_file("MR_small.dcm", download=False)
    assert isinstance(anchor, str)
    files = Path(anchor).parent.glob("*.dcm")
    return tuple(sorted(file.name for file in files if file.read_bytes()[128:132] == b"DICM"))


def read(data: bytes) -> Dataset:
    """Read a file with pydicom, the oracle, without its remarks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(io.BytesIO(data))
