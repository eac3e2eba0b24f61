"""Programs that some tests need from the machine: skipped loudly where absent, required in strict mode."""

import os
import shutil

import pytest

STRICT = "DICOMWEB_ARCHIVE_TEST_STRICT"


def need_program(name: str) -> str:
    """Return the path of a program; without it the test is skipped, or fails when a skip is not allowed."""
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"SKIPPED FOR WANT OF A PROGRAM: {name} is not installed on this machine"
    if os.environ.get(STRICT):
        pytest.fail(f"{reason}, and {STRICT} is set")
    pytest.skip(reason)
