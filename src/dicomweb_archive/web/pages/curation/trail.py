"""The trail of a submission on a page: what happened and what was said, the newest first."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.web.dependencies import get_services
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.curation.parameters import number_of, require_known
from dicomweb_archive.web.pages.curation.visit import SUBMISSION, render_submission, visit
from dicomweb_archive.web.pages.curation.wording import tell
from dicomweb_archive.web.pages.problems import as_page

PAGE: Final = 100
_MOST_ID: Final = 2**63 - 1


async def show_trail(request: Request) -> Response:
    """Show what happened to a submission."""
    seen = await visit(request)
    require_known(request, ("before",))
    before = number_of(request, "before", at_most=_MOST_ID)
    found = await get_services(request).submissions.latest_events(seen.submission, before=before or None, limit=PAGE)
    return await render_submission(
        request,
        seen,
        "trail.html",
        events=[tell(each) for each in found],
        before=before,
        older=found[-1].id if len(found) == PAGE else None,
    )


routes = [BrowserRoute(f"{SUBMISSION}/events", as_page(show_trail), name="trail_page")]
