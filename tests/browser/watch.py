"""Watches a page: what its script complains about, and what it asks for and does not get.

A picture may look right while a request failed behind it, so each test ends with the question whether anything did.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Error, Page, Request, Response

_LAST_ANSWERS = 40
_STATE_WITHIN_MS = 5_000
# What the viewer knows of its viewports, and what a person reads on the page. Always true: it is waited for, since
# other questions to a page that is stuck have no end.
_STATE = """() => ({
  viewports: window.cornerstone?.getEnabledElements().map(({ viewport }) => ({
    id: viewport.id, type: viewport.type, status: viewport.viewportStatus,
    image: viewport.getCurrentImageId?.(), painted: viewport.csImage?.imageId, hasData: !!viewport.getImageData?.(),
  })),
  places: [...document.querySelectorAll('[data-viewport-uid]')].map(each => each.dataset.viewportUid),
  text: document.body?.innerText.slice(0, 1500),
})"""
_FRAME_PATH = re.compile(r"/studies/[^/]+/series/([^/]+)/instances/([^/]+)/frames/(\d+)$")


@dataclass(frozen=True)
class Allowed:
    """A remark that says nothing about the archive.

    Attributes:
        pattern: regular expression, searched in the remark.
        reason: why it is none of ours.
    """

    pattern: str
    reason: str


ALLOWED = (
    Allowed(
        r"^failed request: GET .*: net::ERR_ABORTED$",
        "the browser itself drops what it waits for when a page is left; an answer broken off by the archive is"
        " ERR_INCOMPLETE_CHUNKED_ENCODING, ERR_CONTENT_LENGTH_MISMATCH or ERR_CONNECTION_RESET",
    ),
    Allowed(
        r"^(failed request: GET |console error: Failed to load resource: net::ERR_FILE_NOT_FOUND \()blob:",
        "the viewer's own: it takes back its small pictures, which lie in the page, when another view comes; nothing"
        " of this ever reaches the archive, and tests that need a blob look at what it shows",
    ),
    Allowed(
        r"^console error: Unable to preventDefault inside passive event listener invocation\.",
        "the viewer's own: it means to keep the page from scrolling while the wheel turns over a plane",
    ),
)


@dataclass(frozen=True)
class Answer:
    """One request of the page and the status of its answer."""

    method: str
    path: str
    query: str
    status: int


@dataclass
class PageWatch:
    """Collects what happens on the pages of one test.

    Attributes:
        answers: all requests that were answered, in order of the answers.
        remarks: console errors and warnings, script errors, failed requests and answers of 400 and above.
    """

    answers: list[Answer] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    _under_way: dict[Request, None] = field(default_factory=dict)
    _allowed: list[Allowed] = field(default_factory=lambda: list(ALLOWED))
    _pages: list[Page] = field(default_factory=list)

    def look_at(self, page: Page) -> None:
        """Begin to watch a page."""
        self._pages.append(page)
        page.on("console", self._on_console)
        page.on("pageerror", self._on_script_error)
        page.on("request", self._on_request)
        page.on("requestfinished", self._on_end)
        page.on("requestfailed", self._on_failure)
        page.on("response", self._on_answer)

    def look_away(self) -> None:
        """Watch no page any longer."""
        for page in self._pages:
            page.remove_listener("console", self._on_console)
            page.remove_listener("pageerror", self._on_script_error)
            page.remove_listener("request", self._on_request)
            page.remove_listener("requestfinished", self._on_end)
            page.remove_listener("requestfailed", self._on_failure)
            page.remove_listener("response", self._on_answer)
        self._pages.clear()

    def allow(self, pattern: str, reason: str) -> None:
        """Expect a remark in this test; the reason says why it is right that it comes."""
        self._allowed.append(Allowed(pattern, reason))

    def complaints(self) -> list[str]:
        """Return the remarks that nothing allows."""
        return [remark for remark in self.remarks if not any(re.search(each.pattern, remark) for each in self._allowed)]

    def account(self) -> str:
        """Tell what has happened so far, for whoever must find out why a picture never came."""
        waiting = [f"no answer, or no end of it: {each.method} {each.url}" for each in self._under_way]
        answered = [f"{each.status} {each.method} {each.path}?{each.query}" for each in self.answers[-_LAST_ANSWERS:]]
        pages = [f"{page.url}\n{_state_of(page)}" for page in self._pages]
        return "\n".join([*pages, *waiting, *self.remarks, *answered])

    def frames(self) -> Counter[tuple[str, str, int]]:
        """Count the frames that came: series, instance, number of the frame."""
        found = (_FRAME_PATH.search(answer.path) for answer in self.answers if answer.status == 200)
        return Counter((match[1], match[2], int(match[3])) for match in found if match)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "assert"}:
            self.remarks.append(f"console {message.type}: {message.text} ({message.location.get('url', '')})")

    def _on_script_error(self, error: Error) -> None:
        self.remarks.append(f"script error: {error}")

    def _on_request(self, request: Request) -> None:
        self._under_way[request] = None

    def _on_end(self, request: Request) -> None:
        self._under_way.pop(request, None)

    def _on_failure(self, request: Request) -> None:
        self._on_end(request)
        self.remarks.append(f"failed request: {request.method} {request.url}: {request.failure}")

    def _on_answer(self, response: Response) -> None:
        address = urlsplit(response.url)
        self.answers.append(Answer(response.request.method, address.path, address.query, response.status))
        if response.status >= 400:
            self.remarks.append(f"status {response.status}: {response.request.method} {response.url}")


def _state_of(page: Page) -> str:
    try:
        state = page.wait_for_function(_STATE, timeout=_STATE_WITHIN_MS).json_value()
    except Error as error:
        return f"the page does not tell its state: {error.message}"
    return json.dumps(state, indent=1)
