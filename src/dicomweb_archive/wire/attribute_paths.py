"""Names of attributes in query strings: keywords, tags, and paths of them into sequences (PS3.18 8.3.1)."""

import re
from collections.abc import Sequence

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.tags import is_private, is_private_creator, parse_tag, vr_of
from dicomweb_archive.errors import InvalidMatchError, InvalidParameterError

_HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,64}")
UNSEARCHABLE_GROUPS = frozenset({0x0000, 0x0002, 0xFFFE})


class UnknownAttributeError(Exception):
    """A name is no attribute that can be asked for; never leaves the room."""


def harmless(name: str) -> str | None:
    """Return a parameter's name when it is a plain token that may be repeated in answers and logs."""
    return name if _HARMLESS.fullmatch(name) else None


class AttributeNames:
    """Reads the attribute names of one query string; private ones need the creators that it tells.

    Args:
        pairs: all parameters, among which `00290010=CREATOR` tells a private block's creator (PS3.18 8.3.4.1).
        depth: most members of a path.

    Attributes:
        used_creators: tags of the creator parameters that some private name has needed.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]], *, depth: int) -> None:
        self.used_creators: set[int] = set()
        self._depth = depth
        self._creators: dict[int, str] = {}
        self._nested_creators: dict[tuple[str, int], str] = {}
        for name, value in pairs:
            above, _, last = name.rpartition(".")
            try:
                tag = parse_tag(last)
            except ValueError:
                continue
            if is_private_creator(tag) and value.strip(" "):
                self._creators.setdefault(tag, value.strip(" "))
                self._nested_creators.setdefault((above, tag), value.strip(" "))

    def parse(self, name: str) -> AttributePath:
        """Read a keyword, a tag, or several joined by dots.

        A private attribute and a tag that the dictionary does not know have the VR UN: what VR they are stored
        with, only the index can tell.

        Raises:
            UnknownAttributeError: it is none, or one that no data set holds.
            InvalidMatchError: an inner attribute is no sequence, or a private creator is not told.
        """
        members = name.split(".", self._depth)
        if len(members) > self._depth:
            raise InvalidParameterError("an attribute path", accepted=f"at most {self._depth} levels")
        try:
            tags = [parse_tag(member) for member in members]
        except ValueError:
            raise UnknownAttributeError from None
        # Commands, file meta information, delimiters and group lengths belong to no data set.
        if any(tag >> 16 in UNSEARCHABLE_GROUPS or tag & 0xFFFF == 0 for tag in tags):
            raise UnknownAttributeError
        if any((vr_of(tag) or "SQ") != "SQ" for tag in tags[:-1]):
            raise InvalidMatchError("an attribute path", accepted="a path whose inner attributes are sequences")
        above = (".".join(members[:number]) for number in range(len(members)))
        return AttributePath(tuple(map(self._step, tags, above)), vr_of(tags[-1]) or "UN")

    def _step(self, tag: int, above: str) -> PathStep:
        if not is_private(tag) or is_private_creator(tag):
            return PathStep(tag)
        creator_tag = (tag & 0xFFFF0000) | (tag >> 8 & 0xFF)
        # The creator beside the element; a single one for all places may stand anywhere.
        creator = self._nested_creators.get((above, creator_tag)) or self._creators.get(creator_tag)
        if creator is None:
            raise InvalidMatchError(
                f"{tag:08X}", accepted=f"a private attribute together with its creator, {creator_tag:08X}=CREATOR"
            )
        self.used_creators.add(creator_tag)
        return PathStep((tag & 0xFFFF0000) | (tag & 0xFF), creator)
