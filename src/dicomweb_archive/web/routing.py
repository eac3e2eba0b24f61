"""Routes past FastAPI's machinery (80 to 95 µs a request in the spike): of DICOMweb resources, and of pages."""

from collections.abc import Collection

from starlette.routing import Match, Route
from starlette.types import Scope


class TemplatedRoute(Route):
    """A route whose template logs and metrics read from the scope."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path, and leave this route in the scope as FastAPI does with its own."""
        match, child_scope = super().matches(scope)
        if match is not Match.NONE:
            child_scope["route"] = self
        return match, child_scope


class ResourceRoute(TemplatedRoute):
    """A route of a DICOMweb resource; the description of the API names each one, and `web/door.py` serves it."""

    @property
    def known_methods(self) -> Collection[str]:
        """Methods that the resource knows, HEAD where GET is one of them."""
        return self.methods or ()


class PageRoute(TemplatedRoute):
    """A route of what people see in a browser; the description of the API leaves it out."""
