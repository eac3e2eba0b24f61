"""What a download fetches: series, named by UIDs or found by a search."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import click
import httpx

from dicomweb_archive.cli.client.connection import RetryPolicy, Server, UnexpectedAnswerError
from dicomweb_archive.cli.client.searching import Row, Search, SearchLevel, iter_matches, uid_of
from dicomweb_archive.wire.resources import is_uid

STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"
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


async def iter_targets(
    client: httpx.AsyncClient, server: Server, query: DownloadQuery, retry: RetryPolicy
) -> AsyncIterator[Target]:
    """Find the series that a query means, each once."""
    seen: set[Target] = set()
    async for target in _all_targets(client, server, query, retry):
        if target not in seen:
            seen.add(target)
            yield target


async def _all_targets(
    client: httpx.AsyncClient, server: Server, query: DownloadQuery, retry: RetryPolicy
) -> AsyncIterator[Target]:
    for uids in query.uids:
        if len(uids) == 1:
            async for target in _series_of(client, server, uids[0], retry):
                yield target
        else:
            yield Target(*uids)
    if query.search is None:
        return
    async for row in iter_matches(client, server, query.search, limit=None, retry=retry):
        if query.search.level is SearchLevel.STUDIES:
            async for target in _series_of(client, server, _uid(row, STUDY), retry):
                yield target
        else:
            yield _target_of(row, query.search)


async def _series_of(
    client: httpx.AsyncClient, server: Server, study: str, retry: RetryPolicy
) -> AsyncIterator[Target]:
    search = Search(SearchLevel.SERIES, (("StudyInstanceUID", study),))
    async for row in iter_matches(client, server, search, limit=None, retry=retry):
        yield Target(study, _uid(row, SERIES))


def _target_of(row: Row, search: Search) -> Target:
    # Some servers leave UIDs of the levels above out when the search named them.
    named = dict(search.keys)
    study = uid_of(row, STUDY) or named.get("StudyInstanceUID", "")
    series = uid_of(row, SERIES) or named.get("SeriesInstanceUID", "")
    instance = _uid(row, INSTANCE) if search.level is SearchLevel.INSTANCES else None
    if not (is_uid(study) and is_uid(series)):
        message = "a match of the server lacks a usable UID"
        raise UnexpectedAnswerError(message)
    return Target(study, series, instance)


def _uid(row: Row, tag: str) -> str:
    uid = uid_of(row, tag)
    if not is_uid(uid):
        message = "a match of the server lacks a usable UID"
        raise UnexpectedAnswerError(message)
    return uid


def _level_of(keys: Iterable[tuple[str, str]]) -> SearchLevel:
    names = {name for name, _ in keys}
    if names & _INSTANCE_KEYS:
        return SearchLevel.INSTANCES
    return SearchLevel.SERIES if names & _SERIES_KEYS else SearchLevel.STUDIES
