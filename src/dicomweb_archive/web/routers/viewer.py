"""The viewer at `/ohif/`: its page, its configuration and its files.

Below the roots of collections and submissions it is the same, and shows what lies there.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.errors import NotFoundError, UnauthenticatedError
from dicomweb_archive.services.access import Role, require
from dicomweb_archive.web.conditional import accepts_gzip, is_unchanged
from dicomweb_archive.web.dependencies import asked_root_of, get_principal, get_services
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.routing import RootedPageRoute
from dicomweb_archive.web.streams import ByteStreamResponse
from dicomweb_archive.web.viewer.configuration import write_configuration
from dicomweb_archive.web.viewer.files import INDEX, Representation, ViewerFile, ViewerFiles, open_unchanged
from dicomweb_archive.wire.roots import PUBLISHED, VIEWER

PIECE_BYTES = 1024 * 1024
"""Files are read in pieces of this size: each costs a thread's turn, and the largest as sent has 3 MB."""

_KEPT_IN_304 = ("cache-control", "etag", "vary")

logger = logging.getLogger(__name__)


@as_page
async def redirect_to_viewer(request: Request) -> Response:
    """Lead to the address that the viewer's own links are relative to."""
    _viewer_of(request)
    query = request.scope["query_string"].decode("latin-1")
    location = _address(request) + (f"?{query}" if query else "")
    return Response(status_code=308, headers={"location": location})


@as_page
async def retrieve_page(request: Request) -> Response:
    """Retrieve the viewer's page, whichever of its views the path names; who may not read is led to sign in."""
    viewer = _viewer_of(request)
    # Only the page asks who is there: the files beside it are public software.
    require(await get_principal(request), Role.READER)
    if asked_root_of(request) is PUBLISHED:
        return _answer(request, viewer.index)
    headers = {"cache-control": "no-store"}
    return Response(viewer.page_below(_address(request)), media_type="text/html; charset=utf-8", headers=headers)


async def retrieve_configuration(request: Request) -> Response:
    """Generate the viewer's configuration for this caller."""
    _viewer_of(request)
    script = write_configuration(_root_path(request), asked_root_of(request), may_store=await _may_store(request))
    headers = {"cache-control": "no-store"}
    return Response(script, media_type="text/javascript; charset=utf-8", headers=headers)


async def retrieve_file(request: Request) -> Response:
    """Retrieve a file of the viewer, or its page where the name is one of the page's own views."""
    name = request.path_params["name"]
    viewer = get_services(request).viewer
    file = None if viewer is None else viewer.get(name)
    if name == INDEX or (file is None and "." not in name.rpartition("/")[2]):
        return await retrieve_page(request)
    if file is None:
        message = "the viewer has no such file"
        raise NotFoundError(message)
    return _answer(request, file)


def _answer(request: Request, file: ViewerFile) -> Response:
    chosen = file.packed if file.packed is not None and accepts_gzip(request) else file.plain
    if is_unchanged(request, chosen.etag):
        kept = {name: chosen.headers[name] for name in _KEPT_IN_304 if name in chosen.headers}
        return Response(status_code=304, headers=kept)
    if chosen.content is not None or request.method == "HEAD":
        content = chosen.content if chosen.content is not None and request.method != "HEAD" else b""
        return Response(content, headers=dict(chosen.headers))
    described = dict(chosen.headers)
    media_type = described.pop("content-type")
    return ByteStreamResponse(
        _pieces(chosen), content_length=chosen.size_bytes, media_type=media_type, headers=described
    )


async def _pieces(file: Representation) -> AsyncIterator[bytes]:
    try:
        descriptor = await asyncio.to_thread(open_unchanged, file)
    except OSError:
        logger.error("the viewer's files were changed; start the archive again to serve the new ones")
        message = "the viewer was replaced while the archive runs"
        raise NotFoundError(message) from None
    try:
        for offset in range(0, file.size_bytes, PIECE_BYTES):
            yield await asyncio.to_thread(os.pread, descriptor, PIECE_BYTES, offset)
    finally:
        os.close(descriptor)


def _viewer_of(request: Request) -> ViewerFiles:
    viewer = get_services(request).viewer
    if viewer is None:
        message = "no viewer is installed here; `dicomweb-archive viewer install` installs one"
        raise NotFoundError(message)
    return viewer


async def _may_store(request: Request) -> bool:
    try:
        return Role.SUBMITTER in (await get_principal(request)).roles
    except (UnauthenticatedError, NotFoundError):
        return False


def _address(request: Request) -> str:
    return f"{_root_path(request)}{asked_root_of(request).parent}{VIEWER}/"


def _root_path(request: Request) -> str:
    path: str = request.scope.get("root_path", "")
    return path


routes = [
    RootedPageRoute(VIEWER, redirect_to_viewer, name="redirect_to_viewer"),
    RootedPageRoute(f"{VIEWER}/app-config.js", retrieve_configuration, name="retrieve_configuration"),
    RootedPageRoute(f"{VIEWER}/{{name:path}}", retrieve_file, name="retrieve_file"),
]
