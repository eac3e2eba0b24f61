"""Submissions as resources: opened, listed, described, moved from state to state, with a trail."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.http.archive import Archive
from tests.http.conftest import StartArchive

from dicomweb_archive.services.access import Principal, PrincipalKind, Role, with_included

JSON = {"content-type": "application/json"}


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive in which nothing happens by itself: what is sealed stays sealed."""
    async with start_archive(job_slots=0) as archive:
        yield archive


async def opened(archive: Archive, **said: Any) -> dict[str, Any]:
    answer = await archive.client.post("/submissions", json=said)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    assert answer.headers["location"] == document["url"]
    assert answer.headers["etag"] == f'"{document["revision"]}"'
    return document


async def act(
    archive: Archive, submission: dict[str, Any], action: str, *, revision: int | None = None, **decision: Any
) -> httpx.Response:
    path = f"/submissions/{submission['name']}"
    if revision is None:
        revision = (await archive.client.get(path)).json()["revision"]
    return await archive.client.post(f"{path}/{action}", json=decision, headers={"if-match": f'"{revision}"'})


async def test_a_submission_is_opened_described_and_walks_through_its_states(archive: Archive) -> None:
    submission = await opened(archive, title="Trial 7", contact="ann@example.org", site="Graz")
    assert submission["state"] == "open"
    assert submission["collection"] == "default"
    assert submission["dicomweb"] == f"http://archive.example/submissions/{submission['name']}/dicom-web"
    assert submission["held"] == {"studies": 0, "series": 0, "instances": 0, "size_bytes": 0}
    path = f"/submissions/{submission['name']}"
    described = await archive.client.patch(path, json={"title": "Trial 8"}, headers={"if-match": '"1"'})
    assert described.status_code == 200
    assert (described.json()["title"], described.json()["site"], described.json()["revision"]) == ("Trial 8", "Graz", 2)
    for action, state in (
        ("seal", "sealed"),
        ("reopen", "open"),
        ("seal", "sealed"),
        ("review", "in_review"),
        ("approve", "approved"),
        ("reconsider", "in_review"),
    ):
        answer = await act(archive, submission, action)
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == state
    answer = await act(archive, submission, "request-changes", reason="wrong_patient", comment="Subject 3 is another")
    assert answer.json()["state"] == "changes_requested"
    assert answer.json()["actions"] == ["reopen", "reject", "withdraw"]
    assert (await archive.client.post(f"{path}/comments", json={"text": "Looked into it"})).status_code == 204
    trail = (await archive.client.get(f"{path}/events")).json()["events"]
    kinds = [event["kind"].removeprefix("submission_") for event in trail]
    assert kinds == ["opened", "described", *["state_changed"] * 7, "commented"]
    assert trail[-2]["detail"]["reason"] == "wrong_patient"
    assert trail[-2]["comment"] == "Subject 3 is another"
    assert trail[-1]["comment"] == "Looked into it"
    behind = await archive.client.get(f"{path}/events", params={"since": trail[-2]["id"], "limit": 1})
    assert [event["id"] for event in behind.json()["events"]] == [trail[-1]["id"]]


async def test_a_change_must_name_the_revision_that_it_is_meant_for(archive: Archive) -> None:
    submission = await opened(archive)
    path = f"/submissions/{submission['name']}"
    assert (await archive.client.post(f"{path}/seal")).status_code == 428
    assert (await archive.client.patch(path, json={"title": "x"})).status_code == 428
    for tag in ('"7"', 'W/"1"', "nothing", '"1", "2"'):
        answer = await archive.client.post(f"{path}/seal", json={}, headers={"if-match": tag})
        assert answer.status_code == 412
    assert (await archive.client.post(f"{path}/seal", json={}, headers={"if-match": "*"})).status_code == 200
    (job,) = (await archive.client.get("/jobs", params={"subject": path})).json()["jobs"]
    assert (job["kind"], job["state"], job["actor"]) == ("run-checks", "waiting", "anonymous")
    # The first of two decisions wins.
    assert (await act(archive, submission, "review", revision=2)).status_code == 200
    assert (await act(archive, submission, "reopen", revision=2)).status_code == 412


async def test_what_a_state_does_not_know_is_409_and_names_what_it_knows(archive: Archive) -> None:
    submission = await opened(archive)
    answer = await act(archive, submission, "approve")
    assert answer.status_code == 409
    assert answer.json()["allowed"] == ["seal", "reject", "withdraw"]
    assert (await act(archive, submission, "withdraw")).json()["actions"] == []
    answer = await archive.client.patch(
        f"/submissions/{submission['name']}", json={"title": "x"}, headers={"if-match": "*"}
    )
    assert answer.status_code == 409


async def test_who_says_no_must_say_why(archive: Archive) -> None:
    submission = await opened(archive)
    answer = await act(archive, submission, "reject")
    assert answer.status_code == 400
    assert "reason" in answer.json()["detail"]
    assert (await act(archive, submission, "reject", reason="because")).status_code == 400
    assert (await act(archive, submission, "reject", reason="duplicate")).json()["state"] == "rejected"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"collection": "nowhere"}, "collection"),
        ({"title": "x" * 301}, "title"),
        ({"site": "a\0b"}, "site"),
        ({"Doe^Jane": 1}, "not known"),
        ([], "body"),
    ],
    ids=["no-such-collection", "long", "nul", "unknown-member", "no-object"],
)
async def test_what_cannot_be_opened_is_refused_by_name(archive: Archive, body: Any, named: str) -> None:
    answer = await archive.client.post("/submissions", json=body)
    assert answer.status_code == 400
    assert named in answer.json()["detail"]
    assert "Jane" not in answer.text


async def test_the_queue_is_filtered_sorted_paged_and_counted(archive: Archive) -> None:
    first = await opened(archive, title="b", site="Graz")
    second = await opened(archive, title="A", site="Utrecht", contact="Kim")
    third = await opened(archive, title="c", site="Graz")
    await act(archive, first, "seal")

    async def names(**asked: Any) -> list[str]:
        answer = await archive.client.get("/submissions", params=asked)
        assert answer.status_code == 200, answer.text
        return [each["name"] for each in answer.json()["submissions"]]

    one, two, three = (each["name"] for each in (first, second, third))
    assert await names() == [two, three, one]
    assert await names(orderby="-created_at") == [three, two, one]
    assert await names(orderby="title") == [two, one, three]
    assert await names(orderby="created_at", limit=1, offset=1) == [two]
    assert await names(site="Graz", state="open") == [three]
    assert await names(text="kIM") == [two]
    assert await names(collection="other") == []
    assert await names(opened_by="anonymous", state=["sealed", "approved"]) == [one]
    page = (await archive.client.get("/submissions", params={"state": "sealed"})).json()
    assert page["counts"] == {"open": 2, "sealed": 1}
    assert page["total"] == 1
    for wrong in ({"state": "nonsense"}, {"orderby": "size"}, {"limit": "1001"}, {"offset": "-1"}):
        answer = await archive.client.get("/submissions", params=wrong)
        assert answer.status_code == 400
        assert next(iter(wrong)) in answer.json()["detail"]


async def test_others_see_nothing_of_a_submission(archive: Archive) -> None:
    submitter = Principal("ann", PrincipalKind.KEY_HOLDER, frozenset({Role.READER, Role.SUBMITTER}))
    other = Principal("bob", PrincipalKind.KEY_HOLDER, frozenset({Role.READER, Role.SUBMITTER}))
    curator = Principal("cyd", PrincipalKind.KEY_HOLDER, with_included({Role.CURATOR}), frozenset({1}))
    elsewhere = Principal("dan", PrincipalKind.KEY_HOLDER, with_included({Role.CURATOR}), frozenset({2}))
    archive.let_in(submitter, other, curator, elsewhere)

    def key(name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {name}"}

    assert (await archive.client.post("/submissions", json={})).status_code == 401
    assert (await archive.client.post("/submissions", json={}, headers=key("dan"))).status_code == 403
    document = (await archive.client.post("/submissions", json={}, headers=key("ann"))).json()
    assert document["actions"] == ["seal", "withdraw"]
    path = f"/submissions/{document['name']}"
    for stranger in ({}, key("bob"), key("dan")):
        assert (await archive.client.get("/submissions", headers=stranger)).json()["submissions"] == []
        assert (await archive.client.get("/submissions", headers=stranger)).json()["counts"] == {}
        for method, below in (("GET", ""), ("GET", "/events"), ("POST", "/seal"), ("PATCH", ""), ("POST", "/comments")):
            sent = {**stranger, "if-match": "*"}
            body = {"json": {"text": "x"} if below == "/comments" else {}} if method != "GET" else {}
            answer = await archive.client.request(method, path + below, headers=sent, **body)
            # Of who has no key no change is read, whatever there is.
            assert answer.status_code == (404 if stranger or method == "GET" else 401)
    assert (await archive.client.get(path, headers=key("cyd"))).json()["actions"] == ["seal", "reject", "withdraw"]
    answer = await archive.client.post(
        f"{path}/reject", json={"reason": "other"}, headers={**key("ann"), "if-match": "*"}
    )
    assert answer.status_code == 403
    answer = await archive.client.post(f"{path}/seal", json={}, headers={**key("ann"), "if-match": "*"})
    assert answer.json()["state"] == "sealed"


async def test_an_archive_may_be_opened_by_key_and_read_by_nobody_else(start_archive: StartArchive) -> None:
    async with start_archive(api_key="k" * 40, anonymous_read=True) as archive:
        key = {"authorization": "Bearer " + "k" * 40}
        document = (await archive.client.post("/submissions", json={}, headers=key)).json()
        assert (await archive.client.get(f"/submissions/{document['name']}", headers=key)).status_code == 200
        assert (await archive.client.get(f"/submissions/{document['name']}")).status_code == 404


async def test_a_body_is_json_of_a_bounded_size(archive: Archive) -> None:
    answer = await archive.client.post("/submissions", content=b"x" * 4_200_000, headers=JSON)
    assert answer.status_code == 413
    assert (await archive.client.post("/submissions", content=b"{", headers=JSON)).status_code == 400
    assert (await archive.client.post("/submissions", content=b"a=b")).status_code == 415
