"""The server that the tests of this room share, and the commands a user types."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.running_server import RunningServer, start_server

from dicomweb_archive.cli.main import main

RunCommand = Callable[..., Result]


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for the whole run; each test stores studies of its own."""
    with start_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def run_command(tmp_path: Path) -> RunCommand:
    """Type a command, with a state folder of the test's own."""

    def run(*words: object) -> Result:
        environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "DICOMWEB_ARCHIVE_API_KEY": None}
        return CliRunner().invoke(main, [str(word) for word in words], env=environment)

    return run
