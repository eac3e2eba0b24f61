"""What every test room shares: real data, the folder for temporary files, and the mode in which a skip is a failure."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clusters import keep_cluster_until_the_end
from tests.scratch import use_scratch_folder

REPOSITORY = Path(__file__).resolve().parent.parent
STRICT = bool(os.environ.get("DICOMWEB_ARCHIVE_TEST_STRICT"))
_LONG_FILES_FIRST = ("browser", "interop", "unit", "component")


def real_data_folder() -> Path | None:
    """The folder of real DICOM files (with its `manifest.csv`), or None where there is none."""
    named = os.environ.get("DICOMWEB_ARCHIVE_TEST_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    return folder if (folder / "manifest.csv").is_file() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real DICOM files; tests that ask for it carry the marker `real_data`."""
    folder = real_data_folder()
    assert folder is not None, "a test that uses real_data must carry the marker real_data"
    return folder


def pytest_configure(config: pytest.Config) -> None:
    """Let this process and those that it starts make their temporary files in memory, where there is room."""
    # A process of xdist's has been started with its environment.
    if not hasattr(config, "workerinput"):
        use_scratch_folder()
        keep_cluster_until_the_end()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for garbage neither while tests are collected nor ever among what that has made: there is none."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark unit tests as such: there are runs of all others."""
    if _room_of(item) == "unit":
        item.add_marker("unit")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests of real data out where there are none, and put rooms with long files first.

    Tests of real data add to the suite, nothing depends on them. A long file at the end would leave one process alone
    with it. Within a room the order stays random.
    """
    items.sort(key=_place_of_room)
    if real_data_folder() is not None:
        return
    left_out = [item for item in items if item.get_closest_marker("real_data")]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker("real_data")]
        config.hook.pytest_deselected(items=left_out)


def _place_of_room(item: pytest.Item) -> int:
    room = _room_of(item)
    return _LONG_FILES_FIRST.index(room) if room in _LONG_FILES_FIRST else len(_LONG_FILES_FIRST)


def _room_of(item: pytest.Item) -> str:
    return item.path.relative_to(REPOSITORY / "tests").parts[0]


def pytest_report_header() -> str:
    """Say loudly which mode this is."""
    data = "with real data" if real_data_folder() else "WITHOUT REAL DATA (set DICOMWEB_ARCHIVE_TEST_DATA)"
    return f"dicomweb-archive: {data}; " + ("a skip is a failure" if STRICT else "what is missing here is skipped")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """In strict mode a skipped test has failed: something that should have been installed is missing."""
    report = yield
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and skips are failures here: {report.longrepr}"
    return report
