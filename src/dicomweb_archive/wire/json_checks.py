"""What JSON of a request has to be before its parser sees it, and what a parser would not tell."""

import json
import re
from collections.abc import Sequence
from typing import Any

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.attribute_paths import harmless

# A text that never ends is taken to the end of all: looked at again from each quote in it, it would cost its square.
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def check_nesting(raw: bytes, name: str, most: int) -> None:
    """Check how deep JSON nests before any parser sees it.

    Raises:
        InvalidParameterError: deeper than `most` objects and lists.
    """
    depth = 0
    for found in _NESTING.finditer(raw):
        mark = found[0]
        depth += (mark in b"[{") - (mark in b"]}")
        if depth > most:
            raise InvalidParameterError(name, accepted=f"at most {most} objects and lists within each other")


def check_members(raw: bytes, name: str | None = None) -> None:
    """Check that no object of well-formed JSON has two members with one name; a parser silently keeps one.

    Args:
        name: the parameter to name; without it the member is named.

    Raises:
        InvalidParameterError: one has.
    """

    def check(members: Sequence[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for member, _ in members:
            if member in seen:
                told = name or harmless(member) or "a member"
                raise InvalidParameterError(told, accepted="each member of an object once")
            seen.add(member)

    json.loads(raw, object_pairs_hook=check)
