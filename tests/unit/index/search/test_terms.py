"""Keys in the dictionary: what other searches learn or put out meanwhile changes nothing for one that goes on."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.search import terms
from dicomweb_archive.index.search.planning.conditions import IndexKey, Kind
from dicomweb_archive.index.search.terms import FIND_PATHS, TermFinder
from dicomweb_archive.index.search.visible_paths import FIND_VISIBLE

NOTHING = dict.fromkeys(("studies", "segments", "terms", "shares", "marks", "varying", "dictionary", "paths", "rows"))
OLD, NEW = IndexKey("0008103E", Kind.EQUALS, ("a",), (None,)), IndexKey("00081030", Kind.EQUALS, ("b",), (None,))


class Secret:
    """A database that knows its secret."""

    async def term_secret(self) -> bytes:
        return b"secret"


class Dictionary:
    """A connection to a dictionary of these paths, on which another search goes on while terms are looked up."""

    def __init__(self, *paths: str, other: tuple[TermFinder, "Dictionary", str] | None = None) -> None:
        self.paths = paths
        self.other = other

    async def fetch(self, statement: str, asked: Sequence[Any], *keys: Sequence[Any]) -> list[Any]:
        if statement == FIND_PATHS:
            return [(name, len(name), "LO") for name in self.paths if name in asked]
        if statement == FIND_VISIBLE:
            return [{"id": path_id} for path_id in keys[-1]]
        if self.other is not None:
            finder, connection, name = self.other
            await finder.known_vrs(connection, [name], Visibility())
        return [(None, term, 3) for term in asked] + [(key, None, 0) for key in keys[0]]

    async def fetchrow(self, _: str) -> Mapping[str, None]:
        return NOTHING


async def test_a_path_that_is_new_meanwhile_shifts_no_findings():
    finder: TermFinder = TermFinder(Secret())  # type: ignore[arg-type]
    connection = Dictionary(OLD.path, other=(finder, Dictionary(OLD.path, NEW.path), NEW.path))
    first, second = await finder.find_each(connection, [NEW, OLD])
    assert first is None
    assert second is not None


async def test_paths_that_are_forgotten_meanwhile_are_still_those_of_the_search(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(terms, "_KNOWN_PATHS", 0)
    finder: TermFinder = TermFinder(Secret())  # type: ignore[arg-type]
    connection = Dictionary(OLD.path, other=(finder, Dictionary(OLD.path, NEW.path), NEW.path))
    found = await finder.find(connection, [OLD])
    assert found is not None
    assert [finding.segments for finding in found] == [3]
