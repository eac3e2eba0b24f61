"""Webhooks over HTTP: made, seen and ended by managers, and told what the change feed says."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator

import orjson
import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.http.html import barriers, parse
from tests.listening import listening
from tests.submitted import database_of

from dicomweb_archive.index.events.sealing import Sealer
from dicomweb_archive.index.events.webhooks import WebhookIndex
from dicomweb_archive.services.access import Principal, PrincipalKind, Role, with_included
from dicomweb_archive.services.jobs.kinds import Lane
from dicomweb_archive.services.jobs.runner import JobRunner

URL = "https://hooks.example.org/in?token=much-secret"


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    async with start_archive(job_slots=0, webhook_hosts="hooks.example.org") as archive:
        yield archive


async def test_a_webhook_is_made_seen_and_ended_by_managers_of_its_collections(archive: Archive) -> None:
    made = (await archive.client.post("/collections", json={"title": "Another"})).json()["accession"]
    manager = Principal("m", PrincipalKind.KEY_HOLDER, with_included([Role.MANAGER]), frozenset({1}))
    admin = Principal("a", PrincipalKind.KEY_HOLDER, with_included([Role.ADMIN]))
    curator = Principal("c", PrincipalKind.KEY_HOLDER, with_included([Role.CURATOR]))
    archive.let_in(manager, admin, curator)
    client, asked = archive.client, {"url": URL, "collections": ["default"]}
    m, a, c = ({"authorization": f"Bearer {name}"} for name in "mac")
    assert (await client.post("/webhooks", json=asked)).status_code == 401
    assert (await client.post("/webhooks", json=asked, headers=c)).status_code == 403
    assert (await client.post("/webhooks", json={"url": URL}, headers=m)).status_code == 403
    answer = await client.post("/webhooks", json=asked, headers=m)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store"), answer.text
    document = answer.json()
    secret = document.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert (document["state"], document["collections"], document["created_by"]) == ("active", ["default"], "m")
    shown = await client.get(answer.headers["location"], headers=m)
    # The secret is shown once.
    assert shown.json() == document
    of_all = (await client.post("/webhooks", json={"url": URL, "since": None}, headers=a)).json()
    assert of_all["collections"] is None
    assert [each["id"] for each in (await client.get("/webhooks", headers=m)).json()["webhooks"]] == [document["id"]]
    assert len((await client.get("/webhooks", headers=a)).json()["webhooks"]) == 2
    for path in (f"/webhooks/{of_all['id']}", "/webhooks/abc"):
        assert (await client.get(path, headers=m)).status_code == 404
        assert (await client.delete(path, headers=m)).status_code == 404
        assert (await client.post(f"{path}/revive", headers=m)).status_code == 404
    for wrong, named in (
        ({"url": "https://elsewhere.example/"}, "url"),
        ({"url": URL, "collections": [made]}, "collections"),
        ({"url": URL, "collections": []}, "collections"),
        ({"url": URL, "collections": ["default"], "since": "yesterday"}, "since"),
    ):
        refused = await client.post("/webhooks", json={"collections": ["default"], **wrong}, headers=m)
        assert (refused.status_code, named in refused.json()["detail"]) == (400, True), wrong
        assert "elsewhere" not in refused.text
    assert (await client.post(f"/webhooks/{document['id']}/revive", headers=m)).json()["state"] == "active"
    assert (await client.delete(f"/webhooks/{document['id']}", headers=m)).status_code == 204
    assert (await client.get("/webhooks", headers=m)).json() == {"webhooks": []}


async def test_a_target_is_sent_what_the_change_feed_says(start_archive: StartArchive) -> None:
    requests: list[bytes] = []

    def handle(request: bytes) -> bytes:
        requests.append(request)
        return b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

    async with (
        listening(handle) as port,
        start_archive(job_slots=0, webhook_private_hosts=f"127.0.0.1:{port}") as archive,
    ):
        made = await archive.client.post("/webhooks", json={"url": f"http://127.0.0.1:{port}/in"})
        await archive.store(*ct_series(2, study=830))
        feed = (await archive.client.get("/changes")).json()
        # Nobody is told of what is under embargo, whoever may see it here.
        await archive.store(*ct_series(1, study=831))
        async with database_of(archive).connection() as connection:
            embargo = "update study set embargo_until = '2999-01-01' where study_instance_uid = $1"
            await connection.execute(embargo, f"{UID}.831")
        await Sealer(database_of(archive)).seal()
        runner: JobRunner = archive.app.state.services.jobs.wake.__self__
        await runner.announce()
        async with database_of(archive).connection() as connection:
            await connection.execute("update job set due_at = now()")
        job = await runner.run_one(Lane.DELIVERIES)
        assert job is not None
    (request,) = requests
    head, _, body = request.partition(b"\r\n\r\n")
    headers = dict(line.decode().lower().split(": ", 1) for line in head.split(b"\r\n")[1:])
    sent = orjson.loads(body)
    assert sent["data"] == {"changes": feed["changes"], "next": feed["next"]}
    key = base64.b64decode(made.json()["secret"].removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    # Header values were made lower here; their letters count.
    assert headers["webhook-signature"] == f"v1,{expected}".lower()


async def test_managers_have_a_page_of_webhooks(archive: Archive) -> None:
    """Its forms make webhooks, whose secrets are shown once, let them try again, and end them."""
    manager = Principal("m", PrincipalKind.KEY_HOLDER, with_included([Role.MANAGER]), frozenset({1}))
    curator = Principal("c", PrincipalKind.KEY_HOLDER, with_included([Role.CURATOR]))
    archive.let_in(manager, curator)
    m, c = ({"accept": "text/html", "authorization": f"Bearer {name}"} for name in "mc")
    client = archive.client
    assert (await client.get("/webhooks", headers=c)).status_code == 403
    assert (await client.get("/webhooks?x=1", headers=m)).status_code == 400
    empty = parse((await client.get("/webhooks", headers=m)).text)
    assert barriers(empty) == []
    assert "Nobody is told of changes." in empty.one("main").text
    fields = {"url": URL, "collections": " default,", "since": "first"}
    for wrong, status in (
        ({"url": "https://elsewhere.example/"}, 400),
        ({"collections": "COL-9"}, 400),
        ({"collections": "a/b"}, 400),
        ({"since": "x"}, 400),
    ):
        refused = await client.post("/webhooks/new", data={**fields, **wrong}, headers=m)
        assert refused.status_code == status, wrong
        page = parse(refused.text)
        assert barriers(page) == []
        assert page.one(id="problem").text
        assert page.one(id="url").attributes["value"] == wrong.get("url", URL)
    assert (await client.post("/webhooks/new", data={**fields, "collections": ""}, headers=m)).status_code == 403
    made = await client.post("/webhooks/new", data=fields, headers=m)
    assert (made.status_code, made.headers["cache-control"]) == (200, "no-store")
    page = parse(made.text)
    assert barriers(page) == []
    assert page.one(id="secret").text.startswith("whsec_")
    (row,) = page.one(id="webhooks").one("tbody").find("tr")
    assert "default active nothing yet nothing" in row.text
    name = row.attributes["data-webhook"]

    index = WebhookIndex(database_of(archive))
    found = await index.find(None, name)
    assert found is not None
    await index.note_failure(found, "it answers 500", pause_seconds=9, is_last=True)
    page = parse((await client.get("/webhooks", headers=m)).text)
    assert barriers(page) == []
    assert "dead nothing yet 1 attempt has failed: it answers 500" in page.one(id="webhooks").text
    assert page.find(id="secret") == []
    change = f"/webhooks/{name}/change"
    for path, said, status in (
        (change, {"say": "x"}, 400),
        ("/webhooks/abc/change", {"say": "end"}, 404),
        ("/webhooks/A%00/change", {"say": "end"}, 404),
    ):
        assert (await client.post(path, data=said, headers=m)).status_code == status
    assert (await client.post(change, data={"say": "revive"}, headers=m)).headers["location"] == "/webhooks"
    revived = (await client.get(f"/webhooks/{name}", headers={"authorization": m["authorization"]})).json()
    assert (revived["state"], revived["failures"]) == ("active", 0)
    assert (await client.post(change, data={"say": "end"}, headers=m)).status_code == 303
    assert (await client.get(f"/webhooks/{name}", headers={"authorization": m["authorization"]})).status_code == 404


async def test_a_webhook_is_tried_at_once_and_stays_as_it_is(start_archive: StartArchive) -> None:
    requests: list[bytes] = []
    answers = [b"HTTP/1.1 200 OK", b"HTTP/1.1 500 Oh"]

    def handle(request: bytes) -> bytes:
        requests.append(request)
        return answers[(len(requests) - 1) % 2] + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

    async with (
        listening(handle) as port,
        start_archive(job_slots=0, webhook_private_hosts=f"127.0.0.1:{port}") as archive,
    ):
        made = (await archive.client.post("/webhooks", json={"url": f"http://127.0.0.1:{port}/in"})).json()
        path = f"/webhooks/{made['id']}"
        before = (await archive.client.get(path)).json()
        assert (await archive.client.post(f"{path}/test")).json() == {"problem": None}
        assert (await archive.client.post(f"{path}/test")).json() == {"problem": "it answered 500"}
        own_page = {"accept": "text/html", "sec-fetch-site": "same-origin"}
        for said in ("has taken the message.", "has not taken the message: it answered 500."):
            tried = await archive.client.post(f"{path}/change", data={"say": "test"}, headers=own_page)
            assert said in parse(tried.text).one(id="tested").text
        assert (await archive.client.post(f"{path}/change", data={"say": "test"})).status_code == 403
        assert (await archive.client.get(path)).json() == before
        reader = Principal("r", PrincipalKind.KEY_HOLDER, with_included([Role.READER]))
        archive.let_in(reader)
        refused = await archive.client.post(f"{path}/test", headers={"authorization": "Bearer r"})
        assert refused.status_code == 403
    assert len(requests) == 4
    head, _, body = requests[0].partition(b"\r\n\r\n")
    headers = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n")[1:])
    assert orjson.loads(body)["type"] == "test"
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
