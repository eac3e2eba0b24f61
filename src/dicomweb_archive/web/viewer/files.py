"""The viewer's folder as a table of names: what may be served, in which encodings, under which validators."""

import gzip
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from dicomweb_archive.errors import SetupError

HELD_BYTES = 256 * 1024
"""Up to this size a file is kept in memory as it is sent: some 180 small files, about 6 MB together."""

INDEX = "index.html"

_MEDIA_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".jsonc": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webapp": "application/manifest+json",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "text/xml; charset=utf-8",
}
_OTHER_MEDIA_TYPES: Mapping[str, str] = {
    "LICENSE": "text/plain; charset=utf-8",
    "manifest.json": "application/manifest+json",
}
_UNKNOWN_MEDIA_TYPE = "application/octet-stream"

_HASHED = re.compile(r"(?:^|\.)[0-9a-f]{16,}\.")
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_EACH_TIME = "no-cache"

# What `viewer install` leaves where the archive's address belongs.
_ADDRESS_MARK = re.compile(rb"""\b(href|src|content)="\./""")


@dataclass(frozen=True, slots=True)
class Representation:
    """A file's bytes in one encoding, and what is said of them.

    Attributes:
        content: the bytes, when they are few; otherwise they are read from `path`.
        stamp: size and time of the file, by which it is known again.
    """

    headers: Mapping[str, str]
    etag: str
    size_bytes: int
    content: bytes | None
    path: Path
    stamp: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ViewerFile:
    """A file to be served: as it is, and compressed where that was worth it."""

    plain: Representation
    packed: Representation | None


class ViewerFiles:
    """Every file of the viewer by its name below `/ohif/`, read once when the archive starts.

    What is not in the table is not served, so no name in a request ever becomes a path.
    """

    def __init__(self, files: Mapping[str, ViewerFile], index: ViewerFile, address: str) -> None:
        self._files = files
        self.index = index
        self._configuration = _configuration_of(address)

    def page_below(self, address: str) -> bytes:
        """Return the page for another address than its own, from where it reads its configuration."""
        page = self.index.plain.content or b""
        return page.replace(self._configuration, _configuration_of(address))

    def get(self, name: str) -> ViewerFile | None:
        """Return the file called `name`."""
        return self._files.get(name)

    def __len__(self) -> int:
        return len(self._files)


def read_viewer(folder: Path, address: str) -> ViewerFiles:
    """Read the viewer in `folder`, to be served under the path `address`, which ends with a slash.

    Raises:
        SetupError: there is no page in the folder, or it cannot be read.
    """
    try:
        paths = dict(_paths_of(folder))
        if INDEX not in paths:
            message = f"there is no viewer in {folder}: it holds no {INDEX}"
            raise SetupError(message)
        index = _read_index(paths[INDEX], address)
        files = {name: _read_file(name, paths) for name in paths if not _is_packed(name, paths) and name != INDEX}
    except OSError as error:
        message = f"the viewer in {folder} cannot be read: {error.strerror}"
        raise SetupError(message) from error
    return ViewerFiles({**files, INDEX: index}, index, address)


def _configuration_of(address: str) -> bytes:
    return b'="%bapp-config.js"' % escape(address).encode()


def _paths_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Find the regular files below `folder`, save for hidden ones and links that lead out of it."""
    root = folder.resolve(strict=True)
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            real = path.resolve()
            if not name.startswith(".") and real.is_relative_to(root) and real.is_file():
                yield path.relative_to(root).as_posix(), real


def _is_packed(name: str, paths: Mapping[str, Path]) -> bool:
    return name.endswith(".gz") and name.removesuffix(".gz") in paths


def _read_file(name: str, paths: Mapping[str, Path]) -> ViewerFile:
    plain = paths[name]
    packed = paths.get(f"{name}.gz")
    # A file that was changed by hand has left its compressed copy behind.
    if packed is not None and packed.stat().st_mtime_ns < plain.stat().st_mtime_ns:
        packed = None
    headers = _headers_of(name, varies=packed is not None)
    return ViewerFile(
        # Nearly every client takes gzip: the other bytes are not worth their room.
        _representation(plain, headers, held=packed is None),
        None if packed is None else _representation(packed, {**headers, "content-encoding": "gzip"}, held=True),
    )


def _headers_of(name: str, *, varies: bool) -> dict[str, str]:
    last = name.rpartition("/")[2]
    media_type = _OTHER_MEDIA_TYPES.get(name) or _MEDIA_TYPES.get(Path(last).suffix, _UNKNOWN_MEDIA_TYPE)
    headers = {"content-type": media_type, "cache-control": _FOR_EVER if _HASHED.search(last) else _ASK_EACH_TIME}
    return {**headers, "vary": "Accept-Encoding"} if varies else headers


def _representation(path: Path, headers: Mapping[str, str], *, held: bool) -> Representation:
    status = path.stat()
    content = path.read_bytes() if held and status.st_size <= HELD_BYTES else None
    etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    return Representation(
        {**headers, "etag": etag, "content-length": str(status.st_size)},
        etag,
        status.st_size,
        content,
        path,
        stamp_of(status),
    )


def stamp_of(status: os.stat_result) -> tuple[int, int]:
    """Return by what a file is known again."""
    return status.st_size, status.st_mtime_ns


def _read_index(path: Path, address: str) -> ViewerFile:
    """Read the page and write the archive's address into it; a build made for one address has that already."""
    status = path.stat()
    page = _ADDRESS_MARK.sub(lambda found: b'%b="%b' % (found[1], escape(address).encode()), path.read_bytes())
    headers = _headers_of(INDEX, varies=True)

    def representation(content: bytes, encoding: str, described: Mapping[str, str]) -> Representation:
        etag = f'"{status.st_mtime_ns:x}-{len(content):x}{encoding}"'
        whole = {**described, "etag": etag, "content-length": str(len(content))}
        return Representation(whole, etag, len(content), content, path, stamp_of(status))

    packed = gzip.compress(page, 9, mtime=0)
    return ViewerFile(
        representation(page, "", headers),
        representation(packed, "-gzip", {**headers, "content-encoding": "gzip"}),
    )


def open_unchanged(file: Representation) -> int:
    """Open the file for reading, if it is still the one that the table describes.

    Raises:
        OSError: it is not, or it is gone.
    """
    descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if stamp_of(status) != file.stamp or not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        message = "the file was replaced"
        raise OSError(message)
    return descriptor
