"""The page of commands says everything that the commands have."""

import re
from pathlib import Path

import click
import pytest

from dicomweb_archive.cli.client import commands

PAGE = Path(__file__).parents[4] / "docs" / "cli.md"


@pytest.mark.parametrize("command", commands, ids=lambda command: str(command.name))
def test_every_option_is_documented_at_its_command(command: click.Command) -> None:
    shared, *sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    own = next(section for section in sections if section.startswith(f"{command.name}\n"))
    parts = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    found = [option for part in parts for option in part.params]
    options = [option for option in found if isinstance(option, click.Option) and not option.hidden]
    missing = [name for option in options for name in option.opts if f"`{name}" not in own + shared]
    assert missing == []
    assert [part.name for part in parts[1:] if str(part.name) not in own] == []
