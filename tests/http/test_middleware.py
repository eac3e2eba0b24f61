"""What every request passes: ids, access log, figures, safe headers, bounds."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.observability import Metrics
from dicomweb_archive.web.middleware import MAX_TARGET_BYTES, RequestRecorder
from dicomweb_archive.web.routing import ResourceRoute as Route


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def client(metrics: Metrics) -> AsyncIterator[httpx.AsyncClient]:
    async def study(request: Request) -> Response:
        await request.body()
        return Response(b"12345")

    app = FastAPI(routes=[Route("/studies/{study}", study, methods=["GET", "POST"])])
    app.add_middleware(RequestRecorder, metrics=metrics)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://archive") as client:
        yield client


def access_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.name == "dicomweb_archive.web.middleware"]


async def test_the_log_has_the_template_and_neither_path_nor_query(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await client.post("/studies/1.2.3", params={"PatientName": "Doe"}, content=b"abc")
    (line,) = access_lines(caplog)
    assert line["route"] == "/studies/{study}"
    assert line["status"] == 200
    assert line["bytes_in"] == 3
    assert line["bytes_out"] == 5
    assert "cut" not in line
    assert "Doe" not in repr(line)
    assert "1.2.3" not in repr(line)


async def test_unknown_paths_share_one_route(client: httpx.AsyncClient, metrics: Metrics) -> None:
    for number in range(5):
        await client.get(f"/nowhere/{number}")
    assert 'route="unmatched",status="404"} 5.0' in metrics.exposition().decode()


async def test_a_sound_request_id_is_kept_and_another_replaced(client: httpx.AsyncClient) -> None:
    kept = await client.get("/studies/1", headers={"x-request-id": "viewer-0001"})
    assert kept.headers["x-request-id"] == "viewer-0001"
    for forged in ("short", "x" * 65, "with blank in it", 'quote"quote'):
        answer = await client.get("/studies/1", headers={"x-request-id": forged})
        assert answer.headers["x-request-id"] != forged


async def test_every_answer_says_not_to_sniff_or_run_it(client: httpx.AsyncClient) -> None:
    for path in ("/studies/1", "/nowhere"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"


async def test_a_target_may_be_long_but_not_longer_than_its_limit(client: httpx.AsyncClient) -> None:
    path = "/studies/1"
    fits = "x" * (MAX_TARGET_BYTES - len(path))
    assert (await client.get(f"{path}?{fits}")).status_code == 200
    answer = await client.get(f"{path}?{fits}y")
    assert answer.status_code == 414
    assert answer.json()["type"].endswith(":uri-too-long")
