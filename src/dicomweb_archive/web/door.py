"""The front door: requests for DICOMweb resources go straight to their handlers, past the framework's machinery.

FastAPI and Starlette carry pages and the routes of the system. For a frame of a slice what they do around a handler
took as much time as the handler itself, and none of it is used by a `ResourceRoute` (docs/design/0007-hot-path.md).
"""

from collections.abc import Iterable

from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomweb_archive.errors import ArchiveError
from dicomweb_archive.web.errors import answer_archive_error
from dicomweb_archive.web.routing import ASKED_ROOT, ResourceRoute
from dicomweb_archive.wire.roots import DICOMWEB, PUBLISHED, split_root


class Door:
    """Serves what a route of a DICOMweb resource takes whole, below any root; all else is left to the app behind it.

    The routes are those of the application and are tried in the same order, so a request ends in the same handler
    on either way. A method that a resource does not know, and a path that names none, get their answers behind.

    Args:
        app: the application behind.
        routes: its routes; those that are no `ResourceRoute` are left to it.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self.app = app
        self._routes = tuple(
            (route.known_methods, route.path_regex.match, route) for route in routes if isinstance(route, ResourceRoute)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP passes unseen."""
        route = self.find(scope) if scope["type"] == "http" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await route.endpoint(request)
            await response(scope, receive, send)
        except ArchiveError as error:
            # Answers raise these before their head is out; later they are cut (`web/streams.py`).
            response = await answer_archive_error(request, error)
            await response(scope, receive, send)

    def find(self, scope: Scope) -> ResourceRoute | None:
        """Return the route that takes a request, and leave it in the scope as the framework does with its own."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        method = scope["method"]
        # Hot path: most requests are for what is published, so they are not looked at for another root.
        asked, path = (PUBLISHED, path) if path.startswith(DICOMWEB) else split_root(path)
        # Hot path: a pattern that does not match takes a fraction of a microsecond, and frames come early.
        for methods, match, route in self._routes:
            if method in methods and (found := match(path)) is not None:
                if asked is PUBLISHED:
                    scope["route"] = route
                elif asked.kind in route.roots:
                    scope["route"], scope[ASKED_ROOT] = route.templates[asked.kind], asked
                else:
                    continue
                scope["path_params"] = found.groupdict()
                return route
        return None
