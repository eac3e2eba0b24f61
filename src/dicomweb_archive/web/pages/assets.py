"""The style sheet, the script and the icon of our pages, kept in memory and cached by browsers for ever."""

import gzip
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from importlib import resources

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.web.conditional import accepts_gzip, is_unchanged, unchanged
from dicomweb_archive.web.routing import PageRoute

_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "public, no-cache"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file that pages refer to; `digest` is part of its address, so a new version has a new one."""

    content: bytes
    compressed: bytes
    media_type: str
    digest: str


@lru_cache(maxsize=1)
def find_assets() -> Mapping[str, Asset]:
    """Read all assets once; they are some ten kilobytes."""
    folder = resources.files(__package__).joinpath("assets")
    return {entry.name: _asset(entry.name, entry.read_bytes()) for entry in folder.iterdir() if entry.is_file()}


def asset_path(name: str) -> str:
    """Return the address of an asset below the archive's root, version and all."""
    return f"/assets/{name}?v={find_assets()[name].digest}"


def _asset(name: str, content: bytes) -> Asset:
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    digest = blake2b(content, digest_size=8).hexdigest()
    return Asset(content, gzip.compress(content, mtime=0), media_type, digest)


async def give_asset(request: Request) -> Response:
    """Answer with an asset; only a request that names its digest may keep it without asking again."""
    asset = find_assets().get(request.path_params["name"])
    if asset is None:
        raise HTTPException(404)
    return _answer(request, asset)


async def give_icon(request: Request) -> Response:
    """Answer with the icon where browsers look for one that no page names, as for an answer in JSON."""
    return _answer(request, find_assets()["icon.svg"])


def _answer(request: Request, asset: Asset) -> Response:
    named = request.query_params.get("v") == asset.digest
    headers = {
        "cache-control": _FOR_EVER if named else _ASK_AGAIN,
        "etag": f'W/"{asset.digest}"',
        "vary": "Accept-Encoding",
    }
    if is_unchanged(request, headers["etag"]):
        return unchanged(headers)
    content = asset.content
    if accepts_gzip(request):
        headers["content-encoding"] = "gzip"
        content = asset.compressed
    return Response(content, media_type=asset.media_type, headers=headers)


routes = [PageRoute("/assets/{name}", give_asset, name="asset"), PageRoute("/favicon.ico", give_icon, name="icon")]
