"""Errors as RFC 9457 problems: one shape, stable types, no values."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive import errors
from dicomweb_archive.observability import Metrics
from dicomweb_archive.web import errors as web_errors
from dicomweb_archive.web.disconnects import ClientVanishedError
from dicomweb_archive.web.middleware import RequestRecorder
from dicomweb_archive.web.routing import ResourceRoute as Route

EXPECTED = {
    errors.InvalidRequestError("broken"): (400, "invalid-request"),
    errors.InvalidParameterError("limit", accepted="a number"): (400, "invalid-parameter"),
    errors.InvalidMatchError("StudyDate", accepted="YYYYMMDD"): (400, "invalid-match"),
    errors.InvalidInstanceError("cut short"): (400, "invalid-instance"),
    errors.RequestTooLargeError("too many"): (413, "too-large"),
    errors.RequestTimeoutError("slow"): (408, "too-slow"),
    errors.NotAcceptableError("none", available=("application/dicom",)): (406, "not-acceptable"),
    errors.RangeNotSatisfiableError(10): (416, "range-not-satisfiable"),
    errors.PreconditionFailedError("known"): (412, "precondition-failed"),
    errors.PreconditionRequiredError("which revision"): (428, "precondition-required"),
    errors.UnsupportedMediaTypeError("text", supported=("application/dicom",)): (415, "unsupported-media-type"),
    errors.NotFoundError("no such study"): (404, "not-found"),
    errors.GoneError("deleted"): (410, "gone"),
    errors.ConflictError("taken"): (409, "conflict"),
    errors.TransitionError("sealed", "approve", allowed=("reopen",)): (409, "not-in-this-state"),
    errors.UnauthenticatedError("who"): (401, "unauthenticated"),
    errors.ForbiddenError("no"): (403, "forbidden"),
    errors.UndecodableError("codec"): (406, "undecodable"),
    errors.ObjectNotFoundError("missing"): (500, "object-missing"),
    errors.DamagedObjectError("short"): (500, "object-damaged"),
    errors.StorageUnavailableError("away"): (503, "storage-unavailable"),
    errors.StorageFullError("full"): (507, "storage-full"),
    errors.DatabaseUnavailableError("away"): (503, "database-unavailable"),
    errors.OverloadedError("busy"): (503, "overloaded"),
    errors.QueryTooExpensiveError("broad"): (413, "query-too-expensive"),
    errors.SetupError("set up"): (500, "setup"),
    errors.ArchiveError("other"): (500, "failed"),
}


@pytest.fixture
async def failing() -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, Any]]]:
    """An app whose one resource raises what `raised["error"]` holds."""
    raised: dict[str, Any] = {}

    async def fail(request: Request) -> Response:
        raise raised["error"]

    async def typed(number: int) -> int:
        return number

    app = FastAPI(routes=[Route("/fails", fail), Route("/fails", fail, methods=["POST"])], redirect_slashes=False)
    app.add_api_route("/typed", typed)
    web_errors.install(app)
    app.add_middleware(RequestRecorder, metrics=Metrics())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://archive") as client:
        yield client, raised


def test_every_error_of_the_family_is_in_the_table() -> None:
    family = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    assert family == set(web_errors.PROBLEMS)
    assert family == {type(error) for error in EXPECTED}


def test_the_names_of_problems_are_distinct() -> None:
    names = [problem.name for problem in web_errors.PROBLEMS.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("error", EXPECTED, ids=lambda error: type(error).__name__)
async def test_each_error_has_its_status_and_a_problem(
    failing: tuple[httpx.AsyncClient, dict[str, Any]], error: errors.ArchiveError
) -> None:
    client, raised = failing
    raised["error"] = error
    status, name = EXPECTED[error]
    answer = await client.get("/fails")
    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:dicomweb-archive:problem:{name}"
    assert problem["detail"] == str(error)
    assert problem["title"]
    assert problem["request_id"] == answer.headers["x-request-id"]


async def test_what_would_help_is_said(failing: tuple[httpx.AsyncClient, dict[str, Any]]) -> None:
    client, raised = failing
    raised["error"] = errors.UnauthenticatedError("who")
    assert (await client.get("/fails")).headers["www-authenticate"].startswith("Bearer")
    raised["error"] = errors.NotAcceptableError("none", available=("application/dicom",))
    assert (await client.get("/fails")).json()["available"] == ["application/dicom"]
    raised["error"] = errors.UnsupportedMediaTypeError("text", supported=("application/dicom",))
    assert (await client.get("/fails")).json()["supported"] == ["application/dicom"]
    for later in (errors.DatabaseUnavailableError("away"), errors.OverloadedError("busy")):
        raised["error"] = later
        assert (await client.get("/fails")).headers["retry-after"]
    raised["error"] = errors.RequestTimeoutError("slow")
    assert (await client.get("/fails")).headers["connection"] == "close"


async def test_a_bug_is_answered_without_detail_and_logged_without_values(
    failing: tuple[httpx.AsyncClient, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    client, raised = failing
    raised["error"] = ValueError("Doe^Jane")
    answer = await client.get("/fails")
    assert answer.status_code == 500
    assert answer.json() == {
        "type": "urn:dicomweb-archive:problem:unexpected",
        "title": "Something unexpected happened",
        "status": 500,
        "request_id": answer.headers["x-request-id"],
    }
    assert any(record.exc_info for record in caplog.records)


async def test_a_client_that_left_gets_no_answer_and_no_traceback(
    failing: tuple[httpx.AsyncClient, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    client, raised = failing
    caplog.set_level("INFO")
    raised["error"] = ClientVanishedError()
    # The transport insists on an answer; a server sees a closed connection.
    with pytest.raises(AssertionError):
        await client.post("/fails")
    (record,) = [r for r in caplog.records if r.name == "dicomweb_archive.web.middleware"]
    assert vars(record)["status"] == 499
    assert not any(r.exc_info for r in caplog.records)


async def test_an_unknown_method_is_told_all_known_ones(failing: tuple[httpx.AsyncClient, dict[str, Any]]) -> None:
    client, _ = failing
    for method in ("TRACE", "PROPFIND", "PUT", "PATCH", "BREW"):
        answer = await client.request(method, "/fails")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD, POST"
        assert answer.json()["type"].endswith(":method-not-allowed")


async def test_an_unknown_path_is_a_problem_too(failing: tuple[httpx.AsyncClient, dict[str, Any]]) -> None:
    client, _ = failing
    for path in ("/nowhere", "/fails/", "/..%2f..%2fetc", "/%00"):
        answer = await client.get(path)
        assert answer.status_code == 404
        assert "location" not in answer.headers
        assert answer.json()["type"].endswith(":not-found")


async def test_a_parameter_of_the_wrong_type_is_named_and_not_repeated(
    failing: tuple[httpx.AsyncClient, dict[str, Any]],
) -> None:
    client, _ = failing
    answer = await client.get("/typed", params={"number": "Doe^Jane"})
    assert answer.status_code == 400
    assert "query.number" in answer.json()["detail"]
    assert "Doe" not in answer.text
