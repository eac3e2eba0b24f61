"""JSON resources of our own: what their bodies may be, and who is listened to."""

from collections.abc import AsyncIterator

import pytest
from tests.http.archive import Archive
from tests.http.conftest import StartArchive

from dicomweb_archive.web.json_routes import LARGEST_BODY

JSON = {"content-type": "application/json"}


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b" " * (LARGEST_BODY // 4)


async def test_a_body_that_is_not_json_or_has_no_end_is_refused(archive: Archive) -> None:
    answer = await archive.client.post("/collections", content="title: A", headers={"content-type": "text/yaml"})
    assert (answer.status_code, answer.json()["supported"]) == (415, ["application/json"])
    assert (await archive.client.post("/collections", content=endless(), headers=JSON)).status_code == 413


@pytest.mark.parametrize("body", [b'{"title": ["Jane Doe"]}', b'{"title": ', b"", b"[]", b'{"title": "\xff"}'])
async def test_a_body_that_does_not_fit_is_refused_without_repeating_it(archive: Archive, body: bytes) -> None:
    answer = await archive.client.post("/collections", content=body, headers=JSON)
    assert answer.status_code == 400
    assert "Jane" not in answer.text


async def test_pages_of_other_origins_change_nothing_where_no_key_is_asked_for(archive: Archive) -> None:
    """A request without a body is sent for them by every browser, unasked (Fetch 4.1)."""
    for sent in ({"sec-fetch-site": "cross-site"}, {"origin": "https://elsewhere.example"}, {"origin": "null"}):
        assert (await archive.client.post("/jobs/99999/cancel", headers=sent)).status_code == 403
    for sent in ({}, {"sec-fetch-site": "same-origin"}, {"origin": "http://archive.example"}):
        assert (await archive.client.post("/jobs/99999/cancel", headers=sent)).status_code == 404


async def test_nothing_is_read_for_who_may_change_nothing(start_archive: StartArchive) -> None:
    async with start_archive(api_key="the-key") as archive:
        answer = await archive.client.post("/collections", content=endless(), headers=JSON)
        assert answer.status_code == 401
