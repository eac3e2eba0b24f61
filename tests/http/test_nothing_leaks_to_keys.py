"""Keys of others open nothing: what waits, and what is done with it, is to their holders as if it were not there.

Every operation of the API and every page that is about one submission, job, key or webhook is asked for by who has a
key for something else, once of names that nobody has and once of what is there: the answers must not differ.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from starlette.routing import Route
from tests.factories import ct_series
from tests.http.archive import RELATED, Archive, related
from tests.http.conftest import StartArchive
from tests.http.test_nothing_leaks import RESOURCES, SECRET, headers_of, look_after, servers_of
from tests.http.test_pages_home import BROWSER
from tests.submitted import add_collection, add_submission, database_of

ADMIN = {"authorization": "Bearer secret"}
NAMES = ("study", "series", "instance")
NOBODY = {"submission": "unknown", "job": "4711", "edit": "4711", "finding": "4711", "conflict": "4711"}
NOBODY |= {"key": "abcdefghijkl", "webhook": "nobody", "accession": "nowhere"}
OTHERS = {
    "reader": {"roles": ["reader"], "collections": ["theirs"]},
    "manager": {"roles": ["manager"], "collections": ["theirs"]},
    "submitter": {"roles": ["submitter"], "collections": ["default"]},
}
RULES = [{"attribute": "PatientName", "action": "remove"}]
BODIES: Mapping[str, Mapping[str, Any]] = {
    "edits": {"rules": RULES, "reason": "Because"},
    "preview": {"rules": RULES},
    "comments": {"text": "Hello"},
    "waive": {"reason": "Because"},
    "decision": {"decision": "keep"},
    "undo": {"reason": "Because"},
    "zip": {"series": [RESOURCES["hidden study"][1]]},
}
"""What is sent, by the last step of the path."""
_NAMED_AT_RANDOM = re.compile(rb'"request_id":"[0-9a-f]+"|--[0-9a-f]{32}|Request [0-9a-f]{16}')

Asked = tuple[str, str, str]
Answers = dict[Asked, tuple[int, dict[str, str], bytes]]


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive that gives keys and does no job by itself, with a collection of others."""
    settings = {"api_key": "secret", "job_slots": 0, "maintenance_interval_seconds": 0}
    async with start_archive(**settings, webhook_hosts="hooks.example.org") as archive:
        await add_collection(archive, "theirs")
        yield archive


async def fill(archive: Archive) -> dict[str, str]:
    """Let something wait and be worked on, and return the names of all that comes of it."""
    client = archive.client
    await add_submission(archive, "waiting")
    await add_collection(archive, "shut", access="restricted")
    path = "/submissions/waiting"
    store = {**ADMIN, "content-type": RELATED}
    for name in (SECRET, "Another^Name"):
        body = related(ct_series(1, study=77, series=1, PatientName=name))
        await client.post(f"{path}/dicom-web/studies", content=body, headers=store)
    async with database_of(archive).transaction() as connection:
        await connection.execute("update submission set state = 'in_review' where name = 'waiting'")
    now = {**ADMIN, "if-match": "*"}
    edit = (await client.post(f"{path}/edits", json=BODIES["edits"], headers=now)).json()
    conflicts = (await client.get(f"{path}/conflicts", headers=ADMIN)).json()["conflicts"]
    key = await client.post("/keys", json={"name": "k", "roles": ["curator"]}, headers=ADMIN)
    webhook = await client.post("/webhooks", json={"url": "https://hooks.example.org/in"}, headers=ADMIN)
    return {
        "submission": "waiting",
        "job": edit["job"].rpartition("/")[2],
        "edit": str(edit["id"]),
        "finding": "1",
        "conflict": str(conflicts[0]["id"]),
        "key": str(key.json()["id"]),
        "webhook": str(webhook.json()["id"]),
        "accession": "shut",
    }


def operations(archive: Archive, description: Mapping[str, Any]) -> Iterator[Asked]:
    """Make method, path with names to fill in, and Accept of all that is asked for."""
    for path, item in description["paths"].items():
        for server in servers_of(item) if "dicom-web" in path else [""]:
            if "collections/" in server:
                continue
            where = ("/submissions/{submission}" if server else "") + path
            for method in ("get", "post", "put", "patch", "delete"):
                # Whoever makes something new is told of it.
                if method in item and (method == "get" or "{" in where):
                    yield method, where, "application/json" if "dicom-web" not in path else "*/*"
    for route in archive.app.router.routes:
        if isinstance(route, Route) and route.path.startswith("/submissions") and "dicom-web" not in route.path:
            yield "get", route.path, BROWSER["accept"]


async def answers(archive: Archive, asked: list[Asked], names: Mapping[str, str], key: str) -> Answers:
    """Ask for everything by one key."""
    uids = dict(zip(NAMES, RESOURCES["hidden study"], strict=True))
    known = {**uids, "path": "7FE00010", "frame": "1", "frames": "1", **names}
    found: Answers = {}
    for method, where, accept in asked:
        headers = {"accept": accept, "authorization": f"Bearer {key}", "if-match": "*"}
        body = BODIES.get(where.rpartition("/")[2], {}) if method != "get" else None
        path = re.sub(r":\w+}", "}", where).format_map(known)
        answer = await archive.client.request(method, path, headers=headers, json=body)
        # What an answer repeats of the path is known to who has asked.
        content = _NAMED_AT_RANDOM.sub(b"", answer.content)
        for name, value in names.items():
            content = content.replace(b"/%b" % value.encode(), b"/{%b}" % name.encode())
        found[method, where, accept] = answer.status_code, headers_of(answer) | {"content-length": ""}, content
    return found


def is_asked_by(name: str, where: str) -> bool:
    """Readers ask for what is read; what managers read of the archive itself they see as readers."""
    return name == "submitter" or ("dicom-web" in where if name == "reader" else not where.startswith("/dicom-web"))


async def test_keys_of_others_open_no_trace_of_what_waits(archive: Archive) -> None:
    keys = {}
    for name, order in OTHERS.items():
        given = await archive.client.post("/keys", json={"name": name, **order}, headers=ADMIN)
        assert given.status_code == 201, given.text
        keys[name] = given.json()["key"]
    await look_after(archive)
    description = (await archive.client.get("/openapi.json")).json()
    asked = list(dict.fromkeys(operations(archive, description)))
    parts = {name: [each for each in asked if is_asked_by(name, each[1])] for name in OTHERS}
    before = {name: await answers(archive, parts[name], NOBODY, key) for name, key in keys.items()}
    names = await fill(archive)
    await look_after(archive)
    held = await of_admin(archive, names)
    for name, key in keys.items():
        after = await answers(archive, parts[name], names, key)
        assert [each for each in parts[name] if after[each] != before[name][each]] == [], name
        assert all(SECRET.encode() not in content for _, _, content in after.values())
    assert await of_admin(archive, names) == held


async def of_admin(archive: Archive, names: Mapping[str, str]) -> list[Any]:
    """Return what stands there for who may see it all."""
    paths = ("/submissions/{submission}", "/submissions/{submission}/events", "/jobs/{job}", "/collections/{accession}")
    found = [
        await archive.client.get(path.format_map(names), headers=ADMIN)
        for path in (*paths, "/keys/{key}", "/webhooks/{webhook}", "/submissions/{submission}/edits/{edit}")
    ]
    assert {answer.status_code for answer in found} == {200}
    return [answer.json() for answer in found]
