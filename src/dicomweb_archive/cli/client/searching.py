"""Searching a Studies Service page by page (PS3.18 10.6)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from dicomweb_archive.cli.client.connection import RetryPolicy, Server, UnexpectedAnswerError, get_json

PAGE_ROWS = 1000
_SMALLEST_CAP = 100
"""No server is known to give fewer rows a page than this; many cap without saying so."""

Row = Mapping[str, Any]
"""One match in the DICOM JSON model."""


class SearchLevel(StrEnum):
    """What a search finds."""

    STUDIES = "studies"
    SERIES = "series"
    INSTANCES = "instances"


UNIQUE_KEY = {
    SearchLevel.STUDIES: "0020000D",
    SearchLevel.SERIES: "0020000E",
    SearchLevel.INSTANCES: "00080018",
}
_STUDY_KEYS = ("StudyInstanceUID", "0020000D", "0020000d")
_SERIES_KEYS = ("SeriesInstanceUID", "0020000E", "0020000e")


@dataclass(frozen=True, slots=True)
class Search:
    """A search as a person types it: a level, KEY=VALUE pairs, further attributes to return."""

    level: SearchLevel
    keys: tuple[tuple[str, str], ...] = ()
    include: tuple[str, ...] = ()
    fuzzy: bool = False
    order: str | None = None
    text: str | None = None

    def resource(self) -> tuple[str, list[tuple[str, str]]]:
        """Choose the resource and what is left as parameters.

        A single StudyInstanceUID (and SeriesInstanceUID) moves into the path: hierarchical searches are what
        every server must support, relational ones are not (PS3.18 Table 10.6.1-1).
        """
        keys = list(self.keys)
        path = ""
        if self.level is not SearchLevel.STUDIES and (study := _take_single(keys, _STUDY_KEYS)):
            path = f"/studies/{study}"
            if self.level is SearchLevel.INSTANCES and (series := _take_single(keys, _SERIES_KEYS)):
                path += f"/series/{series}"
        return f"{path}/{self.level}", keys

    def url(self, root: str, *, limit: int, offset: int) -> str:
        """Write the URL of one page."""
        resource, keys = self.resource()
        pairs = [*keys, *(("includefield", name) for name in self.include)]
        if self.fuzzy:
            pairs.append(("fuzzymatching", "true"))
        if self.text is not None:
            pairs.append(("text", self.text))
        if self.order is not None:
            pairs.append(("orderby", self.order))
        pairs += [("limit", str(limit)), ("offset", str(offset))]
        # A space must be %20: `+` is an ordinary character here (PS3.18 8.3.1), unlike in forms.
        query = "&".join(f"{quote(name, safe='.')}={quote(value, safe='*')}" for name, value in pairs)
        return f"{root}{resource}?{query}"


async def iter_matches(
    client: httpx.AsyncClient, server: Server, search: Search, *, limit: int | None, retry: RetryPolicy
) -> AsyncIterator[Row]:
    """Give the matches one by one, asking for page after page; `limit=None` for all.

    Raises:
        UnexpectedAnswerError: the server refuses the search or answers something else than DICOM JSON.
        ServerUnreachableError: no answer.
    """
    offset = 0
    first: str | None = None
    behind: str | None = None
    while limit is None or offset < limit:
        wanted = PAGE_ROWS if limit is None else min(PAGE_ROWS, limit - offset)
        url = behind or search.url(server.root, limit=wanted, offset=offset)
        response = await get_json(client, url, retry)
        page = _rows(response)
        # A server that does not know `offset` answers the same page for ever.
        if not page or _unique(page[0], search.level) == first:
            return
        first = _unique(page[0], search.level)
        for row in page[:wanted]:
            yield row
        offset += len(page)
        # A page behind a row stays right while instances arrive and go, one behind an offset does not.
        behind = _next_url(response, server.root + search.resource()[0])
        if behind is not None:
            continue
        # A short page is the last one, unless it may be short because the server caps its pages.
        if len(page) < min(wanted, _SMALLEST_CAP) and "Warning" not in response.headers:
            return


def uid_of(row: Row, tag: str) -> str:
    """Read a UID of a match; empty where the server left it out."""
    values = row.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _unique(row: Row, level: SearchLevel) -> str | None:
    return uid_of(row, UNIQUE_KEY[level]) or None


def _next_url(response: httpx.Response, resource: str) -> str | None:
    """Return the page that the server names as the next (RFC 8288).

    Only its query is taken over: what the server calls itself need not be what it is reached by, and our key goes
    nowhere else.
    """
    query = urlsplit(response.links.get("next", {}).get("url", "")).query
    return f"{resource}?{query}" if query else None


def _rows(response: httpx.Response) -> list[Row]:
    if response.status_code == 204:
        return []
    if response.status_code != 200:
        message = f"the server answers {response.status_code} to the search{_detail(response)}"
        raise UnexpectedAnswerError(message)
    try:
        rows = response.json()
    except ValueError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        message = "the server answers something else than DICOM JSON"
        raise UnexpectedAnswerError(message)
    return rows


def _detail(response: httpx.Response) -> str:
    try:
        detail = response.json().get("detail")
    except (ValueError, AttributeError):
        return ""
    return f": {detail}" if isinstance(detail, str) else ""


def _take_single(keys: list[tuple[str, str]], names: Sequence[str]) -> str | None:
    for pair in keys:
        if pair[0] in names and pair[1] and not set(pair[1]) - set("0123456789."):
            keys.remove(pair)
            return pair[1]
    return None
