"""What principals see through roots."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from dicomweb_archive.errors import NotFoundError, UnauthenticatedError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.reading.roots import CollectionRoot, SubmissionRoot
from dicomweb_archive.services.access import (
    ANONYMOUS,
    EVERY_ROLE,
    EVERYBODY,
    KEY_HOLDER,
    STRANGER,
    Principal,
    PrincipalKind,
    Role,
    with_included,
)
from dicomweb_archive.services.roots import FRESH_SECONDS, RootService
from dicomweb_archive.wire.roots import PUBLISHED, AskedRoot, RootKind

OPEN, SHUT = CollectionRoot(1, "open", is_open=True), CollectionRoot(2, "shut", is_open=False)
IN_OPEN, IN_SHUT = SubmissionRoot("of-open", 1001, 1, "site"), SubmissionRoot("of-shut", 1002, 2, "site")

TO_OPEN, TO_SHUT = AskedRoot(RootKind.COLLECTION, "open"), AskedRoot(RootKind.COLLECTION, "shut")
TO_UNKNOWN = AskedRoot(RootKind.COLLECTION, "unknown")
OF_OPEN, OF_SHUT = AskedRoot(RootKind.SUBMISSION, "of-open"), AskedRoot(RootKind.SUBMISSION, "of-shut")
OF_UNKNOWN = AskedRoot(RootKind.SUBMISSION, "unknown")


@dataclass
class Index:
    """What the database would say, and how often it was asked."""

    open_ones: tuple[int, ...] | None = (1,)
    collections: dict[str, CollectionRoot] = field(default_factory=lambda: {"open": OPEN, "shut": SHUT})
    submissions: dict[str, SubmissionRoot] = field(default_factory=lambda: {"of-open": IN_OPEN, "of-shut": IN_SHUT})
    asked: list[str] = field(default_factory=list)

    async def open_collections(self) -> tuple[int, ...] | None:
        await self._ask("*")
        return self.open_ones

    async def collection(self, accession: str) -> CollectionRoot | None:
        await self._ask(accession)
        return self.collections.get(accession)

    async def submission(self, name: str) -> SubmissionRoot | None:
        await self._ask(name)
        return self.submissions.get(name)

    async def _ask(self, key: str) -> None:
        self.asked.append(key)
        await asyncio.sleep(0)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def holder(*roles: Role, collections: set[int] | None = None, name: str = "holder") -> Principal:
    within = None if collections is None else frozenset(collections)
    return Principal(name, PrincipalKind.KEY_HOLDER, with_included(roles), within)


def service(index: Any = None, *, is_public: bool = True, clock: Clock | None = None) -> RootService:
    return RootService(index or Index(), is_public=is_public, clock=clock or Clock())


ALL, OPEN_ONLY, BOTH, NONE = None, (1,), (1, 2), ()
PUBLISHED_OF = {
    "nobody": (ANONYMOUS, True, OPEN_ONLY),
    "everybody, where there are no keys": (EVERYBODY, True, ALL),
    "the static key": (KEY_HOLDER, True, ALL),
    "a stranger": (STRANGER, False, NONE),
    "a reader": (holder(Role.READER), True, ALL),
    "a reader of the restricted one": (holder(Role.READER, collections={2}), True, BOTH),
    "a reader of the open one": (holder(Role.READER, collections={1}), True, OPEN_ONLY),
    "a curator of the restricted one": (holder(Role.CURATOR, collections={2}), True, BOTH),
    "a submitter to the restricted one": (holder(Role.SUBMITTER, collections={2}), True, OPEN_ONLY),
    "a reader of the open one, where all need a key": (holder(Role.READER, collections={1}), False, OPEN_ONLY),
    "a reader of the restricted one, where all need a key": (holder(Role.READER, collections={2}), False, (2,)),
    "a submitter, where all need a key": (holder(Role.SUBMITTER), False, NONE),
}


@pytest.mark.parametrize(("principal", "is_public", "seen"), PUBLISHED_OF.values(), ids=PUBLISHED_OF)
async def test_what_is_seen_of_what_is_published(
    principal: Principal, is_public: bool, seen: tuple[int, ...] | None
) -> None:
    through = await service(is_public=is_public).through(principal, PUBLISHED)
    assert (through.sees.spaces, through.sees.collections) == ((1,), seen)


async def test_with_open_collections_only_everybody_sees_by_the_fast_form() -> None:
    roots = service(Index(open_ones=None))
    assert await roots.through(ANONYMOUS, PUBLISHED) is ANONYMOUS
    for principal in (holder(Role.READER, collections={1}), holder(Role.SUBMITTER, collections={1})):
        through = await roots.through(principal, PUBLISHED)
        assert through.sees == Visibility()
        assert Role.READER in through.roles


async def test_no_key_gives_less_than_none() -> None:
    submitter = await service().through(holder(Role.SUBMITTER), PUBLISHED)
    assert submitter.roles == {Role.READER, Role.SUBMITTER}


THROUGH_COLLECTIONS = {
    "nobody, open": (ANONYMOUS, TO_OPEN, {Role.READER}),
    "nobody, restricted": (ANONYMOUS, TO_SHUT, None),
    "nobody, unknown": (ANONYMOUS, TO_UNKNOWN, None),
    "everybody, restricted": (EVERYBODY, TO_SHUT, EVERY_ROLE),
    "the static key, restricted": (KEY_HOLDER, TO_SHUT, EVERY_ROLE),
    "a reader, restricted": (holder(Role.READER, collections={2}), TO_SHUT, {Role.READER}),
    "a submitter, restricted": (holder(Role.SUBMITTER, collections={2}), TO_SHUT, {Role.SUBMITTER}),
    "a manager of another, open": (holder(Role.MANAGER, collections={2}), TO_OPEN, {Role.READER}),
    "a manager of another, restricted": (holder(Role.MANAGER, collections={1}), TO_SHUT, None),
}


@pytest.mark.parametrize(("principal", "asked", "roles"), THROUGH_COLLECTIONS.values(), ids=THROUGH_COLLECTIONS)
async def test_what_may_be_done_in_a_collection(
    principal: Principal, asked: AskedRoot, roles: set[Role] | None
) -> None:
    if roles is None:
        with pytest.raises(NotFoundError, match="There is no such resource"):
            await service().through(principal, asked)
        return
    through = await service().through(principal, asked)
    assert through.roles == roles
    assert (through.sees.spaces, through.sees.collections) == ((1,), (1,) if asked is TO_OPEN else (2,))


@pytest.mark.parametrize("asked", [TO_OPEN, TO_SHUT, TO_UNKNOWN, OF_OPEN, OF_UNKNOWN], ids=lambda asked: asked.path)
async def test_a_stranger_learns_of_no_name_whether_it_is_there(asked: AskedRoot) -> None:
    index = Index()
    with pytest.raises(UnauthenticatedError):
        await service(index, is_public=False).through(STRANGER, asked)
    assert index.asked == []


@pytest.mark.parametrize("asked", [OF_OPEN, OF_UNKNOWN], ids=lambda asked: asked.path)
async def test_nobody_in_particular_learns_of_no_submission_whether_it_is_there(asked: AskedRoot) -> None:
    with pytest.raises(UnauthenticatedError):
        await service().through(ANONYMOUS, asked)


THROUGH_SUBMISSIONS = {
    "everybody": (EVERYBODY, EVERY_ROLE),
    "the static key": (KEY_HOLDER, EVERY_ROLE),
    "a curator": (holder(Role.CURATOR), with_included([Role.CURATOR])),
    "a curator of its collection": (holder(Role.CURATOR, collections={2}), with_included([Role.CURATOR])),
    "a curator of another": (holder(Role.CURATOR, collections={1}), None),
    "a reader": (holder(Role.READER), None),
    "another submitter": (holder(Role.SUBMITTER), None),
    "who opened it": (holder(Role.SUBMITTER, name="site"), {Role.READER, Role.SUBMITTER}),
    "who opened it, with another key": (holder(Role.MANAGER, collections={1}, name="site"), {Role.READER}),
}


@pytest.mark.parametrize(("principal", "roles"), THROUGH_SUBMISSIONS.values(), ids=THROUGH_SUBMISSIONS)
async def test_who_sees_a_submission(principal: Principal, roles: set[Role] | None) -> None:
    if roles is None:
        with pytest.raises(NotFoundError, match="There is no such resource"):
            await service().through(principal, OF_SHUT)
        return
    through = await service().through(principal, OF_SHUT)
    assert through.roles == roles
    assert through.sees == Visibility((1002,), None, see_embargoed=True)


async def test_who_holds_no_key_is_not_who_opened_it_without_one() -> None:
    index = Index(submissions={"of-open": SubmissionRoot("of-open", 1001, 1, ANONYMOUS.name)})
    with pytest.raises(UnauthenticatedError):
        await service(index).through(ANONYMOUS, OF_OPEN)


async def test_an_embargo_holds_for_managers_of_other_collections() -> None:
    manager = Principal("m", PrincipalKind.KEY_HOLDER, EVERY_ROLE, frozenset({2}), sees=Visibility(see_embargoed=True))
    assert not (await service().through(manager, PUBLISHED)).sees.see_embargoed
    assert not (await service().through(manager, TO_OPEN)).sees.see_embargoed
    assert (await service().through(manager, TO_SHUT)).sees.see_embargoed


async def test_the_database_is_asked_once_a_second_however_many_wait() -> None:
    index, clock = Index(), Clock()
    roots = service(index, clock=clock)
    await asyncio.gather(*(roots.through(ANONYMOUS, PUBLISHED) for _ in range(5)))
    await asyncio.gather(*(roots.through(KEY_HOLDER, OF_OPEN) for _ in range(5)))
    assert index.asked == ["*", "of-open"]
    index.open_ones = (1, 2)
    clock.now = FRESH_SECONDS
    assert (await roots.through(ANONYMOUS, PUBLISHED)).sees.collections == (1, 2)


async def test_what_was_not_there_is_asked_for_again() -> None:
    index = Index(submissions={})
    roots = service(index)
    with pytest.raises(NotFoundError):
        await roots.through(KEY_HOLDER, OF_OPEN)
    index.submissions["of-open"] = IN_OPEN
    assert (await roots.through(KEY_HOLDER, OF_OPEN)).sees.spaces == (1001,)
