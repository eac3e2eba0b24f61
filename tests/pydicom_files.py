"""The DICOM files that come with pydicom.

pydicom's own look-ups try to download what they do not find, and wait for it; these never ask anybody.
"""

import io
import warnings
from functools import cache
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file


def bundled_path(name: str) -> Path:
    """Return the path of one of pydicom's own files."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"pydicom does not bundle {name}"
    return Path(path)


def bundled(name: str) -> bytes:
    """Return the bytes of one of pydicom's own files."""
    return bundled_path(name).read_bytes()


@cache
def bundled_paths() -> tuple[Path, ...]:
    """Return all bundled `.dcm` files, those of the character sets too, sorted by name."""
    files = bundled_path("MR_small.dcm").parent
    found = [*files.glob("*.dcm"), *(files.parent / "charset_files").glob("*.dcm")]
    return tuple(sorted(found, key=lambda path: path.name))


@cache
def bundled_names() -> tuple[str, ...]:
    """Return the names of all bundled Part 10 test files, sorted."""
    folder = bundled_path("MR_small.dcm").parent
    return tuple(
        path.name for path in bundled_paths() if path.parent == folder and path.read_bytes()[128:132] == b"DICM"
    )


def read(data: bytes) -> Dataset:
    """Read a file with pydicom, the oracle, without its remarks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(io.BytesIO(data))
