"""The steps of curating: each reads the submission, and acts on the revision that it has read."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

from dicomweb_archive.cli.client.connection import UnexpectedAnswerError
from dicomweb_archive.cli.client.json_api import Document, JsonApi, Resource

BEING_CHECKED: Final = frozenset({"sealed", "checking"})
"""States that end by themselves when the checks are through."""

_FAILED: Final = frozenset({"failed", "cancelled"})
_PAGE: Final = 1000
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0


class StillGoingOnError(UnexpectedAnswerError):
    """What was waited for has not ended in the time that was given."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long something is waited for; 0: not at all."""

    seconds: float

    async def rounds(self) -> AsyncIterator[None]:
        """Let the caller look again, at first often, until the time is over."""
        end = time.monotonic() + self.seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            yield
            left = end - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is said with an action."""

    reason: str | None = None
    comment: str | None = None

    def body(self) -> Document | None:
        """Return the body of the request, if anything is said."""
        said = {"reason": self.reason, "comment": self.comment}
        return {name: text for name, text in said.items() if text} or None


@dataclass(frozen=True, slots=True)
class Curation:
    """Acts on submissions for whoever types the command."""

    api: JsonApi
    patience: Patience = field(default_factory=lambda: Patience(0))

    async def queue(self, limit: int | None, **filters: Any) -> Document:
        """Return the queue as one document, page by page.

        Raises:
            RefusedError, ServerUnreachableError: see `JsonApi.get`.
        """
        found: list[Document] = []
        while True:
            asked = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page = (await self.api.get("/submissions", **filters, limit=asked, offset=len(found))).document
            found += page["submissions"]
            is_last = len(page["submissions"]) < asked or len(found) >= page["total"]
            if is_last or (limit is not None and len(found) >= limit):
                return {**page, "submissions": found}

    async def show(self, name: str) -> Resource:
        """Read a submission."""
        return await self.api.get(path_of(name))

    async def act(self, name: str, action: str, decision: Decision, revision: int | None = None) -> Document:
        """Do something with a submission, in the revision that is named, or else in the present one.

        Raises:
            RefusedError: its state does not know the action, or it has changed meanwhile.
            ServerUnreachableError: see `JsonApi.send`.
        """
        etag = await self._etag(name, revision)
        return (await self.api.send("POST", f"{path_of(name)}/{action}", decision.body(), etag=etag)).document

    async def foresee(self, name: str) -> Document:
        """Say what publishing would do with each study, as one document."""
        studies: list[Document] = []
        since: str | None = ""
        while since is not None:
            page = (await self.api.get(f"{path_of(name)}/publish", since=since, limit=_PAGE)).document
            studies += page["studies"]
            since = page["next"]
        return {**page, "studies": studies}

    async def publish(self, name: str, revision: int | None = None, studies: Sequence[str] = ()) -> Document:
        """Publish a submission, or studies of it, and wait for its job as long as patience lasts; returns the job.

        Raises:
            RefusedError, ServerUnreachableError: see `act`.
            UnexpectedAnswerError: see `outcome`.
        """
        body = {"studies": list(studies)} if studies else None
        return await self._begin(f"{path_of(name)}/publish", body, name, revision)

    async def outcome(self, url: str) -> Document:
        """Wait for a job as long as patience lasts; returns the job, which goes on when nothing was to be waited for.

        Raises:
            RefusedError, ServerUnreachableError: see `JsonApi.get`.
            UnexpectedAnswerError: it has failed, or somebody has ended it.
            StillGoingOnError: it goes on.
        """
        # As we reach it, and not as it calls itself: both may differ behind a proxy.
        path = f"/jobs/{urlsplit(url).path.rpartition('/')[2]}"
        async for _ in self.patience.rounds():
            job = (await self.api.get(path)).document
            if job["state"] in _FAILED:
                message = f"the job {job['id']} has {job['state']}: {job['problem'] or 'somebody has ended it'}"
                raise UnexpectedAnswerError(message)
            if job["state"] == "succeeded":
                return job
        if not self.patience.seconds:
            return job
        message = f"it is still going on; {self.api.base}{path} shows how far it is"
        raise StillGoingOnError(message)

    async def checked(self, name: str) -> Document:
        """Wait until the checks of a sealed submission have ended; returns the submission.

        Raises:
            RefusedError, ServerUnreachableError: see `JsonApi.get`.
            StillGoingOnError: they have not ended as long as patience lasts.
        """
        async for _ in self.patience.rounds():
            submission = (await self.show(name)).document
            if submission["state"] not in BEING_CHECKED:
                return submission
        if not self.patience.seconds:
            return submission
        message = f"the checks of the submission {name} have not ended yet; `curate show {name}` tells when"
        raise StillGoingOnError(message)

    async def findings(self, name: str, limit: int, filters: Mapping[str, Any]) -> Document:
        """Return what checks have to say, what blocks first."""
        return (await self.api.get(f"{path_of(name)}/findings", **filters, limit=limit)).document

    async def waive(self, name: str, finding: int, reason: str | None) -> Document:
        """Say why a finding does not count; without a reason let it count again."""
        path = f"{path_of(name)}/findings/{finding}"
        if reason is None:
            return (await self.api.send("POST", f"{path}/revoke-waiver")).document
        return (await self.api.send("POST", f"{path}/waive", {"reason": reason})).document

    async def conflicts(self, name: str, *, undecided: bool) -> Document:
        """Return the conflicts of a submission as one document, in the order in which they came."""
        found: list[Document] = []
        since: int | None = 0
        while since is not None:
            path, asked = f"{path_of(name)}/conflicts", "true" if undecided else None
            page = (await self.api.get(path, undecided=asked, since=since, limit=_PAGE)).document
            found += page["conflicts"]
            since = page["next"]
        return {**page, "conflicts": found}

    async def decide_conflicts(self, name: str, said: Document, revision: int | None) -> Document:
        """Decide on conflicts, and wait for the job that does it; returns the job.

        Raises:
            RefusedError, ServerUnreachableError: see `act`.
            UnexpectedAnswerError: see `outcome`.
        """
        return await self._begin(f"{path_of(name)}/conflicts/decisions", said, name, revision)

    async def try_edit(self, name: str, rules: list[Any]) -> Document:
        """Say what rules would make of a submission, and change nothing."""
        return (await self.api.send("POST", f"{path_of(name)}/edits/preview", {"rules": rules})).document

    async def edit(self, name: str, said: Document, revision: int | None) -> Document:
        """Apply rules, and wait for the job that does it; see `decide_conflicts`."""
        return await self._begin(f"{path_of(name)}/edits", said, name, revision)

    async def undo_edit(self, name: str, edit: int, reason: str, revision: int | None) -> Document:
        """Take an edit back, and wait for the job that does it; see `decide_conflicts`."""
        return await self._begin(f"{path_of(name)}/edits/{edit}/undo", {"reason": reason}, name, revision)

    async def edits(self, name: str) -> list[Document]:
        """Return the edits of a submission, the newest first."""
        found: list[Document] = []
        before: int | None = None
        while True:
            page = (await self.api.get(f"{path_of(name)}/edits", before=before, limit=_PAGE)).document
            found += page["edits"]
            before = page["next"]
            if before is None:
                return found

    async def trail(self, name: str) -> list[Document]:
        """Return everything that has happened to a submission, the oldest first."""
        events: list[Document] = []
        since: int | None = 0
        while since is not None:
            page = (await self.api.get(f"{path_of(name)}/events", since=since, limit=_PAGE)).document
            events += page["events"]
            since = page["next"]
        return events

    async def comment(self, name: str, text: str) -> None:
        """Write into the trail, for submitter and curators."""
        await self.api.send("POST", f"{path_of(name)}/comments", {"text": text})

    async def withdraw_study(self, study: str, decision: Decision) -> Document:
        """Take a published study out of the archive, into a submission of its own."""
        return (await self.api.send("POST", "/withdrawals", {"study": study, **(decision.body() or {})})).document

    async def purge(self, named: list[str], reason: str) -> Document:
        """Take a study, series or instance away, with its bytes."""
        scope = dict(zip(("study", "series", "instance"), named, strict=False))
        return (await self.api.send("POST", "/purges", {**scope, "reason": reason})).document

    async def _begin(self, path: str, body: Document | None, name: str, revision: int | None) -> Document:
        """Ask for something that is done by a job, and wait for that."""
        etag = await self._etag(name, revision)
        return await self.outcome((await self.api.send("POST", path, body, etag=etag)).document["job"])

    async def _etag(self, name: str, revision: int | None) -> str:
        return f'"{revision}"' if revision is not None else (await self.show(name)).etag


def path_of(name: str) -> str:
    """Return the path of a submission, whatever somebody has typed for its name."""
    return f"/submissions/{quote(name, safe='')}"
