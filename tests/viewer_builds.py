"""Packages that are built like the viewer's, of a few small files."""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

PAGE = b"""<!doctype html><html><head><meta name="tile" content="/assets/tile.png">
<script>window.PUBLIC_URL="/"</script>
<link rel="manifest" href="/manifest.json"><script rel="preload" as="script" src="/app-config.js"></script>
<script rel="preload" as="script" type="module" src="/init-service-worker.js"></script>
<script>function browserImportFunction(n){return import(n)}</script><a href="//elsewhere.example/">elsewhere</a>
<script defer src="/app.bundle.0123456789abcdef.js"></script></head><body><div id="root"></div></body></html>
"""
SCRIPT = (
    b'const start = 1;\n__webpack_require__.p = "/";\n' + b"// as long as a script that is worth compressing\n" * 40
)

FILES: Mapping[str, bytes] = {
    "package/package.json": b'{"name": "@ohif/app", "version": "9.8.7"}',
    "package/LICENSE": b"MIT License\n",
    "package/README.md": b"not served\n",
    "package/dist/index.html": PAGE,
    "package/dist/app-config.js": b"window.config = {}",
    "package/dist/app.bundle.0123456789abcdef.js": SCRIPT,
    "package/dist/app.bundle.0123456789abcdef.js.map": b"{}",
    "package/dist/app.bundle.css": b"@font-face { src: url(/fedcba9876543210.woff2) } .a { background: url(data:x) }",
    "package/dist/fedcba9876543210.woff2": bytes(range(256)) * 8,
    "package/dist/0123456789abcdef.wasm": b"\0asm" * 1000,
    "package/dist/manifest.json": b'{"icons": [{"src": "/assets/icon.png"}]}',
    "package/dist/assets/manifest.webapp": b'{"icons": {"60": "/assets/icon.png"}}',
    "package/dist/assets/icon.png": b"\x89PNG",
    "package/dist/sw.js": b"importScripts('https://public.example/workbox.js')",
    "package/dist/init-service-worker.js": b"importScripts('https://public.example/workbox.js')",
    "package/dist/ort/ort.wasm": b"\0asm",
    "package/dist/ort/deep/ort.js": b"ort",
}


def write_tarball(path: Path, files: Mapping[str, bytes] = FILES, *further: tarfile.TarInfo) -> str:
    """Write a package of `files`, and of members without content, and return its digest."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in further:
            archive.addfile(member)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def link(name: str, target: str, *, hard: bool = False) -> tarfile.TarInfo:
    """A link as a member of a package."""
    member = tarfile.TarInfo(name)
    member.type = tarfile.LNKTYPE if hard else tarfile.SYMTYPE
    member.linkname = target
    return member
