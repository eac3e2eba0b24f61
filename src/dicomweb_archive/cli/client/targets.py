"""What a download fetches: series, named by UIDs or found by a search."""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

import click
import httpx

from dicomweb_archive.cli.client.connection import RetryPolicy, Server
from dicomweb_archive.cli.client.searching import UNIQUE_KEY, Row, Search, SearchLevel, iter_matches, uid_of
from dicomweb_archive.wire.resources import is_uid

_NAMES = {
    SearchLevel.STUDIES: "StudyInstanceUID",
    SearchLevel.SERIES: "SeriesInstanceUID",
    SearchLevel.INSTANCES: "SOPInstanceUID",
}
_SERIES_KEYS = frozenset(
    ("Modality", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "BodyPartExamined", "ProtocolName")
)
_INSTANCE_KEYS = frozenset(("SOPInstanceUID", "SOPClassUID", "InstanceNumber"))


@dataclass(frozen=True, slots=True)
class Target:
    """A series to fetch, or only one instance of it."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class DownloadQuery:
    """What a person asks for: UIDs (`STUDY[/SERIES[/INSTANCE]]`) and a search, at least one of both."""

    uids: tuple[tuple[str, ...], ...]
    search: Search | None


def parse_query(words: Iterable[str], level: str | None) -> DownloadQuery:
    """Read the arguments of `download`; without `level` the keys tell what is searched for.

    Raises:
        click.BadParameter: an argument is neither KEY=VALUE nor UIDs.
    """
    uids: list[tuple[str, ...]] = []
    keys: list[tuple[str, str]] = []
    for word in words:
        name, equals, value = word.partition("=")
        parts = tuple(word.strip("/").split("/"))
        if equals and name:
            keys.append((name, value))
        elif len(parts) <= 3 and all(map(is_uid, parts)):
            uids.append(parts)
        else:
            message = "must look like KEY=VALUE or STUDY_UID[/SERIES_UID[/INSTANCE_UID]]"
            raise click.BadParameter(message)
    found = Search(SearchLevel(level) if level else _level_of(keys), tuple(keys)) if keys else None
    return DownloadQuery(tuple(uids), found)


@dataclass(frozen=True, slots=True)
class TargetFinder:
    """Turns a query into series.

    Attributes:
        complain: called with a line about a match that cannot be fetched; the others go on.
    """

    client: httpx.AsyncClient
    server: Server
    retry: RetryPolicy
    complain: Callable[[str], None]

    async def find(self, query: DownloadQuery) -> AsyncIterator[Target]:
        """Find the series that a query means, each once."""
        seen: set[Target] = set()
        async for target in self._find(query):
            if target not in seen:
                seen.add(target)
                yield target

    async def _find(self, query: DownloadQuery) -> AsyncIterator[Target]:
        for uids in query.uids:
            if len(uids) == 1:
                async for target in self._series_of(uids[0]):
                    yield target
            else:
                yield Target(*uids)
        if query.search is None:
            return
        async for row in self._matches(query.search):
            found = self._target_of(row, query.search)
            if found is None:
                continue
            if query.search.level is not SearchLevel.STUDIES:
                yield found
                continue
            async for target in self._series_of(found.study_instance_uid):
                yield target

    async def _series_of(self, study: str) -> AsyncIterator[Target]:
        search = Search(SearchLevel.SERIES, (("StudyInstanceUID", study),))
        async for row in self._matches(search):
            if target := self._target_of(row, search):
                yield target

    def _matches(self, search: Search) -> AsyncIterator[Row]:
        return iter_matches(self.client, self.server, search, limit=None, retry=self.retry)

    def _target_of(self, row: Row, search: Search) -> Target | None:
        """Read the UIDs of a match down to the level searched; none where one could not be a file's name."""
        # Some servers leave UIDs of the levels above out when the search named them.
        named = dict(search.keys)
        levels = list(SearchLevel)
        wanted = levels[: levels.index(search.level) + 1]
        uids = [uid_of(row, UNIQUE_KEY[level]) or named.get(_NAMES[level], "") for level in wanted]
        if not all(map(is_uid, uids)):
            self.complain(f"a match of the search for {search.level} has no usable UIDs and is left out")
            return None
        return Target(uids[0], *([""] if len(uids) == 1 else uids[1:]))


def _level_of(keys: Iterable[tuple[str, str]]) -> SearchLevel:
    names = {name for name, _ in keys}
    if names & _INSTANCE_KEYS:
        return SearchLevel.INSTANCES
    return SearchLevel.SERIES if names & _SERIES_KEYS else SearchLevel.STUDIES
