"""Free text through the door: every resource, by address and body, in facets and tables, and what is refused."""

import pytest
import pytest_asyncio
from tests.factories import ROOT as UID
from tests.factories import ct_series, mr_series
from tests.http.archive import ROOT, Archive

# One archive for the module: its tests read what is there.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(shared_archive: Archive) -> Archive:
    """Two studies of CT, one of them with words of its own, and one of MR."""
    await shared_archive.store(
        *ct_series(3, PatientComments="Quiet during the scan"),
        *ct_series(2, series=2),
        *ct_series(1, study=2),
        *mr_series(2, study=3),
    )
    return shared_archive


@pytest.mark.parametrize(
    ("path", "text", "count"),
    [
        ("/studies", "phantom axial", 3),
        ("/studies", "quiet", 1),
        ("/series", "phantom quiet", 1),
        ("/instances", '"during the scan"', 3),
        (f"/studies/{UID}.1/series", "phantom x", 2),
        (f"/studies/{UID}.1/instances", "quiet", 3),
        (f"/studies/{UID}.1/series/{UID}.1.2/instances", "quiet", 0),
    ],
)
async def test_every_search_takes_free_text(filled: Archive, path: str, text: str, count: int) -> None:
    answer = await filled.client.get(f"{ROOT}{path}", params={"text": text})
    assert answer.status_code == 200
    assert len(answer.json()) == count
    assert ("Words of one character" in answer.headers.get("warning", "")) is text.endswith(" x")
    posted = await filled.client.post(f"{ROOT}{path}/search", json={"text": text})
    assert posted.json() == answer.json()
    table = await filled.client.get(f"{ROOT}{path}", params={"text": text}, headers={"Accept": "text/csv"})
    assert len(table.text.splitlines()) == count + 1


async def test_free_text_narrows_facets_and_pages(filled: Archive) -> None:
    counted = await filled.client.get(f"{ROOT}/instances/facets", params={"text": "quiet", "field": "Modality"})
    assert [(each["value"], each["count"]) for each in counted.json()["facets"][0]["values"]] == [("CT", 3)]
    page = await filled.client.get(f"{ROOT}/studies", params={"text": "phantom", "limit": "1", "Modality": "CT"})
    assert len(page.json()) == 1
    following = await filled.client.get(page.links["next"]["url"])
    assert len(following.json()) == 1
    assert "next" not in following.links
    other = page.links["next"]["url"].replace("text=phantom", "text=axial")
    assert (await filled.client.get(other)).status_code == 400


@pytest.mark.parametrize("text", ["", "a", '"chest', "x\ty", "word " * 60])
async def test_a_bad_text_is_400_and_named(filled: Archive, text: str) -> None:
    answer = await filled.client.get(f"{ROOT}/studies", params={"text": text})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("text cannot be understood")
