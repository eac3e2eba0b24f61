"""An installed viewer: a folder made beside its place, put there in one step, that says what it is."""

import contextlib
import fcntl
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import orjson

from dicomweb_archive.cli.viewer.build import iter_files, read_version
from dicomweb_archive.cli.viewer.release import Release
from dicomweb_archive.errors import SetupError

RECORD = ".installed.json"
"""File in the viewer's folder that says what is there; the server does not serve it."""

FITTING = 1
"""Counts up when what is done to a build changes, so that the next install does it again.

Scripts keep their names, which browsers may cache for ever: a change must be one that the old ones can live with.
"""

_COMPRESSED = frozenset({".css", ".html", ".ico", ".js", ".json", ".jsonc", ".svg", ".wasm", ".webapp", ".xml"})
# Under a packet's length nothing is won, and an answer needs a header more.
_COMPRESSED_FROM_BYTES = 1024
_WORTHWHILE = 0.95


@dataclass(frozen=True, slots=True)
class Installation:
    """What an installed viewer is, as its folder says."""

    package: str
    version: str
    sha256: str
    fitting: int
    licence: str
    files: int
    size_bytes: int


def read_installation(folder: Path) -> Installation | None:
    """Return what is installed in `folder`, or None when `install_viewer` has made nothing there."""
    try:
        return Installation(**orjson.loads((folder / RECORD).read_bytes()))
    except (OSError, orjson.JSONDecodeError, TypeError):
        return None


def is_current(folder: Path, release: Release) -> bool:
    """Tell whether `folder` holds this release, made ready as this version of the archive does it."""
    found = read_installation(folder)
    return found is not None and (found.sha256, found.fitting) == (release.sha256, FITTING)


def install_viewer(tarball: Path, folder: Path, release: Release) -> Installation:
    """Make `folder` the viewer of a proved tarball, in place of one that was there.

    Raises:
        SetupError: the folder cannot be written or holds something else, or the tarball is no viewer's.
    """
    with _errors_of(folder), _locked(folder):
        _recover(folder)
        _refuse_foreign(folder)
        found = read_installation(folder)
        if found is not None and is_current(folder, release):
            # Another install was quicker.
            return found
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-new-", dir=folder.parent))
        try:
            made = _fill(fresh, tarball, release)
            _put_in_place(fresh, folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return made


def remove_viewer(folder: Path) -> None:
    """Remove what `install_viewer` has made.

    Raises:
        SetupError: there is nothing of the kind.
    """
    if read_installation(folder) is None:
        message = f"there is no viewer in {folder} that `viewer install` has made"
        raise SetupError(message)
    with _errors_of(folder), _locked(folder):
        shutil.rmtree(folder)


def _fill(folder: Path, tarball: Path, release: Release) -> Installation:
    files = size = 0
    # Compression lets other threads run; with one thread it takes most of the time.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        compressed: list[Future[None]] = []
        for name, content in iter_files(tarball):
            path = folder.joinpath(*name.parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            files += 1
            size += len(content)
            if PurePosixPath(name).suffix in _COMPRESSED and len(content) >= _COMPRESSED_FROM_BYTES:
                compressed.append(pool.submit(_compress, path, content))
        for done in compressed:
            done.result()
    version = release.version or read_version(tarball)
    made = Installation(release.package, version, release.sha256, FITTING, "LICENSE", files, size)
    folder.chmod(0o755)
    (folder / RECORD).write_bytes(orjson.dumps(asdict(made), option=orjson.OPT_INDENT_2))
    return made


def _compress(path: Path, content: bytes) -> None:
    # Once and as well as gzip can, in place of for each visitor.
    packed = gzip.compress(content, 9, mtime=0)
    if len(packed) < len(content) * _WORTHWHILE:
        path.with_name(path.name + ".gz").write_bytes(packed)


def _put_in_place(fresh: Path, folder: Path) -> None:
    old = _old(folder)
    if not folder.exists():
        fresh.rename(folder)
        return
    folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}-old")


def _recover(folder: Path) -> None:
    """Clear up after an install that was killed; callers hold the lock, so none is under way."""
    old = _old(folder)
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    for left in folder.parent.glob(f".{folder.name}-new-*"):
        shutil.rmtree(left, ignore_errors=True)


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and read_installation(folder) is None and any(folder.iterdir()):
        message = f"{folder} holds something that `viewer install` has not made; name an empty or new folder with --to"
        raise SetupError(message)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one install at a time work on `folder`; another waits."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _errors_of(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"the viewer cannot be written to {folder}: {error.strerror or error}"
        raise SetupError(message) from error
