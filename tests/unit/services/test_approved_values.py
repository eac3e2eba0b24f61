"""Which values of an inventory are approved, also where they are not told apart."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from dicomweb_archive.index.curation.approvals import Approval, ValueDigests
from dicomweb_archive.index.curation.inventory import InventoryCount, PathTally, Tally
from dicomweb_archive.index.curation.inventory_index import CountedInventory
from dicomweb_archive.services.inventory.approved import ApprovedValues
from dicomweb_archive.services.inventory.service import InventoryService

PATH = "00081030"
BEFORE, AFTER = b"before", b"after"


def values(
    *texts: str | None,
    approvals: dict[str, list[bytes]] | None = None,
    content: bytes = BEFORE,
    is_cut: bool = False,
    is_complete: bool = True,
) -> ApprovedValues:
    count = InventoryCount()
    count.paths[PATH] = PathTally(1, 1, vr="LO", values={text: Tally(1, 1) for text in texts}, is_cut=is_cut)
    now = datetime.now(UTC)
    kept = {path: [Approval("Ann", now, b"".join(given))] for path, given in (approvals or {}).items()}
    return ApprovedValues(CountedInventory(count, is_complete, content), ValueDigests(b"secret", content), kept)


def test_values_that_are_told_apart_stay_approved_whatever_else_changes() -> None:
    given = {PATH: values("a", "", "b").missing(PATH, None)}
    assert len(given[PATH]) == 2
    assert values("a", "b", approvals=given, content=AFTER).is_approved(PATH)
    more = values("a", "b", "c", approvals=given)
    assert more.undecided() == {PATH}
    assert [each and each.by for each in more.approvals_of(PATH, ["a", "c"])] == ["Ann", None]
    assert more.missing(PATH, ["a", "c", "c"]) == [more.digests.of_value(PATH, "c")]


@pytest.mark.parametrize("bounds", [{"is_cut": True}, {"is_complete": False}], ids=["too-many", "too-slow"])
def test_values_that_are_not_told_apart_are_approved_as_one(bounds: dict[str, bool]) -> None:
    given = {PATH: values("a", "b", **bounds).missing(PATH, None)}
    assert len(given[PATH]) == 1
    assert not values("a", "b", **bounds).is_approved(PATH)
    assert values("a", "c", approvals=given, **bounds).is_approved(PATH)
    assert not values("a", "b", approvals=given, content=AFTER, **bounds).is_approved(PATH)
    # One by one they are not approved as all that there are.
    some = {PATH: values("a", "b", **bounds).missing(PATH, ["a", "b"])}
    assert not values("a", "b", approvals=some, **bounds).is_approved(PATH)


def test_binary_values_are_approved_until_a_byte_changes() -> None:
    given = {PATH: values(None).missing(PATH, None)}
    assert values(None, approvals=given).is_approved(PATH)
    assert not values(None, approvals=given, content=AFTER).is_approved(PATH)


def test_nothing_needs_to_be_said_of_empty_values() -> None:
    assert values("").is_approved(PATH)
    assert values("").missing(PATH, None) == []


def test_a_digest_is_of_a_value_at_a_path() -> None:
    digests = ValueDigests(b"secret", BEFORE)
    others = (digests.of_value("00080080", "a"), ValueDigests(b"other", BEFORE).of_value(PATH, "a"))
    assert digests.of_value(PATH, "a") not in {*others, digests.of_all(PATH), digests.of_value(PATH, None)}


def against_approval(counted: CountedInventory) -> list[str]:
    """Ask what stands against approving a submission of a collection that wants names of patients approved."""

    def answering(answer: Any) -> Any:
        async def ask(*_: Any, **__: Any) -> Any:
            return answer

        return ask

    collection = SimpleNamespace(rules=SimpleNamespace(approved_values=frozenset({"00100010"})))
    service = InventoryService(
        index=SimpleNamespace(fingerprint=answering(1), count=answering(counted)),
        approvals=SimpleNamespace(digests=answering(ValueDigests(b"secret", BEFORE)), find=answering({})),
        submissions=SimpleNamespace(find_collection=answering(collection)),
    )  # type: ignore[arg-type]
    submission: Any = SimpleNamespace(id=1, space_id=1, collection="A-1")
    return list(asyncio.run(service.against_approval(submission)))


def test_what_was_not_counted_is_not_taken_for_approved() -> None:
    assert against_approval(CountedInventory(InventoryCount(), True, BEFORE)) == []
    assert len(against_approval(CountedInventory(InventoryCount(), False, BEFORE))) == 1
    many = InventoryCount()
    many.is_cut = True
    assert len(against_approval(CountedInventory(many, True, BEFORE))) == 1
