"""Roots: below which base URI DICOMweb resources are asked for (PS3.18 8.2; docs/design/0008-quarantine.md).

The same resources lie below three: what is published, what is published of one collection, and one submission. The
viewer lies beside them.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DICOMWEB: Final = "/dicom-web"
"""Path of the DICOMweb services below the archive's root, a collection or a submission."""

VIEWER: Final = "/ohif"
"""Path of the viewer beside them."""

# What is no name of ours names nothing, so whatever is taken from a path may stand in a header.
_ELSEWHERE = re.compile(
    r"/(?:(?P<submission>submissions)|collections)/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,63})(?=/(?:dicom-web|ohif)(?:/|\Z))"
)


class RootKind(StrEnum):
    """What a root shows."""

    PUBLISHED = "published"
    """All that is published."""
    COLLECTION = "collection"
    """What is published of one collection."""
    SUBMISSION = "submission"
    """One submission, which is not published."""


@dataclass(frozen=True, slots=True)
class AskedRoot:
    """The root that a request names, which need not exist.

    Attributes:
        name: accession of the collection, or name of the submission; nothing of what is published.
    """

    kind: RootKind
    name: str = ""

    @property
    def parent(self) -> str:
        """Path of what the services lie below, relative to the archive's root; without a slash at the end."""
        return PARENTS[self.kind].format(self.name)

    @property
    def path(self) -> str:
        """Path of the services, relative to the archive's root."""
        return self.parent + DICOMWEB


PARENTS: Final = {
    RootKind.PUBLISHED: "",
    RootKind.COLLECTION: "/collections/{}",
    RootKind.SUBMISSION: "/submissions/{}",
}
"""Paths of what DICOMweb services lie below, by the name in them."""

EVERY_ROOT: Final = frozenset(RootKind)

PUBLISHED: Final = AskedRoot(RootKind.PUBLISHED)


def split_root(path: str) -> tuple[AskedRoot, str]:
    """Split a path into the root that it begins with, and the path that the resource has below `PUBLISHED`.

    A path that begins with no other root is of what is published, and stays as it is.
    """
    found = _ELSEWHERE.match(path)
    if found is None:
        return PUBLISHED, path
    kind = RootKind.COLLECTION if found["submission"] is None else RootKind.SUBMISSION
    return AskedRoot(kind, found["name"]), path[found.end() :]
