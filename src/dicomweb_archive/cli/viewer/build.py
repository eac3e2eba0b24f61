"""A published build of the viewer -> the files to serve: what is not needed left out, the rest fit for any address."""

import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import orjson

from dicomweb_archive.errors import SetupError

_LEFT_OUT_FOLDERS = frozenset({"ort", "customizations"})
"""136 MB of a runtime for neural networks, whose models the archive has not; examples of options that are off."""

_LEFT_OUT = frozenset(
    {
        # Written anew by the server, for its own addresses.
        "app-config.js",
        # A cache of its own between browser and archive, which loads its code from a public host.
        "sw.js",
        "init-service-worker.js",
        # For other hosts, other ways to sign in, and browsers that cannot run the rest anyway.
        "_headers",
        "_redirects",
        "serve.json",
        "google.js",
        "oidc-client.min.js",
        "silent-refresh.html",
        "es6-shim.min.js",
        "polyfill.min.js",
    }
)
_LICENCE = PurePosixPath("LICENSE")
_DESCRIPTION = PurePosixPath("package.json")
_NAME = re.compile(r"[A-Za-z0-9@_+-][A-Za-z0-9@._+-]*")


def read_version(tarball: Path) -> str:
    """Return the version that a build says it has.

    Raises:
        SetupError: it is no package of a viewer.
    """
    for name, content in _members(tarball, lambda name: name == _DESCRIPTION):
        del name
        try:
            version = orjson.loads(content)["version"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            break
        if isinstance(version, str):
            return version
    message = f"{tarball.name} is no npm package: it holds no readable package.json"
    raise SetupError(message)


def iter_files(tarball: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the files to serve with their names, one after the other; the largest has 17 MB.

    Raises:
        SetupError: the tarball is damaged, or no build of the viewer.
    """
    entered = index = False
    for packed, content in _members(tarball, _is_wanted):
        name = packed if packed == _LICENCE else packed.relative_to("dist")
        fitted = _fit(name, content)
        entered = entered or (name.match("app.bundle.*.js") and fitted != content)
        index = index or str(name) == "index.html"
        yield name, fitted
    if not entered or not index:
        message = f"{tarball.name} is no build of the viewer that this archive can fit to an address"
        raise SetupError(message)


def _is_wanted(name: PurePosixPath) -> bool:
    if name == _LICENCE:
        return True
    if name.parts[0] != "dist" or len(name.parts) < 2 or name.suffix == ".map":
        return False
    return name.parts[1] not in _LEFT_OUT_FOLDERS and str(name.relative_to("dist")) not in _LEFT_OUT


def _members(tarball: Path, wanted: Callable[[PurePosixPath], bool]) -> Iterator[tuple[PurePosixPath, bytes]]:
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            for member in archive:
                name = _safe_name(member.name)
                # Links and devices are never followed or made: only content of regular files is read.
                if name is not None and member.isreg() and wanted(name):
                    file: IO[bytes] | None = archive.extractfile(member)
                    assert file is not None
                    yield name, file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        message = f"{tarball.name} cannot be read as an npm package"
        raise SetupError(message) from error


def _safe_name(name: str) -> PurePosixPath | None:
    """Return a member's name below the package's folder, or None when it is none that a build has."""
    package, *steps = name.split("/")
    if package != "package" or not steps or not all(_NAME.fullmatch(step) for step in steps):
        return None
    return PurePosixPath(*steps)


def _fit(name: PurePosixPath, content: bytes) -> bytes:
    """Free a file of the address `/` that the build is made for, and of a fault that our answers would run into.

    The address is known only when the archive is started, and may change then. So scripts find it themselves,
    style sheets and lists of icons name their neighbours, and the page is completed by the server.
    """
    if len(name.parts) == 1 and name.suffix == ".js":
        return content.replace(_FIXED_ADDRESS, _OWN_ADDRESS).replace(_ASSUMES_MODALITIES, _EXPECTS_NO_MODALITIES)
    if name.suffix == ".css":
        return _ABSOLUTE_URL.sub(rb"url(\1" + b"../" * (len(name.parts) - 1), content)
    if str(name) == "index.html":
        return _fit_page(content)
    if str(name) == "manifest.json":
        return content.replace(b'"/', b'"')
    if name.suffix in _ICON_LISTS:
        # They lie beside the icons that they name.
        return content.replace(b'"/assets/', b'"')
    return content


_FIXED_ADDRESS = b'__webpack_require__.p = "/";'
# A worker has no document, and its location is its script's. All scripts lie in one folder.
_OWN_ADDRESS = (
    b'__webpack_require__.p = new URL(".", self.document ? self.document.currentScript.src : self.location.href).href;'
)
# One study without any modality, whose answer rightly has the attribute without a value (PS3.18 F.2.5), would
# otherwise leave the whole list of studies empty.
_ASSUMES_MODALITIES = b"i < ModalitiesInStudy.Value.length;"
_EXPECTS_NO_MODALITIES = b"i < (ModalitiesInStudy.Value || []).length;"
_ABSOLUTE_URL = re.compile(rb"""url\((["']?)/(?!/)""")
_ICON_LISTS = frozenset({".json", ".webapp", ".xml"})

_INLINE_SCRIPT = re.compile(rb"<script>.*?</script>", re.DOTALL)
_SERVICE_WORKER = re.compile(rb"""<script[^>]*\binit-service-worker\.js["'][^>]*></script>""")
_ABSOLUTE_ATTRIBUTE = re.compile(rb"""\b(href|src|content)="/(?!/)""")


def _fit_page(page: bytes) -> bytes:
    """Take out the inline scripts, whose work `app-config.js` does, and mark where the address belongs."""
    for left_out in (_INLINE_SCRIPT, _SERVICE_WORKER):
        page = left_out.sub(b"", page)
    return _ABSOLUTE_ATTRIBUTE.sub(rb'\1="./', page)
