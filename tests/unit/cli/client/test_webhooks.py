"""`webhooks`: what is asked of an archive, and what is printed of its answers."""

import json
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from dicomweb_archive.cli.client import connection
from dicomweb_archive.cli.client.webhooks import webhooks

HOOK = {
    "id": "abc",
    "state": "dead",
    "url": "https://hooks.example/in",
    "collections": None,
    "failures": 20,
    "problem": "it answered \x9b500",
    "delivered_at": None,
}


class Archive:
    """Answers as an archive does, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        self.asked.append((request.method, request.url.path, body))
        if request.method == "DELETE":
            return httpx.Response(204)
        if request.method == "GET":
            return httpx.Response(200, json={"webhooks": [HOOK]})
        if request.url.path.endswith("/test"):
            return httpx.Response(200, json={"problem": "it answered 500"})
        return httpx.Response(200, json={**HOOK, "secret": "whsec_x"})


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Archive:
    archive = Archive()
    real = connection.httpx.AsyncClient

    def client(**options: Any) -> httpx.AsyncClient:
        return real(**{**options, "transport": httpx.MockTransport(archive)})

    monkeypatch.setattr(connection.httpx, "AsyncClient", client)
    return archive


def run(*given: str) -> Result:
    return CliRunner().invoke(webhooks, list(given))


def test_dead_ones_are_listed_with_what_they_have_failed_of(archive: Archive) -> None:
    shown = run("list").stdout
    assert all(words in shown for words in ("dead", "it answered \ufffd500", "all"))
    assert json.loads(run("list", "--json").stdout) == [HOOK]


def test_the_secret_alone_is_the_output_of_create(archive: Archive) -> None:
    made = run("create", "https://hooks.example/in", "--collection", "COL-1", "--from-start")
    assert made.stdout == "whsec_x\n"
    assert "cannot be shown again" in made.stderr
    assert archive.asked == [
        ("POST", "/webhooks", {"url": "https://hooks.example/in", "collections": ["COL-1"], "since": None})
    ]


def test_where_to_begin_is_said_once(archive: Archive) -> None:
    assert run("create", "https://hooks.example/in", "--since", "x", "--from-start").exit_code == 2
    assert archive.asked == []
    run("create", "https://hooks.example/in")
    assert archive.asked[0][2]["since"] == "now"


def test_a_target_that_does_not_take_a_message_is_a_failure(archive: Archive) -> None:
    tried = run("test", "abc")
    assert (tried.exit_code, tried.stdout) == (1, "abc: it answered 500\n")


def test_webhooks_are_revived_and_ended(archive: Archive) -> None:
    assert (run("revive", "abc").stdout, run("delete", "abc").stdout) == ("abc: active\n", "abc: deleted\n")
    assert [asked[:2] for asked in archive.asked] == [("POST", "/webhooks/abc/revive"), ("DELETE", "/webhooks/abc")]
