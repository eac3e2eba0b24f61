"""Fetching series into folders, several at once, going on where an earlier run stopped."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from dicomweb_archive.cli.client.checksums import FileState, LocalFilesError, Manifest
from dicomweb_archive.cli.client.connection import (
    RetryPolicy,
    Server,
    ServerUnreachableError,
    UnexpectedAnswerError,
    check_status,
    first_failure,
    transport_failure,
)
from dicomweb_archive.cli.client.receiving import AnswerReader, Fetched, FetchOutcome, InstanceFiles
from dicomweb_archive.cli.client.searching import UNIQUE_KEY, Search, SearchLevel, iter_matches, uid_of
from dicomweb_archive.cli.client.targets import DownloadQuery, Target, TargetFinder
from dicomweb_archive.wire.resources import is_uid

CHUNK_BYTES = 1024 * 1024
_ACCEPTS = (
    'multipart/related; type="application/dicom"; transfer-syntax=*',
    # Servers that do not know the asterisk answer 400 or 406; they send as stored or transcoded.
    'multipart/related; type="application/dicom"',
)
_SINGLE_FETCH_SHARE = 10
"""Up to one in ten instances missing is fetched one by one; more, and the whole series is cheaper."""


@dataclass(slots=True)
class Fetcher:
    """One run of `download`.

    Attributes:
        report: called on the event loop with each instance's outcome.
        expected: called with the number of instances known to be wanted, as series are listed.
        received: called with the number of bytes that came in.
        complain: called with a line about what could not be listed or fetched.
    """

    server: Server
    folder: Path
    report: Callable[[Target, Fetched], None]
    expected: Callable[[int], None]
    received: Callable[[int], None]
    complain: Callable[[str], None]
    jobs: int = 4
    verify: bool = True
    replace: bool = False
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    _manifests: dict[str, Manifest] = field(default_factory=dict)

    async def run(self, query: DownloadQuery) -> int:
        """Fetch everything that matches; return the number of series.

        Raises:
            ServerUnreachableError: the server went away for longer than the retries last.
            UnexpectedAnswerError: the search itself was refused.
            LocalFilesError: the folder cannot be read or written, e.g. the disk is full.
        """
        queue: asyncio.Queue[Target | None] = asyncio.Queue(maxsize=self.jobs)
        count = 0
        async with self.server.client(self.jobs + 1) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self.jobs):
                        group.create_task(self._worker(client, queue))
                    finder = TargetFinder(client, self.server, self.retry, self.complain)
                    async for target in finder.find(query):
                        count += 1
                        await queue.put(target)
                    for _ in range(self.jobs):
                        await queue.put(None)
            except* (ServerUnreachableError, UnexpectedAnswerError) as failures:
                raise first_failure(failures) from None
            except* OSError as failures:
                message = "the folder on this machine cannot be read or written"
                raise LocalFilesError(message) from failures
        return count

    async def _worker(self, client: httpx.AsyncClient, queue: asyncio.Queue[Target | None]) -> None:
        while (target := await queue.get()) is not None:
            series = _Series(self, client, target, await self._manifest(target))
            await series.fetch()

    async def _manifest(self, target: Target) -> Manifest:
        """Share one manifest between the series of a study."""
        uid = target.study_instance_uid
        if uid not in self._manifests:
            self._manifests[uid] = await asyncio.to_thread(Manifest.read, self.folder / uid)
        return self._manifests[uid]


@dataclass(slots=True)
class _Series:
    """The fetching of one target."""

    run: Fetcher
    client: httpx.AsyncClient
    target: Target
    manifest: Manifest
    settled: set[str] = field(default_factory=set)

    async def fetch(self) -> None:
        wanted = await self._list()
        for uid in wanted or []:
            await self._keep_if_present(uid)
        missing = [uid for uid in wanted or [] if uid not in self.settled]
        try:
            if wanted is None:
                await self.run.retry.run(lambda: self._fetch_resource(""))
            elif missing:
                await self._fetch_missing(missing, of=len(wanted))
        except UnexpectedAnswerError as error:
            self.run.complain(f"series {self.target.series_instance_uid}: {error}")
            self._give_up(missing, FetchOutcome.FAILED)
        self._give_up(missing, FetchOutcome.MISSING)

    async def _list(self) -> list[str] | None:
        """Ask which instances the series has, to know what is missing; None when the server will not tell."""
        if self.target.sop_instance_uid is not None:
            self.run.expected(1)
            return [self.target.sop_instance_uid]
        keys = (
            ("StudyInstanceUID", self.target.study_instance_uid),
            ("SeriesInstanceUID", self.target.series_instance_uid),
        )
        search = Search(SearchLevel.INSTANCES, keys)
        rows = iter_matches(self.client, self.run.server, search, limit=None, retry=self.run.retry)
        try:
            listed = [uid_of(row, UNIQUE_KEY[SearchLevel.INSTANCES]) async for row in rows]
        except UnexpectedAnswerError as error:
            self.run.complain(f"series {self.target.series_instance_uid} is fetched unlisted: {error}")
            return None
        self.run.expected(len(listed))
        return [uid for uid in listed if is_uid(uid)]

    async def _keep_if_present(self, uid: str) -> None:
        name = f"{self.target.series_instance_uid}/{uid}.dcm"
        state = await asyncio.to_thread(self.manifest.state_of, name, verify=self.run.verify)
        if state is FileState.GOOD:
            self._settle(Fetched(uid, name, FetchOutcome.KEPT, sha256=self.manifest.digests[name]))
        elif state is FileState.CHANGED and not self.run.replace:
            self._settle(Fetched(uid, name, FetchOutcome.CHANGED))

    async def _fetch_missing(self, missing: list[str], *, of: int) -> None:
        """Fetch the series whole, or its few missing instances one by one.

        What a broken answer has completed is kept, so each attempt asks for less.
        """

        async def attempt() -> None:
            left = [uid for uid in missing if uid not in self.settled]
            whole = self.target.sop_instance_uid is None and len(left) * _SINGLE_FETCH_SHARE > of
            for path in [""] if whole else [f"/instances/{uid}" for uid in left]:
                await self._fetch_resource(path)

        await self.run.retry.run(attempt)

    async def _fetch_resource(self, path: str) -> None:
        target = self.target
        root = f"{self.run.server.root}/studies/{target.study_instance_uid}"
        url = f"{root}/series/{target.series_instance_uid}{path}"
        for accept in _ACCEPTS:
            try:
                async with self.client.stream("GET", url, headers={"Accept": accept}) as response:
                    check_status(response)
                    if response.status_code == 200:
                        await self._receive(response)
                        return
                    status = response.status_code
            except httpx.TransportError as error:
                raise transport_failure(error) from error
            if status in (404, 410):
                return
            if status not in (400, 406):
                break
        message = f"the server answers {status} to the retrieval"
        raise UnexpectedAnswerError(message)

    async def _receive(self, response: httpx.Response) -> None:
        """Write the answer to files chunk by chunk; hashing and writing stay off the event loop."""
        files = InstanceFiles(self.manifest, self.target.series_instance_uid, self.run.replace)
        arrived: list[Fetched] = []
        try:
            reader = AnswerReader(response.headers.get("Content-Type", ""), files, arrived.append)
            async for chunk in response.aiter_bytes(CHUNK_BYTES):
                await asyncio.to_thread(reader.feed, chunk)
                self.run.received(len(chunk))
                self._settle_all(arrived)
            await asyncio.to_thread(reader.finish)
            self._settle_all(arrived)
        finally:
            await asyncio.to_thread(files.abort)

    def _settle_all(self, arrived: list[Fetched]) -> None:
        for fetched in arrived:
            self._settle(fetched)
        arrived.clear()

    def _settle(self, fetched: Fetched) -> None:
        if fetched.sop_instance_uid not in self.settled:
            self.settled.add(fetched.sop_instance_uid)
            self.run.report(self.target, fetched)

    def _give_up(self, uids: list[str], outcome: FetchOutcome) -> None:
        for uid in uids:
            name = f"{self.target.series_instance_uid}/{uid}.dcm"
            self._settle(Fetched(uid, name, outcome))
