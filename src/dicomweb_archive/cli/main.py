"""The command tree: `dicomweb-archive COMMAND`. Each command's module is read only when it is asked for."""

import importlib
import os
import sys

import click

from dicomweb_archive.errors import ArchiveError

_MODULES = {
    "serve": "dicomweb_archive.cli.serve",
    "store": "dicomweb_archive.cli.client",
    "search": "dicomweb_archive.cli.client",
    "download": "dicomweb_archive.cli.client",
    "demo": "dicomweb_archive.cli.client",
    "database": "dicomweb_archive.cli.database",
}


class _CommandTree(click.Group):
    """A group whose commands live in modules of their own, each with a list `commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        # Read late: a client command needs no server, and `--help` of one command none of the others.
        module = importlib.import_module(_MODULES[cmd_name])
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
    relative = os.path.relpath(called) if os.path.isabs(called) else called  # noqa: PTH117
    return "dicomweb-archive" if relative.startswith("..") else relative
