"""`dicomweb-archive viewer`: obtain the viewer that the archive serves, once, for any address it is served under."""

from pathlib import Path

import click

from dicomweb_archive.cli.viewer.installation import Installation, is_current, read_installation, remove_viewer
from dicomweb_archive.cli.viewer.installation import install_viewer as install_build
from dicomweb_archive.cli.viewer.release import PINNED, Release, fetched_tarball, given_tarball
from dicomweb_archive.errors import SetupError
from dicomweb_archive.settings import default_viewer_folder

_FOLDER = click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the viewer; the default lies beside the program, where `serve` finds it.",
)


@click.group()
def viewer() -> None:
    """Look after the viewer (OHIF) that the archive serves at /ohif/."""


@viewer.command()
@_FOLDER
@click.option(
    "--tarball",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The package as `npm pack` writes it, for a machine that reaches no registry.",
)
@click.option("--sha256", help="Digest of the tarball, when it is another release than the one this archive knows.")
def install(folder: Path | None, tarball: Path | None, sha256: str | None) -> None:
    """Fetch the viewer's build with npm, check its digest, and make it ready to be served.

    A viewer of the same release is left as it is, and an install that fails leaves the one before.
    """
    if sha256 is not None and tarball is None:
        message = "--sha256 belongs to --tarball: without a tarball the release that this archive knows is fetched"
        raise click.UsageError(message)
    target = (folder or default_viewer_folder()).absolute()
    release = PINNED if sha256 is None else Release(PINNED.package, None, sha256.lower())
    if is_current(target, release):
        click.echo(f"{_named(read_installation(target))} is installed already in {target}.")
        return
    if tarball is None:
        click.echo(f"Fetching {release.spec} (about 50 MB)")
    with fetched_tarball(release) if tarball is None else given_tarball(tarball, release) as path:
        installed = install_build(path, target, release)
    click.echo(f"Installed {_named(installed)} in {target} ({installed.size_bytes / 1e6:.0f} MB).")
    click.echo("An archive that runs already serves it after its next start.")


@viewer.command()
@_FOLDER
def status(folder: Path | None) -> None:
    """Say which viewer is installed, and whether it is the one this archive knows."""
    target = (folder or default_viewer_folder()).absolute()
    installed = read_installation(target)
    if installed is None:
        click.echo(f"There is no viewer in {target}; `dicomweb-archive viewer install` installs {PINNED.spec}.")
        raise click.exceptions.Exit(1)
    click.echo(f"{_named(installed)} in {target} ({installed.files} files, {installed.size_bytes / 1e6:.0f} MB).")
    if not is_current(target, PINNED):
        click.echo(f"This archive knows {PINNED.spec}; `dicomweb-archive viewer install` replaces it.")


@viewer.command()
@_FOLDER
def remove(folder: Path | None) -> None:
    """Remove an installed viewer; a folder that `install` did not make is left alone."""
    target = (folder or default_viewer_folder()).absolute()
    remove_viewer(target)
    click.echo(f"Removed the viewer from {target}.")


def _named(installed: Installation | None) -> str:
    if installed is None:
        message = "the viewer was removed just now; try again"
        raise SetupError(message)
    return f"{installed.package} {installed.version}"


commands: list[click.Command] = [viewer]
