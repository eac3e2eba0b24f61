"""Routes past FastAPI's machinery (80 to 95 µs a request in the spike): of DICOMweb resources, and of pages."""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from starlette.routing import Match, Route
from starlette.types import Scope

from dicomweb_archive.wire.roots import EVERY_ROOT, PARENTS, PUBLISHED, RootKind, split_root

ASKED_ROOT: Final = "dicomweb_archive.asked_root"
"""Where the scope of a request has the root that its path begins with, if it is not what is published."""


class Template(NamedTuple):
    """What logs and metrics call a route."""

    path: str


class TemplatedRoute(Route):
    """A route whose template logs and metrics read from the scope."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path, and leave this route in the scope as FastAPI does with its own."""
        match, child_scope = super().matches(scope)
        if match is not Match.NONE:
            child_scope["route"] = self
        return match, child_scope


class RootedRoute(TemplatedRoute):
    """A route that stands for a resource below every root (`wire/roots.py`).

    Its path is the one that the resource has below the archive's own root, and the scope says below which one it was
    asked for. So three roots cost no more matching than one.

    Args:
        roots: those that have the resource.
    """

    def __init__(self, path: str, *args: Any, roots: Collection[RootKind] = EVERY_ROOT, **options: Any) -> None:
        super().__init__(path, *args, **options)
        self.roots = roots
        self.templates = {kind: Template(_parent_template(kind) + path) for kind in roots}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path below whichever root it begins with."""
        root_path = scope.get("root_path", "")
        asked, path = split_root(scope["path"].removeprefix(root_path))
        if asked is PUBLISHED:
            return super().matches(scope)
        if asked.kind not in self.roots:
            return Match.NONE, {}
        match, child_scope = super().matches({**scope, "path": root_path + path})
        if match is not Match.NONE:
            child_scope.update({"route": self.templates[asked.kind], ASKED_ROOT: asked})
        return match, child_scope


class ResourceRoute(RootedRoute):
    """A route of a DICOMweb resource; the description of the API names each one, and `web/door.py` serves it."""

    @property
    def known_methods(self) -> Collection[str]:
        """Methods that the resource knows, HEAD where GET is one of them."""
        return self.methods or ()


class PageRoute(TemplatedRoute):
    """A route of what people see in a browser; the description of the API leaves it out."""


class RootedPageRoute(RootedRoute, PageRoute):
    """A page that every root has."""


def _parent_template(kind: RootKind) -> str:
    return PARENTS[kind].format(f"{{{kind}}}")
