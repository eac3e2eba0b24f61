"""Fixtures that every test room shares."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def _real_data_folder() -> Path | None:
    named = os.environ.get("DICOMWEB_ARCHIVE_TEST_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    return folder if (folder / "manifest.csv").is_file() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real DICOM files; tests that ask for it are skipped where it is absent."""
    folder = _real_data_folder()
    if folder is None:
        pytest.skip("no folder of real DICOM files: set DICOMWEB_ARCHIVE_TEST_DATA")
    return folder
