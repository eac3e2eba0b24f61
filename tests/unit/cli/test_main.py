"""The command tree: what it lists is there, and listing it is cheap."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from dicomweb_archive.cli.main import main

COMMANDS = main.list_commands(click.Context(main))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_listed_command_exists_under_its_name(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name


def test_an_unknown_command_is_a_wrong_command_line() -> None:
    assert CliRunner().invoke(main, ["no-such-command"]).exit_code == 2


def test_help_lists_every_command_without_reading_their_modules() -> None:
    code = (
        "import sys; from dicomweb_archive.cli.main import main; main(['--help'], standalone_mode=False);"
        "print([name for name in sys.modules if name.split('.')[0] in ('httpx', 'pydicom', 'sqlalchemy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *lines, libraries = done.stdout.splitlines()
    assert libraries == "[]"
    assert set(COMMANDS) <= {line.split()[0] for line in lines if line.strip()}
