"""The front door: the framework's routes, without the framework."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from dicomweb_archive.app import create_app
from dicomweb_archive.settings import Settings
from dicomweb_archive.web.door import Door
from dicomweb_archive.web.routing import ASKED_ROOT, PageRoute, ResourceRoute

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE")
ELSEWHERE = (
    "/",
    "/docs",
    "/dicom-web/",
    "/dicom-web/nothing",
    "/dicom-web/studies/1/",
    "/dicom-web/studies/1/frames/1",
)


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return create_app(Settings(data_dir=tmp_path, database_url="postgresql://nobody@127.0.0.1:1/none"))  # type: ignore[arg-type]


def paths_of(app: FastAPI) -> Iterator[str]:
    """Fill in each route's path, the last steps with words that are names of other resources, too."""
    for route in app.routes:
        if isinstance(route, ResourceRoute):
            path = re.sub(r"{\w+:path}", "7FE00010/0/00080018", route.path)
            for word in ("1.2.3", "facets", "metadata", "1,2"):
                yield re.sub(r"{\w+}", word, path)
    yield from ELSEWHERE


def roots_of(path: str) -> Iterator[str]:
    """Put a path below each root, of which the paths of other resources have none."""
    yield path
    yield f"/submissions/one{path}"
    yield f"/collections/DWA-000001{path}"


def taken_by_framework(app: FastAPI, scope: Scope) -> tuple[object, Scope]:
    for route in app.router.routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            return route, child
    return None, {}


@pytest.mark.parametrize("root_path", ["", "/archive"])
def test_each_request_ends_in_the_handler_that_the_framework_would_choose(app: FastAPI, root_path: str) -> None:
    door = Door(app.router, app.routes)
    served = 0
    for path in {rooted for plain in paths_of(app) for rooted in roots_of(plain)}:
        for method in METHODS:
            scope: Scope = {
                "type": "http",
                "method": method,
                "path": root_path + path,
                "root_path": root_path,
                "headers": [],
            }
            route, child = taken_by_framework(app, scope)
            found = door.find(scope)
            if isinstance(route, ResourceRoute):
                served += 1
                assert found is route, (method, path)
                assert scope["path_params"] == child["path_params"]
                assert scope["route"] is child["route"]
                assert scope.get(ASKED_ROOT) == child.get(ASKED_ROOT)
            else:
                assert found is None, (method, path)
                assert "route" not in scope
    assert served > 600


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async def named(request: Request) -> Response:
        return Response(request.path_params["study"])

    app = FastAPI(routes=[ResourceRoute("/studies/{study}", named), PageRoute("/pages/{study}", named)])
    app.middleware_stack = Door(app.router, app.routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://archive") as client:
        yield client


async def test_resources_pages_and_what_is_neither_are_answered(client: httpx.AsyncClient) -> None:
    assert (await client.get("/studies/1.2")).text == "1.2"
    assert (await client.get("/pages/1.2")).text == "1.2"
    assert (await client.head("/studies/1.2")).status_code == 200
