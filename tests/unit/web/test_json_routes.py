"""JSON resources of our own: what their bodies may be."""

from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from dicomweb_archive.web import errors
from dicomweb_archive.web.json_routes import LARGEST_BODY, json_router


class Thing(BaseModel):
    size: int


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    router = json_router("things")

    @router.post("/things")
    async def make(thing: Thing) -> Thing:
        return thing

    @router.post("/things/seal")
    async def seal() -> Thing:
        return Thing(size=0)

    app = FastAPI()
    app.include_router(router)
    errors.install(app)
    limits = SimpleNamespace(idle_timeout_seconds=5, minimum_bytes_per_second=1)
    app.state.services = SimpleNamespace(body_limits=limits)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://archive") as client:
        yield client


async def test_a_body_is_read_and_an_action_needs_none(client: httpx.AsyncClient) -> None:
    assert (await client.post("/things", json={"size": 3})).json() == {"size": 3}
    assert (await client.post("/things/seal")).json() == {"size": 0}


async def test_a_body_of_another_type_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/things", content="size: 3", headers={"content-type": "text/yaml"})
    assert (answer.status_code, answer.json()["supported"]) == (415, ["application/json"])


async def test_a_body_without_end_is_refused_before_it_is_parsed(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * (LARGEST_BODY // 4)

    answer = await client.post("/things", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize("body", [b'{"size": "Jane Doe"}', b'{"size": ', b"", b"[]", b'{"size": "\xff"}'])
async def test_a_body_that_does_not_fit_is_refused_without_repeating_it(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/things", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "Jane" not in answer.text
