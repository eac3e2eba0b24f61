"""The submission of a run: found again or opened, announced, compared, sealed; each step harmless to do twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from dicomweb_archive.cli.client.connection import Server, UnexpectedAnswerError
from dicomweb_archive.cli.client.curation.work import Decision, path_of
from dicomweb_archive.cli.client.json_api import Document, JsonApi, RefusedError
from dicomweb_archive.cli.client.searching import UNIQUE_KEY, Search, SearchLevel, iter_matches, uid_of
from dicomweb_archive.cli.client.submission.announcing import Announcement

_ALIVE: Final = (
    "open",
    "sealed",
    "checking",
    "failed_checks",
    "in_review",
    "changes_requested",
    "approved",
    "publishing",
    "published",
)
"""States of submissions that a run may go on with, or find that it is through already."""

_LOOKED_THROUGH: Final = 25
_PAGE: Final = 10_000
_CHANGED_MEANWHILE: Final = 412
_TRIES: Final = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which submission a run is for.

    Attributes:
        name: of the one to go on with; `None`: that of an earlier run over the same files, or a new one.
        anew: open a new one, whatever earlier runs have done.
    """

    collection: str | None
    title: str = ""
    contact: str = ""
    site: str = ""
    name: str | None = None
    anew: bool = False


async def ensure_welcome(api: JsonApi, wanted: Wanted) -> None:
    """Find out whether the archive would take a submission, before hours are spent on reading files.

    Raises:
        RefusedError: there is no such collection or submission for us.
        UnexpectedAnswerError: it takes nothing, or nothing of ours.
        ServerUnreachableError: no answer, or we are not let in.
    """
    if wanted.name is not None:
        _require_open((await api.get(path_of(wanted.name))).document)
        return
    whoami = (await api.get("/principal")).document
    collection = (await api.get(f"/collections/{quote(wanted.collection or '', safe='')}")).document
    counts_there = whoami["collections"] is None or wanted.collection in whoami["collections"]
    if "submitter" not in whoami["roles"] or not counts_there:
        message = f"{whoami['name']} does not have the role submitter in the collection {wanted.collection}"
        raise UnexpectedAnswerError(message)
    if collection["closed_at"] is not None:
        message = f"the collection {wanted.collection} is closed and takes nothing more"
        raise UnexpectedAnswerError(message)


def _require_open(submission: Document) -> None:
    if submission["state"] != "open" and "reopen" not in submission["actions"]:
        message = f"the submission {submission['name']} is {submission['state']} and takes nothing more"
        raise UnexpectedAnswerError(message)


@dataclass(frozen=True, slots=True)
class Desk:
    """Speaks of submissions with the archive, for one run."""

    api: JsonApi
    wanted: Wanted
    announcement: Announcement

    async def take_up(self) -> Document:
        """Return the submission of this run: an open one with this manifest, or one that is through already.

        Raises:
            RefusedError: the archive does not open one, or there is none of the name.
            UnexpectedAnswerError: the one that was named takes nothing more.
            ServerUnreachableError: no answer, or we are not let in.
        """
        if self.wanted.name is not None:
            submission = await self._named(self.wanted.name)
        else:
            submission = await self._found_or_opened()
        if submission["state"] == "open":
            await self._announce(submission["name"])
        return submission

    async def compared(self, name: str) -> Document:
        """Return how what was announced stands to what is there."""
        return (await self.api.get(f"{path_of(name)}/manifest", limit=1)).document

    async def there(self, name: str, server: Server) -> set[str]:
        """Return the SOP Instance UIDs that the archive has in the submission, as they were announced if they were."""
        manifest = await self.compared(name)
        if not manifest["held"]["instances"]:
            return set()
        if not self.announcement.names_instances:
            search = Search(SearchLevel.INSTANCES)
            matches = iter_matches(self.api.client, server, search, limit=None, retry=self.api.retry)
            return {uid_of(row, UNIQUE_KEY[SearchLevel.INSTANCES]) async for row in matches}
        announced = {each["sop_instance_uid"] for each in self.announcement.body["instances"]}
        for standing in ("missing", "differing"):
            announced.difference_update(await self._standing(name, standing))
        return announced

    async def seal(self, name: str) -> Document:
        """Say that the submission is complete; one that is sealed already stays so.

        Raises:
            RefusedError, ServerUnreachableError: see `take_up`.
        """

        async def attempt() -> Document:
            present = await self.api.attempt("GET", path_of(name))
            if present.document["state"] != "open":
                return present.document
            return (await self.api.attempt("POST", f"{path_of(name)}/seal", etag=present.etag)).document

        return await self.api.retry.run(attempt)

    async def _named(self, name: str) -> Document:
        present = await self.api.get(path_of(name))
        submission = present.document
        if submission["state"] == "open":
            return submission
        _require_open(submission)
        return (await self.api.send("POST", f"{path_of(name)}/reopen", Decision().body(), etag=present.etag)).document

    async def _found_or_opened(self) -> Document:
        is_first = True

        async def attempt() -> Document:
            nonlocal is_first
            # Whoever has not heard the answer to the first attempt may have opened one with it.
            found = None if self.wanted.anew and is_first else await self._found(claims=not is_first)
            is_first = False
            return found or await self._opened()

        return await self.api.retry.run(attempt)

    async def _opened(self) -> Document:
        fields = ("collection", "title", "contact", "site")
        body = {name: getattr(self.wanted, name) for name in fields if getattr(self.wanted, name)}
        return (await self.api.attempt("POST", "/submissions", body)).document

    async def _found(self, *, claims: bool) -> Document | None:
        """Return a submission of ours with this manifest; with `claims` also a new one that nobody has used."""
        whoami = (await self.api.attempt("GET", "/principal")).document
        asked = {
            "collection": self.wanted.collection,
            "opened_by": whoami["name"],
            "text": self.wanted.title,
            "state": _ALIVE,
            "orderby": "-created_at",
            "limit": _LOOKED_THROUGH,
        }
        page = (await self.api.attempt("GET", "/submissions", parameters=asked)).document
        unused = None
        for each in page["submissions"]:
            if (each["title"], each["site"]) != (self.wanted.title, self.wanted.site.strip()):
                continue
            manifest = await self._manifest(each["name"])
            if manifest is None:
                unused = unused or (each if each["revision"] == 1 and not each["held"]["instances"] else None)
            elif self.announcement.is_of(manifest) and not self.wanted.anew:
                return dict(each)
        return dict(unused) if claims and unused is not None else None

    async def _manifest(self, name: str) -> Document | None:
        try:
            return (await self.api.attempt("GET", f"{path_of(name)}/manifest", parameters={"limit": 1})).document
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    async def _announce(self, name: str) -> None:
        """Set the manifest, unless it is set already."""

        async def attempt() -> None:
            manifest = await self._manifest(name)
            if manifest is not None and self.announcement.is_of(manifest):
                return
            present = await self.api.attempt("GET", path_of(name))
            path = f"{path_of(name)}/manifest"
            await self.api.attempt("PUT", path, self.announcement.body, etag=present.etag)

        for number in range(1, _TRIES + 1):
            try:
                await self.api.retry.run(attempt)
            except RefusedError as error:
                if error.status != _CHANGED_MEANWHILE or number == _TRIES:
                    raise
            else:
                return

    async def _standing(self, name: str, standing: str) -> Sequence[str]:
        uids: list[str] = []
        since: str | None = ""
        while since is not None:
            path = f"{path_of(name)}/manifest"
            page = (await self.api.get(path, standing=standing, since=since, limit=_PAGE)).document
            uids += (each["sop_instance_uid"] for each in page["instances"])
            since = page["next"]
        return uids
