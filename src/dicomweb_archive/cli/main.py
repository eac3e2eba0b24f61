"""The command tree: `dicomweb-archive COMMAND`. Each command's module is read only when it is asked for."""

import gc
import importlib
import os
import sys
from typing import NamedTuple

import click

from dicomweb_archive.errors import ArchiveError


class _Home(NamedTuple):
    """Where a command lives, and its line in the list of commands."""

    module: str
    summary: str


_CLIENT = "dicomweb_archive.cli.client"
_COMMANDS = {
    "serve": _Home("dicomweb_archive.cli.serve", "Run the archive in the foreground."),
    "worker": _Home("dicomweb_archive.cli.jobs", "Do the archive's jobs, where `serve` leaves them to others."),
    "store": _Home(_CLIENT, "Store DICOM files: folders, files and ZIP archives."),
    "submit": _Home(_CLIENT, "Submit a folder for review, announced before it is sent."),
    "search": _Home(_CLIENT, "Search for studies, series or instances by attributes."),
    "tags": _Home(_CLIENT, "List the attributes that an archive holds."),
    "download": _Home(_CLIENT, "Download what a search finds, or what UIDs name."),
    "collections": _Home(_CLIENT, "List, make and change collections."),
    "curate": _Home(_CLIENT, "Decide on what waits in quarantine, and publish it."),
    "webhooks": _Home(_CLIENT, "Have changes sent to URLs."),
    "demo": _Home(_CLIENT, "Store generated studies of a head phantom."),
    "keys": _Home("dicomweb_archive.cli.keys", "Give keys to people and programs."),
    "database": _Home("dicomweb_archive.cli.database", "Look after the archive's database."),
    "events": _Home("dicomweb_archive.cli.events", "Verify the log of all changes."),
    "viewer": _Home("dicomweb_archive.cli.viewer", "Look after the viewer that the archive serves."),
}


class _CommandTree(click.Group):
    """A group whose commands live in modules of their own, each with a list `commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Asking each command for its line would read all modules: two seconds instead of a tenth.
        with formatter.section("Commands"):
            formatter.write_dl([(name, home.summary) for name, home in _COMMANDS.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        # Read late: a client command needs no server, and `--help` of one command none of the others.
        # Nothing of what is read is garbage, and looking for some takes a fifth of the time.
        gc.disable()
        try:
            module = importlib.import_module(_COMMANDS[cmd_name].module)
        finally:
            gc.enable()
        commands: list[click.Command] = module.commands
        return next((command for command in commands if command.name == cmd_name), None)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ArchiveError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_CommandTree, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dicomweb-archive")
def main() -> None:
    """Keep DICOM studies: store, search, retrieve and share them by DICOMweb."""


def program_name() -> str:
    """Return how this program was called, in a form that can be typed again."""
    called = sys.argv[0]
    if os.path.basename(called) in ("__main__.py", "-m"):  # noqa: PTH119 (text, not a file)
        return "python -m dicomweb_archive"
    relative = os.path.relpath(called) if os.path.isabs(called) else called  # noqa: PTH117 (likewise)
    return "dicomweb-archive" if relative.startswith("..") else relative
