"""Routes for browsers beside those for programs, at the same addresses."""

from starlette.requests import Request
from starlette.routing import Match
from starlette.types import Scope

from dicomweb_archive.web.pages.rendering import prefers_html
from dicomweb_archive.web.routing import PageRoute


class BrowserRoute(PageRoute):
    """A route for browsers alone: a program that asks for the same path gets JSON from the route behind it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path when HTML is preferred."""
        match, child_scope = super().matches(scope)
        if match is Match.NONE or not prefers_html(Request(scope)):
            return Match.NONE, {}
        return match, child_scope
