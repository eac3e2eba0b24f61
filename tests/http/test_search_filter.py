"""The boolean filter through the door: text and JSON, by GET and POST, and what is refused."""

from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import orjson
import pytest
import pytest_asyncio
from pydicom import config
from tests.factories import ROOT as UID
from tests.factories import ct_series, image, mr_series, part10
from tests.http.archive import ROOT, Archive, values_of

CT_AND_NAME = "Modality = 'CT' AND NOT CASEI(PatientID) LIKE 'none%'"
JSON = {
    "op": "or",
    "args": [
        {"op": "=", "args": [{"property": "Modality"}, "MR"]},
        {"op": ">", "args": [{"property": "InstanceNumber"}, 2]},
    ],
}


async def post(archive: Archive, path: str, **options: Any) -> httpx.Response:
    return await archive.client.post(f"{ROOT}{path}/search", **options)


# One archive for the module: its tests read what is there.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(shared_archive: Archive) -> Archive:
    """Three studies: CT with two series, CT, and MR of somebody else."""
    await shared_archive.store(
        *ct_series(3),
        *ct_series(2, series=2),
        *ct_series(1, study=2),
        *mr_series(2, study=3, PatientName="Roe^Richard"),
    )
    return shared_archive


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("/studies", 2),
        ("/series", 3),
        ("/instances", 6),
        (f"/studies/{UID}.1/series", 2),
        (f"/studies/{UID}.1/instances", 5),
        (f"/studies/{UID}.1/series/{UID}.1.2/instances", 2),
    ],
)
async def test_every_resource_takes_a_filter_in_its_address_and_in_a_body(
    filled: Archive, path: str, count: int
) -> None:
    answer = await filled.get(f"{path}?filter={quote(CT_AND_NAME)}")
    assert answer.status_code == 200
    assert len(answer.json()) == count
    assert (await filled.get(f"{path}?filter={quote_plus(CT_AND_NAME)}")).json() == answer.json()
    posted = await post(filled, path, json={"filter": CT_AND_NAME})
    assert posted.status_code == 200
    assert posted.json() == answer.json()


async def test_a_filter_goes_together_with_keys_pages_and_counts(filled: Archive) -> None:
    text = quote(orjson.dumps(JSON).decode())
    answer = await filled.get(f"/instances?filter={text}&filter-lang=cql2-json&limit=1")
    assert len(answer.json()) == 1
    assert '"There are 2 additional results' in answer.headers["warning"]
    body = {"filter": JSON, "PatientName": "Roe*", "includefield": ["PatientSex", "KVP"], "limit": 5}
    posted = await post(filled, "/instances", json=body)
    assert [values_of(row, "00200013") for row in posted.json()] == [[1], [2]]
    assert "warning" not in posted.headers


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("KVP = 'tall'", "KVP cannot be understood as written; accepted: a number"),
        ("KVP >", "from character 6"),
        ("Doe^Jane = 1", "not arithmetic"),
        ("S_WITHIN(a, b)", "not the function S_WITHIN"),
        ("(" * 3000, "at most 32 parentheses"),
    ],
)
async def test_a_filter_that_cannot_be_read_is_refused_by_name(filled: Archive, text: str, detail: str) -> None:
    for answer in (
        await filled.get(f"/studies?filter={quote(text)}"),
        await post(filled, "/studies", json={"filter": text}),
    ):
        assert answer.status_code == 400
        assert detail in answer.json()["detail"]
        assert "tall" not in answer.text
        assert "Doe" not in answer.text


async def test_the_link_of_a_search_by_post_is_posted_again_with_the_same_body(filled: Archive) -> None:
    body = {"filter": JSON, "orderby": ["-InstanceNumber"], "limit": 2}
    first = await post(filled, "/instances", json=body)
    address, _, relation = first.headers["link"].partition(">; ")
    assert relation == 'rel="next"'
    second = await filled.client.post(address.removeprefix("<"), json=body)
    assert second.status_code == 200
    assert "link" not in second.headers
    numbers = [values_of(row, "00200013")[0] for row in (*first.json(), *second.json())]
    assert numbers == [3, 2, 1]


@pytest.mark.parametrize("place", ["offset", "page_token"])
async def test_a_link_goes_on_from_its_page_whatever_place_the_body_names(filled: Archive, place: str) -> None:
    body: dict[str, Any] = {"filter": JSON, "orderby": ["InstanceNumber"], "limit": 1}
    begun = await post(filled, "/instances", json=body)
    token = begun.headers["link"].partition("page_token=")[2].partition(">")[0]
    body |= {"offset": 1} if place == "offset" else {"page_token": token}
    second = await post(filled, "/instances", json=body)
    third = await filled.client.post(second.headers["link"].partition(">")[0].removeprefix("<"), json=body)
    assert [values_of(row, "00200013")[0] for row in (*second.json(), *third.json())] == [2, 3]
    assert "link" not in third.headers
    both = await post(filled, "/instances", json={**body, "offset": 1, "page_token": token})
    assert both.status_code == 400


async def test_the_filter_narrows_facets_too(filled: Archive) -> None:
    counted = (await filled.get(f"/series/facets?field=Modality&filter={quote(CT_AND_NAME)}")).json()
    assert (counted["total"], [value["value"] for value in counted["facets"][0]["values"]]) == (3, ["CT"])


# What it stores would be found by the others.
@pytest.mark.asyncio(loop_scope="function")
async def test_what_is_no_date_or_number_is_there_but_fits_nothing(archive: Archive) -> None:
    with config.disable_value_validation():
        odd = image(StudyDate="2024013", StudyTime="noon", SeriesNumber="")
        odd[0x00200011]._value = "one"
        stored = await archive.store(part10(odd))
    assert stored.status_code == 202
    for name, value in {"StudyDate": "DATE('2024-01-31')", "StudyTime": "'12'", "SeriesNumber": "1"}.items():
        for condition, count in {
            f"{name} IS NULL": 0,
            f"{name} IS NOT NULL": 1,
            f"{name} <= {value}": 0,
            f"NOT {name} = {value}": 1,
        }.items():
            answer = await archive.get(f"/series?filter={quote(condition)}")
            assert len(answer.json()) == count, condition


async def test_bodies_that_are_no_search_are_refused(filled: Archive) -> None:
    headers = {"content-type": "application/json"}
    assert (await post(filled, "/studies", content=b"[]", headers=headers)).status_code == 400
    assert (await post(filled, "/studies", content=b'{"a":' * 10_000, headers=headers)).status_code == 400
    assert (await post(filled, "/studies", content=b" " * 70_000, headers=headers)).status_code == 413
    assert (await post(filled, "/studies", content=b"{}")).status_code == 415
    twice = await filled.client.post(f"{ROOT}/studies/search?limit=1", json={"limit": 2})
    assert twice.status_code == 400
