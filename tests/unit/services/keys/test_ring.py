"""The keys that count: who holds one, how soon an end shows, and that nobody learns anything by trying."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dicomweb_archive.errors import DatabaseUnavailableError, UnauthenticatedError
from dicomweb_archive.index.writing.keys import UsableKey
from dicomweb_archive.services.access import KEY_HOLDER, AccessPolicy, PrincipalKind, Role
from dicomweb_archive.services.keys.ring import FRESH_SECONDS, NOTED_SECONDS, STATIC_ID, KeyRing
from dicomweb_archive.services.keys.text import digest_of, new_key

POLICY = AccessPolicy(is_open=False, anonymous_read=False)
TEXT, PARSED = new_key()
KEY = TEXT.encode()
ROW = UsableKey(PARSED.public_id, digest_of(PARSED.share), "scanner", ("submitter",), (3,), None, None)


class Keys:
    """Stands for the table of keys."""

    def __init__(self, *rows: UsableKey) -> None:
        self.rows: tuple[UsableKey, ...] = rows
        self.asked = 0
        self.noted: list[str] = []
        self.away = False

    async def usable(self) -> Iterable[UsableKey]:
        await asyncio.sleep(0)
        if self.away:
            raise DatabaseUnavailableError
        self.asked += 1
        return self.rows

    async def note_use(self, public_id: str, *, resolution_seconds: float) -> None:
        assert resolution_seconds == NOTED_SECONDS
        if self.away:
            raise DatabaseUnavailableError
        self.noted.append(public_id)


class Clock:
    """A clock that stands still until it is set."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def keys() -> Keys:
    return Keys(ROW)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(keys: Keys, clock: Clock) -> KeyRing:
    return KeyRing(keys, POLICY, clock=clock)  # type: ignore[arg-type]


async def is_known(ring: KeyRing, key: bytes = KEY) -> bool:
    try:
        await ring.identify(key)
    except UnauthenticatedError:
        return False
    return True


async def test_who_holds_a_key_has_its_roles_in_its_collections(ring: KeyRing) -> None:
    holder = await ring.identify(KEY)
    assert holder.principal.name == "scanner"
    assert holder.principal.kind is PrincipalKind.KEY_HOLDER
    assert holder.principal.roles == {Role.SUBMITTER}
    assert holder.principal.collections == {3}
    assert (holder.key_id, holder.share) == PARSED
    assert await ring.recognise(holder.key_id, holder.share) == holder.principal


async def test_an_id_alone_opens_nothing(ring: KeyRing) -> None:
    other, _ = new_key()
    for key in (other, f"dwa_{PARSED.public_id}_{other.rpartition('_')[2]}", TEXT.rpartition("_")[0], ""):
        with pytest.raises(UnauthenticatedError) as caught:
            await ring.identify(key.encode())
        assert not key or key not in str(caught.value)
    assert await ring.recognise(PARSED.public_id, bytes(32)) is None
    assert await ring.recognise(PARSED.public_id, ROW.digest) is None
    assert await ring.recognise("nobody", bytes(32)) is None


async def test_a_key_that_was_taken_back_ends_within_seconds(ring: KeyRing, keys: Keys, clock: Clock) -> None:
    assert await is_known(ring)
    keys.rows = ()
    clock.now += FRESH_SECONDS
    assert not await is_known(ring)
    assert await ring.recognise(*PARSED) is None


async def test_a_key_that_was_given_out_counts_within_seconds(ring: KeyRing, keys: Keys, clock: Clock) -> None:
    text, parsed = new_key()
    assert not await is_known(ring, text.encode())
    keys.rows = (ROW, replace(ROW, public_id=parsed.public_id, digest=digest_of(parsed.share)))
    clock.now += FRESH_SECONDS
    assert await is_known(ring, text.encode())
    assert await is_known(ring)


async def test_a_key_ends_at_its_time_though_nobody_asks(ring: KeyRing, keys: Keys, clock: Clock) -> None:
    keys.rows = (replace(ROW, expires_at=datetime.fromtimestamp(clock.now + 1, UTC)),)
    assert await is_known(ring)
    clock.now += 1
    assert not await is_known(ring)
    assert keys.asked == 1


async def test_guesses_ask_the_database_no_more_often_than_keys(ring: KeyRing, keys: Keys) -> None:
    await asyncio.gather(*(is_known(ring, new_key()[0].encode()) for _ in range(20)), is_known(ring))
    assert keys.asked == 1


async def test_what_is_known_is_asked_again_when_the_clock_was_set_back(
    ring: KeyRing, keys: Keys, clock: Clock
) -> None:
    assert await is_known(ring)
    keys.rows = ()
    clock.now -= 3600
    assert not await is_known(ring)


async def test_nobody_is_let_in_by_what_was_true_before_the_database_went_away(
    ring: KeyRing, keys: Keys, clock: Clock
) -> None:
    assert await is_known(ring)
    keys.away = True
    clock.now += FRESH_SECONDS
    with pytest.raises(DatabaseUnavailableError):
        await ring.identify(KEY)


async def test_a_use_is_noted_once_in_a_while(ring: KeyRing, keys: Keys, clock: Clock) -> None:
    await asyncio.gather(*(is_known(ring) for _ in range(10)))
    assert keys.noted == [PARSED.public_id]
    clock.now += NOTED_SECONDS
    keys.rows = (replace(ROW, last_used_at=datetime.fromtimestamp(clock.now - 1, UTC)),)
    assert await is_known(ring)
    assert len(keys.noted) == 2


async def test_another_process_has_noted_the_use(keys: Keys, clock: Clock) -> None:
    keys.rows = (replace(ROW, last_used_at=datetime.fromtimestamp(clock.now - 1, UTC)),)
    assert await is_known(KeyRing(keys, POLICY, clock=clock))  # type: ignore[arg-type]
    assert keys.noted == []


async def test_a_database_that_takes_no_notes_locks_nobody_out(ring: KeyRing, keys: Keys) -> None:
    assert not await is_known(ring, new_key()[0].encode())
    keys.away = True
    assert await is_known(ring)


async def test_roles_of_a_later_release_are_left_aside(ring: KeyRing, keys: Keys) -> None:
    keys.rows = (replace(ROW, roles=("auditor", "submitter")),)
    assert (await ring.identify(KEY)).principal.roles == {Role.SUBMITTER}


async def test_the_static_key_needs_no_database_and_ends_when_it_is_changed(keys: Keys) -> None:
    keys.away = True
    ring = KeyRing(keys, POLICY, "schlüssel")  # type: ignore[arg-type]
    holder = await ring.identify("schlüssel".encode())
    assert holder.principal == KEY_HOLDER
    assert await ring.recognise(STATIC_ID, holder.share) == KEY_HOLDER
    for other in ("another", None):
        assert await KeyRing(keys, POLICY, other).recognise(STATIC_ID, holder.share) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [b"", b"Secret", b"secre", b"secret ", b"\xff\xfe", b"x" * 10_000])
async def test_other_keys_are_refused_without_being_repeated(keys: Keys, key: bytes) -> None:
    for ring in (KeyRing(keys, POLICY, "secret"), KeyRing(keys, AccessPolicy())):  # type: ignore[arg-type]
        with pytest.raises(UnauthenticatedError) as caught:
            await ring.identify(key)
        assert repr(key) not in str(caught.value)
    assert keys.asked == 0
