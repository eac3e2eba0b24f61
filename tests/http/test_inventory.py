"""The inventory of a submission, through the door."""

from tests.factories import ct_series, mr_series
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.stored import pack_of, segment_of

from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.curation.inventory_index import InventoryIndex
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.register import Register

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
        {"value": "CT", "instances": 3, "series": 1},
        {"value": "MR", "instances": 2, "series": 1},
    ]
    assert attributes["7FE00010"]["values"] == [{"value": None, "instances": 5, "series": 2}]
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
        count, complete = await InventoryIndex(database).count(Visibility((space,)), seconds=0)
        assert (count.instances, complete) == (50, False)
        count, complete = await InventoryIndex(database).count(Visibility((space,)), seconds=60)
        assert (count.instances, complete) == (52, True)


async def test_others_see_no_inventory(start_archive: StartArchive) -> None:
    async with start_archive(api_key="the-key") as archive:
        name = (await archive.client.post("/submissions", json={}, headers=KEY)).json()["name"]
        for below in ("", "/values?attribute=00100010"):
            path = f"/submissions/{name}/inventory{below}"
            assert (await archive.client.get(path)).status_code == 404
        assert (await archive.client.get(f"/submissions/{name}/inventory", headers=KEY)).status_code == 200
