"""Expiry: submissions that nothing happens to leave the queue, and what they hold stays with their curators."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import Archive
from tests.http.test_store_destinations import found_at, made, opened, store_at
from tests.http.test_submissions import act
from tests.submitted import database_of

from dicomweb_archive.index.curation.expiry import ExpiryIndex
from dicomweb_archive.services.submissions.expiring import Expired, ExpiringService


def in_days(days: float) -> Callable[[], datetime]:
    return lambda: datetime.now(UTC) + timedelta(days=days)


async def expire(archive: Archive, *, days: int, after: float) -> Expired:
    return await ExpiringService(ExpiryIndex(database_of(archive)), days, in_days(after)).expire(actor="archive")


async def told(archive: Archive, path: str) -> dict[str, Any]:
    document: dict[str, Any] = (await archive.client.get(path)).json()
    return document


async def test_what_nothing_happens_to_expires_and_stays_with_its_curators(archive: Archive) -> None:
    path, name = await opened(archive, title="Forgotten")
    await store_at(archive, path, *ct_series(2))
    assert await expire(archive, days=30, after=29.9) == Expired(0, 0)
    assert await expire(archive, days=0, after=10_000) == Expired(0, 0)
    assert await expire(archive, days=30, after=30.1) == Expired(1, 0)
    assert await expire(archive, days=30, after=30.1) == Expired(0, 0)
    document = await told(archive, path)
    assert (document["state"], document["held"]["instances"], document["actions"]) == ("expired", 2, ["review"])
    *_, last = (await told(archive, f"{path}/events"))["events"]
    assert (last["kind"], last["actor"], last["comment"]) == (
        "submission_state_changed", "archive", "nothing happened for 30 days",
    )  # fmt: skip
    assert (last["detail"]["action"], last["detail"]["from"], last["detail"]["to"]) == ("expire", "open", "expired")
    # It takes nothing more, and is found and read as before.
    assert (await store_at(archive, path, *ct_series(1, study=2))).status_code == 409
    listed = (await archive.client.get("/submissions", params={"state": "expired"})).json()
    assert [each["name"] for each in listed["submissions"]] == [name]
    assert await found_at(archive, path) == 2
    assert (await archive.client.get(f"{path}/dicom-web/studies/{UID}.1")).status_code == 200
    # Nobody has decided anything, so a curator may.
    assert (await act(archive, document, "review")).json()["state"] == "in_review"


async def test_whatever_happens_to_a_submission_keeps_it_from_expiring(archive: Archive) -> None:
    path, _ = await opened(archive)
    async with database_of(archive).transaction() as connection:
        await connection.execute("update submission set changed_at = now() - interval '40 days'")
        await connection.execute("update event set at = now() - interval '40 days'")
    await archive.client.post(f"{path}/comments", json={"text": "We wait for the last subject"})
    assert await expire(archive, days=30, after=0) == Expired(0, 0)
    assert await expire(archive, days=30, after=31) == Expired(1, 0)


async def test_what_is_decided_or_being_published_does_not_expire(archive: Archive) -> None:
    paths = [(await opened(archive))[0] for _ in range(3)]
    states = ("publishing", "published", "rejected")
    async with database_of(archive).transaction() as connection:
        for path, state in zip(paths, states, strict=True):
            name = path.rpartition("/")[2]
            await connection.execute("update submission set state = $2 where name = $1", name, state)
    assert await expire(archive, days=1, after=1000) == Expired(0, 0)
    assert [(await told(archive, path))["state"] for path in paths] == list(states)


async def test_what_comes_while_it_is_being_ended_keeps_a_submission_open(archive: Archive) -> None:
    path, _ = await opened(archive)
    expiry = ExpiryIndex(database_of(archive))

    class Late(ExpiryIndex):
        async def end(self, *asked: Any, **named: Any) -> bool:
            await store_at(archive, path, *ct_series(1))
            async with database_of(archive).transaction() as connection:
                await connection.execute(
                    "update event set at = at + interval '40 days' where kind = 'instances_stored'"
                )
            return await expiry.end(*asked, **named)

    late = ExpiringService(Late(database_of(archive)), 30, in_days(31))
    assert await late.expire(actor="archive") == Expired(0, 0)
    assert (await told(archive, path))["state"] == "open"


async def test_what_a_store_has_opened_ends_with_its_day_when_it_holds_nothing_and_nobody_spoke_of_it(
    archive: Archive,
) -> None:
    parents = [await made(archive, accession, "policy = 'curated'") for accession in ("FULL", "EMPTIED", "SPOKEN")]
    for study, parent in enumerate(parents, start=1):
        assert (await store_at(archive, parent, *ct_series(1, study=study))).status_code == 202
    full, emptied, spoken = [
        f"/submissions/{(await told(archive, f'/submissions?collection={parent[13:]}'))['submissions'][0]['name']}"
        for parent in parents
    ]
    asked_for, _ = await opened(archive)
    for path in (emptied, spoken):
        async with database_of(archive).transaction() as connection:
            space = "(select space_id from submission where name = $1)"
            await connection.execute(f"delete from instance where space_id = {space}", path.rpartition("/")[2])
    await archive.client.post(f"{spoken}/comments", json={"text": "More will come"})
    assert await expire(archive, days=0, after=0.9) == Expired(0, 0)
    assert await expire(archive, days=0, after=1.1) == Expired(0, 1)
    states = {path: (await told(archive, path))["state"] for path in (full, emptied, spoken, asked_for)}
    assert states == {full: "open", emptied: "expired", spoken: "open", asked_for: "open"}
