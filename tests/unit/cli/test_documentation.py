"""The pages say what `serve`, `viewer` and `database` take."""

from pathlib import Path

import click
import pytest

from dicomweb_archive.cli.database import database
from dicomweb_archive.cli.serve import serve
from dicomweb_archive.cli.viewer import viewer

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", sorted(database.commands))
def test_every_database_command_is_explained(name: str) -> None:
    assert f"dicomweb-archive database {name}" in (DOCS / "operations.md").read_text("utf-8")
    options = [option for option in database.commands[name].params if isinstance(option, click.Option)]
    for flag in (flag for option in options for flag in option.opts):
        assert flag in (DOCS / "operations.md").read_text("utf-8")


def test_every_option_of_serve_stands_in_its_usage() -> None:
    usage = (DOCS / "cli.md").read_text("utf-8").partition("dicomweb-archive serve [")[2].partition("```")[0]
    flags = [flag for option in serve.params for flag in option.opts]
    assert [flag for flag in flags if flag not in usage] == []


@pytest.mark.parametrize("name", sorted(viewer.commands))
def test_every_viewer_command_and_its_options_are_explained(name: str) -> None:
    page = (DOCS / "cli.md").read_text("utf-8")
    (usage,) = [line for line in page.splitlines() if line.startswith(f"dicomweb-archive viewer {name}")]
    options = [option for option in viewer.commands[name].params if isinstance(option, click.Option)]
    assert [flag for option in options for flag in option.opts if flag not in usage] == []
