"""What went wrong, as HTTP: one table of ArchiveError classes and their statuses, answered as RFC 9457 problems."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from dicomweb_archive import errors
from dicomweb_archive.observability import request_id

logger = logging.getLogger(__name__)

TYPE_PREFIX = "urn:dicomweb-archive:problem:"


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of problem: its status, the stable end of its `type` URI, and a title that never changes."""

    status: int
    name: str
    title: str


# The first class that an error is an instance of counts, so subclasses stand before their parents.
PROBLEMS: Mapping[type[errors.ArchiveError], Problem] = {
    errors.InvalidMatchError: Problem(400, "invalid-match", "A search value does not fit its attribute"),
    errors.InvalidParameterError: Problem(400, "invalid-parameter", "A parameter has a value that does not fit"),
    errors.InvalidRequestError: Problem(400, "invalid-request", "The request is malformed"),
    errors.InvalidInstanceError: Problem(400, "invalid-instance", "The payload is not a DICOM instance"),
    errors.RequestTooLargeError: Problem(413, "too-large", "The request goes beyond a limit"),
    errors.RequestTimeoutError: Problem(408, "too-slow", "The request body came too slowly"),
    errors.NotAcceptableError: Problem(406, "not-acceptable", "No acceptable representation"),
    errors.RangeNotSatisfiableError: Problem(416, "range-not-satisfiable", "The range holds none of the bytes"),
    errors.PreconditionFailedError: Problem(412, "precondition-failed", "The request's condition does not hold"),
    errors.PreconditionRequiredError: Problem(428, "precondition-required", "The request needs a condition"),
    errors.UnsupportedMediaTypeError: Problem(415, "unsupported-media-type", "The payload's type is not supported"),
    errors.GoneError: Problem(410, "gone", "The resource was deleted"),
    errors.NotFoundError: Problem(404, "not-found", "There is no such resource"),
    errors.TransitionError: Problem(409, "not-in-this-state", "The present state does not know this action"),
    errors.ConflictError: Problem(409, "conflict", "The request contradicts the present state"),
    errors.UnauthenticatedError: Problem(401, "unauthenticated", "Credentials are missing or wrong"),
    errors.ForbiddenError: Problem(403, "forbidden", "Not allowed"),
    errors.UndecodableError: Problem(406, "undecodable", "The stored pixel data cannot be decoded"),
    errors.ObjectNotFoundError: Problem(500, "object-missing", "A stored object is missing"),
    errors.DamagedObjectError: Problem(500, "object-damaged", "A stored object is damaged"),
    errors.StorageUnavailableError: Problem(503, "storage-unavailable", "The object store cannot be reached"),
    errors.StorageFullError: Problem(507, "storage-full", "No room is left"),
    errors.DatabaseUnavailableError: Problem(503, "database-unavailable", "The database cannot be reached"),
    errors.OverloadedError: Problem(503, "overloaded", "Too much is being asked at once"),
    # PS3.18 Table 10.6.3-1 gives a search that is too broad this status.
    errors.QueryTooExpensiveError: Problem(413, "query-too-expensive", "The search is too broad"),
    errors.SetupError: Problem(500, "setup", "The archive is not set up"),
    errors.ArchiveError: Problem(500, "failed", "The request failed"),
}

UNEXPECTED = Problem(500, "unexpected", "Something unexpected happened")
MISDIRECTED = Problem(421, "misdirected", "The request was sent to another host")
URI_TOO_LONG = Problem(414, "uri-too-long", "The request's target is too long")

# What the framework raises by itself.
_FRAMEWORK = {
    400: Problem(400, "invalid-request", "The request is malformed"),
    404: Problem(404, "not-found", "There is no such resource"),
    405: Problem(405, "method-not-allowed", "The resource does not know this method"),
    413: Problem(413, "too-large", "The request goes beyond a limit"),
}


def problem_of(error: errors.ArchiveError) -> Problem:
    """Return what kind of problem an error is."""
    return next(problem for kind, problem in PROBLEMS.items() if isinstance(error, kind))


def problem_response(
    problem: Problem, detail: str | None = None, *, headers: Mapping[str, str] | None = None, **members: object
) -> Response:
    """Answer with a problem document (RFC 9457); `members` are its extension members."""
    document: dict[str, object] = {
        "type": TYPE_PREFIX + problem.name,
        "title": problem.title,
        "status": problem.status,
    }
    if detail is not None:
        document["detail"] = detail
    identifier = request_id.get()
    if identifier is not None:
        document["request_id"] = identifier
    document.update(members)
    return Response(
        orjson.dumps(document),
        status_code=problem.status,
        media_type="application/problem+json",
        headers=dict(headers or {}),
    )


def problem_part(error: errors.ArchiveError) -> tuple[str, bytes]:
    """Describe an error, as media type and payload, in place of one part of an answer that goes on without it."""
    answer = problem_response(problem_of(error), str(error))
    return str(answer.media_type), bytes(answer.body)


def headers_of(error: errors.ArchiveError) -> dict[str, str]:
    """Return what the answer to an error has to say besides its status (RFC 9110 10.2.3, 11.6.1)."""
    if isinstance(error, errors.UnauthenticatedError):
        return {"www-authenticate": 'Bearer realm="dicomweb-archive"'}
    if isinstance(error, (errors.DatabaseUnavailableError, errors.StorageUnavailableError, errors.OverloadedError)):
        return {"retry-after": "5"}
    if isinstance(error, errors.RangeNotSatisfiableError):
        return {"content-range": f"bytes */{error.length}"}
    if isinstance(error, errors.UnsupportedMediaTypeError) and error.codings:
        return {"accept-encoding": ", ".join(error.codings)}
    if isinstance(error, errors.RequestTimeoutError):
        # The rest of the body would be taken for the next request.
        return {"connection": "close"}
    return {}


async def answer_archive_error(request: Request, error: Exception) -> Response:
    """Answer an error that the archive expects."""
    assert isinstance(error, errors.ArchiveError)
    problem = problem_of(error)
    members: dict[str, object] = {}
    if isinstance(error, errors.NotAcceptableError):
        members["available"] = list(error.available)
    if isinstance(error, errors.UnsupportedMediaTypeError):
        members["supported"] = list(error.supported or error.codings)
    if isinstance(error, errors.TransitionError):
        members["allowed"] = list(error.allowed)
    if problem.status >= 500:
        logger.error("request failed: %s", problem.name, exc_info=error)
    return problem_response(problem, str(error), headers=headers_of(error), **members)


def answer_unexpected(error: Exception) -> Response:
    """Answer a bug: everything to the log, nothing to the client but the request's id."""
    logger.error("unexpected error", exc_info=error)
    return problem_response(UNEXPECTED)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == 405:
        first = set(headers.get("allow", "").split(", ")) - {""}
        headers["allow"] = ", ".join(sorted(first | _allowed_methods(request)))
    problem = _FRAMEWORK.get(error.status_code, Problem(error.status_code, "http", "The request failed"))
    return problem_response(problem, headers=headers)


def _allowed_methods(request: Request) -> set[str]:
    """Collect the methods of all routes of this path; the framework names those of the first only."""
    allowed: set[str] = set()
    for route in request.app.router.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            allowed |= getattr(route, "methods", None) or set()
    return allowed | {"HEAD"} if "GET" in allowed else allowed


def _place_of(error: Mapping[str, Any]) -> str:
    """Say where something does not fit; a member that we do not know has a name of the client's making."""
    is_unknown = error["type"] == "extra_forbidden"
    steps = [str(step) for step in error["loc"][: -1 if is_unknown else None]]
    return ".".join(steps) + (" (a member that is not known)" if is_unknown else "")


async def _answer_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # pydantic's own report repeats the input, which may name a patient.
    named = ", ".join(sorted({_place_of(item) for item in error.errors()}))
    return problem_response(_FRAMEWORK[400], f"does not fit its type: {named}")


def install(app: FastAPI) -> None:
    """Make the app answer every expected error by this module's table."""
    app.add_exception_handler(errors.ArchiveError, answer_archive_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
