"""Pages for what went wrong: the table of `web/errors.py`, written for people."""

import logging
from collections.abc import Awaitable, Callable
from functools import wraps

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.errors import ArchiveError, UnauthenticatedError
from dicomweb_archive.observability import request_id
from dicomweb_archive.web.authentication import sign_in_redirect
from dicomweb_archive.web.errors import Problem, headers_of, problem_of
from dicomweb_archive.web.pages.rendering import render

logger = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


def as_page(endpoint: Endpoint) -> Endpoint:
    """Make a page answer the errors that the archive expects with pages, and lead to the one for signing in."""

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ArchiveError as error:
            if isinstance(error, UnauthenticatedError) and "authorization" not in request.headers:
                return sign_in_redirect(request)
            problem = problem_of(error)
            if problem.status >= 500:
                logger.error("page failed: %s", problem.name, exc_info=error)
            page = await render_problem(request, problem, str(error))
            page.headers.update(headers_of(error))
            return page

    return answer


async def render_problem(request: Request, problem: Problem, detail: str | None) -> Response:
    """Answer with the page of one problem."""
    return await render(
        request,
        "problem.html",
        problem.status,
        title=problem.title,
        code=problem.status,
        detail=detail.rstrip(".") if detail else None,
        # Only what the log has can be looked up there.
        request_id=request_id.get() if problem.status >= 500 else None,
    )
