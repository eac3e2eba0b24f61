"""What has a UID already is asked for as seldom as it can be, and never believed for longer than a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.factories import ct_series

from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.index.access import ARCHIVE_SPACE
from dicomweb_archive.index.writing.register import KnownInstance
from dicomweb_archive.services.reception import claims
from dicomweb_archive.services.reception.claims import Asked, Claims
from dicomweb_archive.services.reception.ledger import Ledger
from dicomweb_archive.services.settlement import Lane


@dataclass
class CountingRegister:
    """A register that has some instances, and counts what it is asked."""

    has: dict[str, bytes] = field(default_factory=dict)
    by_uid: list[list[str]] = field(default_factory=list)
    by_series: int = 0

    async def find_digests(self, space_id: int, uids: Sequence[str]) -> dict[str, KnownInstance]:
        assert space_id == ARCHIVE_SPACE
        self.by_uid.append(list(uids))
        return {uid: KnownInstance(self.has[uid], "", "") for uid in uids if uid in self.has}

    async def find_series(self, space_id: int, key: tuple[str, str], *, most: int) -> frozenset[str] | None:
        self.by_series += 1
        return frozenset(self.has) if len(self.has) <= most else None


@dataclass
class Destination:
    judge: object = True


def batches(series: int = 1) -> list[list[Asked]]:
    asked = [Asked(scan(data), Lane.PUBLISHED) for data in ct_series(8, series=series)]
    return [asked[start : start + 2] for start in range(0, 8, 2)]


async def found(register: CountingRegister, *asked: list[Asked]) -> list[set[str]]:
    looking: Any = Claims(register, Destination(), Ledger())  # type: ignore[arg-type]
    return [set(await looking.find(batch)) for batch in asked]


async def test_a_long_request_of_a_new_series_asks_twice() -> None:
    register = CountingRegister()
    assert await found(register, *batches()) == [set()] * 4
    assert (len(register.by_uid), register.by_series) == (1, 1)


async def test_what_the_series_has_is_looked_up_when_it_comes_again() -> None:
    sent = batches()
    known = {sent[0][1].uid, sent[2][0].uid, sent[3][0].uid, sent[3][1].uid}
    register = CountingRegister(dict.fromkeys(known, b"digest"))
    assert await found(register, *sent) == [known & {each.uid for each in batch} for batch in sent]
    assert register.by_uid[1:] == [[sent[2][0].uid], [each.uid for each in sent[3]]]
    assert register.by_series == 1


async def test_what_was_deleted_meanwhile_is_not_known_any_more() -> None:
    sent = batches()
    register = CountingRegister({sent[3][0].uid: b"digest"})
    looking: Any = Claims(register, Destination(), Ledger())  # type: ignore[arg-type]
    for batch in sent[:3]:
        await looking.find(batch)
    register.has.clear()
    assert await looking.find(sent[3]) == {}


async def test_long_series_and_many_series_are_asked_about_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    register = CountingRegister({str(number): b"digest" for number in range(4)})
    monkeypatch.setattr(claims, "_MOST_OF_SERIES", 3)
    await found(register, *batches())
    assert (len(register.by_uid), register.by_series) == (4, 1)
    register = CountingRegister()
    monkeypatch.setattr(claims, "_MOST_SERIES", 1)
    await found(register, *batches(1), *batches(2))
    assert (len(register.by_uid), register.by_series) == (1 + 4, 1)
