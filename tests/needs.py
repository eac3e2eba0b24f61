"""What tests may need from the machine: without it they are skipped loudly, or fail in strict mode."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from dicomweb_archive.settings import default_viewer_folder

STRICT = "DICOMWEB_ARCHIVE_TEST_STRICT"


def need_program(name: str) -> str:
    """Return the path of a program; without it the test is skipped, or fails when a skip is not allowed."""
    path = shutil.which(name)
    if path is None:
        _do_without(f"A PROGRAM: {name} is not installed on this machine")
    return path


def need_viewer() -> Path:
    """Return the folder of the installed viewer; without one the test is skipped, or fails when it may not be."""
    folder = default_viewer_folder()
    if not (folder / "index.html").is_file():
        _do_without("THE VIEWER: `dicomweb-archive viewer install` installs it")
    return folder


def _do_without(missing: str) -> NoReturn:
    reason = f"SKIPPED FOR WANT OF {missing}"
    if os.environ.get(STRICT):
        pytest.fail(f"{reason}, and {STRICT} is set")
    pytest.skip(reason)
