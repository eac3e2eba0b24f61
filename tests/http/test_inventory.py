"""The inventory of a submission, through the door."""

from typing import Any

import httpx
from tests.factories import ROOT as UID
from tests.factories import ct_series, mr_series
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.http.test_keys import key_for
from tests.stored import pack_of, segment_of
from tests.submitted import database_of

from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.curation.inventory_index import InventoryIndex
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.services.access import Role
from dicomweb_archive.services.submissions.transitions import Action

KEY = {"authorization": "Bearer the-key"}


async def fill(archive: Archive, name: str, *series: list[bytes]) -> int:
    """Put series into the space of a submission."""
    assert archive.settings.database_url is not None
    async with await Database.open(archive.settings.database_url.get_secret_value()) as database:
        async with database.connection() as connection:
            space: int = await connection.fetchval("select space_id from submission where name = $1", name)
        packs = [pack_of(*(segment_of(files) for files in series))]
        await Register(database).register(packs, actor="test", space_id=space)
    return space


async def test_a_submission_is_looked_through_by_value(archive: Archive) -> None:
    await archive.store(*ct_series(1, study=9, PatientName="Published^Already"))
    name = (await archive.client.post("/submissions", json={})).json()["name"]
    path = f"/submissions/{name}/inventory"
    assert (await archive.client.get(path)).json()["total"] == 0
    await fill(archive, name, ct_series(3, study=1), mr_series(2, study=2, PatientName="Muster^Maria"))

    inventory = (await archive.client.get(path)).json()
    attributes = {each["path"]: each for each in inventory["attributes"]}
    assert (inventory["instances"], inventory["series"], inventory["complete"]) == (5, 2, True)
    assert inventory["total"] == len(attributes)
    assert attributes["00080060"]["values"] == [
        {"value": "CT", "instances": 3, "series": 1, "approval": None},
        {"value": "MR", "instances": 2, "series": 1, "approval": None},
    ]
    assert attributes["7FE00010"]["values"] == [{"value": None, "instances": 5, "series": 2, "approval": None}]
    assert attributes["00081032.00080100"]["keyword"] == "ProcedureCodeSequence.CodeValue"
    assert attributes["00191002"]["creators"] == {"00190010": "PHANTOM_01"}
    assert "Published" not in str(inventory)

    some = (await archive.client.get(path, params={"q": "patient", "values": 1, "limit": 1, "offset": 1})).json()
    assert some["total"] > 2
    assert [len(each["values"]) for each in some["attributes"]] == [1]
    private = {"attribute": attributes["00191002"]["name"], "limit": 2, "offset": 1}
    [listed] = (await archive.client.get(f"{path}/values", params=private)).json()["attributes"]
    assert (listed["distinct"], [each["value"] for each in listed["values"]]) == (3, ["710", "711"])

    # What comes meanwhile is in the next answer.
    await fill(archive, name, ct_series(1, study=3))
    assert (await archive.client.get(path)).json()["instances"] == 6

    assert (await archive.client.get(f"{path}/values", params={"attribute": "00104000"})).status_code == 404
    refused = await archive.client.get(f"{path}/values", params={"attribute": "Jane Doe"})
    assert (refused.status_code, "Jane" in refused.text) == (400, False)


async def test_counting_that_takes_too_long_says_so(archive: Archive) -> None:
    name = (await archive.client.post("/submissions", json={})).json()["name"]
    space = await fill(archive, name, *(ct_series(1, study=1, series=number) for number in range(1, 53)))
    assert archive.settings.database_url is not None
    async with await Database.open(archive.settings.database_url.get_secret_value()) as database:
        count, complete, _ = await InventoryIndex(database).count(Visibility((space,)), seconds=0)
        assert (count.instances, complete) == (50, False)
        count, complete, _ = await InventoryIndex(database).count(Visibility((space,)), seconds=60)
        assert (count.instances, complete) == (52, True)


async def test_others_see_no_inventory(start_archive: StartArchive) -> None:
    async with start_archive(api_key="the-key") as archive:
        name = (await archive.client.post("/submissions", json={}, headers=KEY)).json()["name"]
        for below in ("", "/values?attribute=00100010"):
            path = f"/submissions/{name}/inventory{below}"
            assert (await archive.client.get(path)).status_code == 404
        path = f"/submissions/{name}/inventory"
        content = (await archive.client.get(path, headers=KEY)).json()["content"]
        chosen = {"attributes": [{"name": "00100010"}]}
        assert (await archive.client.post(f"{path}/approve", json={**chosen, "content": content})).status_code == 401
        # Who has opened it looks at values and approves none.
        sender = await key_for(archive, Role.SUBMITTER)
        path = f"/submissions/{(await archive.client.post('/submissions', json={}, headers=sender)).json()['name']}"
        assert (await archive.client.get(f"{path}/inventory", headers=sender)).status_code == 200
        for action, said in (("approve", {**chosen, "content": content}), ("revoke-approval", chosen)):
            refused = await archive.client.post(f"{path}/inventory/{action}", json=said, headers=sender)
            assert refused.status_code == 403


async def decide(archive: Archive, path: str, action: str = "approve", **said: Any) -> httpx.Response:
    """Approve values as they are now, or take that back; attributes are given by name, with their values."""
    attributes = [
        {"name": name, "values": values} if values else {"name": name} for name, values in said.pop("chosen").items()
    ]
    if action == "approve":
        said.setdefault("content", (await archive.client.get(path)).json()["content"])
    return await archive.client.post(f"{path}/{action}", json={"attributes": attributes, **said})


async def lines(archive: Archive, path: str, **asked: Any) -> dict[str, Any]:
    page = (await archive.client.get(path, params={"limit": 1000, **asked})).json()
    return {each["path"]: each for each in page["attributes"]}


async def test_values_are_approved_until_others_come(archive: Archive) -> None:
    name = (await archive.client.post("/submissions", json={})).json()["name"]
    path = f"/submissions/{name}/inventory"
    await fill(archive, name, ct_series(2, study=1), mr_series(1, study=2, PatientName="Muster^Maria"))
    before = (await archive.client.get(path)).json()

    one = await decide(archive, path, chosen={"00100010": ["Muster^Maria"]}, comment="A phantom's name")
    assert one.json() == {"values": 1, "undecided": before["undecided"]}
    found = (await lines(archive, path))["00100010"]
    by_value = {each["value"]: each["approval"] for each in found["values"]}
    assert (found["approved"], by_value.pop("Muster^Maria")["by"]) == (False, "anonymous")
    assert set(by_value.values()) == {None}

    # All values of an attribute, binary ones too; what is approved is not approved twice.
    both = await decide(archive, path, chosen={"00100010": None, "7FE00010": None})
    assert both.json() == {"values": 2, "undecided": before["undecided"] - 2}
    assert (await decide(archive, path, chosen={"00100010": None})).json()["values"] == 0
    undecided = await lines(archive, path, undecided="true")
    assert len(undecided) == before["undecided"] - 2
    assert {"00100010", "7FE00010"}.isdisjoint(undecided)
    listed = (await archive.client.get(f"{path}/values", params={"attribute": "00100010"})).json()
    assert (listed["undecided"], listed["attributes"][0]["approved"]) == (0, True)

    # Another value has to be looked at; that of before has been.
    await fill(archive, name, ct_series(1, study=3, PatientName="New^Name"))
    stale = await decide(archive, path, chosen={"00100020": None}, content=before["content"])
    assert stale.status_code == 412
    found = (await lines(archive, path))["00100010"]
    assert (found["approved"], [each["value"] for each in found["values"] if not each["approval"]]) == (
        False, ["New^Name"],
    )  # fmt: skip
    assert not (await lines(archive, path))["7FE00010"]["approved"]

    every = {each["name"]: None for each in (await lines(archive, path, undecided="true")).values()}
    assert (await decide(archive, path, chosen=every)).json()["undecided"] == 0
    back = await decide(archive, path, "revoke-approval", chosen={"00100010": ["New^Name"], "7FE00010": None})
    assert back.json() == {"values": 3, "undecided": 2}

    events = (await archive.client.get(f"/submissions/{name}/events")).json()["events"]
    told = [(each["kind"], each["detail"].get("path"), each["comment"]) for each in events if "value" in each["kind"]]
    assert told[0] == ("values_approved", "00100010", "A phantom's name")
    assert told[-1] == ("value_approvals_revoked", None, "")
    assert "Muster" not in str(events)
    async with database_of(archive).connection() as connection:
        kept = await connection.fetch("select * from value_approval")
    assert kept
    assert b"Muster" not in b"".join(row["digests"] for row in kept)


async def test_a_collection_may_want_values_approved(archive: Archive) -> None:
    rules = {"approved_values": ["PatientName", '0019"PHANTOM_01"02']}
    made = await archive.client.post("/collections", json={"title": "Looked at", "policy": "curated", "rules": rules})
    said = {"collection": made.json()["accession"]}
    name = (await archive.client.post("/submissions", json=said)).json()["name"]
    path = f"/submissions/{name}/inventory"
    space = await fill(archive, name, ct_series(2, study=4))
    async with database_of(archive).transaction() as connection:
        await connection.execute("update submission set state = 'in_review' where name = $1", name)

    async def approve() -> httpx.Response:
        revision = (await archive.client.get(f"/submissions/{name}")).headers["etag"]
        return await archive.client.post(f"/submissions/{name}/approve", headers={"if-match": revision})

    refused = await approve()
    assert (refused.status_code, "2 attributes" in refused.text) == (409, True)
    private = (await lines(archive, path))["00191002"]["name"]
    await decide(archive, path, chosen={"00100010": None, private: None})
    assert (await approve()).status_code == 200

    # With what is purged the approvals go, and when the submission is published.
    purge = {"study": f"{UID}.4", "series": f"{UID}.4.1", "instance": f"{UID}.4.1.1", "reason": "other"}
    purged = await archive.client.post("/purges", json=purge)
    assert purged.status_code == 200, purged.text
    assert not (await lines(archive, path))["00100010"]["approved"]
    await decide(archive, path, chosen={"00100010": None})
    service = archive.app.state.services.submissions
    await service.advance(name, Action.BEGIN_PUBLISHING, actor="test")
    assert (await decide(archive, path, chosen={"00100020": None})).status_code == 409
    async with database_of(archive).connection() as connection:
        left = await connection.fetchval(
            "select count(*) from value_approval a join submission s on s.id = a.submission_id where s.space_id = $1",
            space,
        )
    assert left == 0


async def test_what_cannot_be_approved_is_refused_without_its_value(archive: Archive) -> None:
    name = (await archive.client.post("/submissions", json={})).json()["name"]
    path = f"/submissions/{name}/inventory"
    await fill(archive, name, ct_series(1, study=5))
    refused = [
        (await decide(archive, path, chosen={"00100010": ["Jane^Doe"]}), 404),
        (await decide(archive, path, chosen={"00104000": None}), 404),
        (await decide(archive, path, chosen={"Jane Doe": None}), 400),
        (await decide(archive, path, chosen={}), 400),
        (await decide(archive, path, chosen={"00100010": None}, content="Jane"), 412),
        (await archive.client.get(f"{path}/values", params={"attribute": '0019"Jane\0"02'}), 400),
        (await decide(archive, path, "revoke-approval", chosen={'0019"Jane\0"02': None}), 400),
    ]
    for answer, status in refused:
        assert (answer.status_code, "Jane" in answer.text) == (status, False), answer.text
