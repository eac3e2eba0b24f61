"""Facets through the door."""

import csv
import io

import pytest
from tests.factories import ct_series, mr_series
from tests.http.archive import Archive
from tests.http.conftest import StartArchive


async def test_facets_are_counted_at_every_level(archive: Archive) -> None:
    await archive.store(*ct_series(3), *ct_series(2, series=2), *mr_series(4, study=2))
    for level, counts in (("studies", [1, 1]), ("series", [2, 1]), ("instances", [5, 4])):
        document = (await archive.get(f"/{level}/facets?field=Modality,00191002&00190010=PHANTOM_01")).json()
        modality, private = document["facets"]
        assert sorted((value["count"] for value in modality["values"]), reverse=True) == counts
        assert modality | {"values": None} == {"field": "Modality", "vr": "CS", "distinct": 2, "values": None}
        assert private["distinct"] == 4
    ct = (
        await archive.get("/instances/facets?field=InstanceNumber&Modality=CT&limit=1&interval=InstanceNumber:2")
    ).json()
    assert ct == {
        "level": "instance",
        "total": 5,
        "facets": [
            {
                "field": "InstanceNumber",
                "vr": "IS",
                "distinct": 2,
                "values": [{"value": 2, "upto": 4, "count": 3}],
            }
        ],
    }
    text = (await archive.get("/studies/facets?field=Modality&accept=text/csv")).text
    assert {row["value"] for row in csv.DictReader(io.StringIO(text, newline=""))} == {"CT", "MR"}
    assert "colour" in (await archive.get("/studies/facets?field=Modality&colour=blue")).headers["warning"]


async def test_facets_say_nothing_of_fields_left_out_for_none_is(archive: Archive) -> None:
    answer = await archive.get("/studies/facets?field=KVP,Modality")
    assert (answer.status_code, "warning" in answer.headers) == (200, False)


REFUSED = {
    "": "field",
    "field=": "field",
    "field=Secret^Name": "field",
    "field=00291001": "field",
    "field=SOPInstanceUID": "field",
    "field=" + ",".join(["Modality"] * 21): "field",
    "field=Modality&field=KVP": "field",
    "field=Modality&limit=-1": "limit",
    "field=Modality&limit=0": "limit",
    "field=Modality&limit=1001": "limit",
    "field=KVP&interval=KVP:0": "interval",
    "field=KVP&interval=Rows:2": "interval",
    "field=KVP&interval=KVP:nan": "interval",
    "field=KVP&interval=KVP:year": "interval",
    "field=Modality&StudyDate=-": "StudyDate",
}


async def test_what_does_not_fit_is_400_and_named(archive: Archive) -> None:
    for query, name in REFUSED.items():
        answer = await archive.get(f"/studies/facets?{query}")
        assert answer.status_code == 400, query
        assert name in answer.json()["detail"]
        assert "Secret" not in answer.text


async def test_parameters_of_pages_are_named_by_a_warning_or_refused(start_archive: StartArchive) -> None:
    names = {"page_token": "Secret", "offset": "1", "orderby": "PatientName", "count": "exact", "includefield": "all"}
    async with start_archive() as archive:
        answer = await archive.get("/studies/facets", params={"field": "Modality", **names})
        assert answer.status_code == 200
        warned = answer.headers.get_list("warning")
        assert [name for name in names if not any(f"The parameter {name} is not" in each for each in warned)] == []
        assert "Secret" not in str(warned)
    async with start_archive(unsupported_parameters="refuse") as archive:
        for name, value in names.items():
            answer = await archive.get("/studies/facets", params={"field": "Modality", name: value})
            assert answer.status_code == 400, name
            assert name in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/studies/facets?field=Modality", "/tags"])
async def test_figures_are_for_readers_only(start_archive: StartArchive, path: str) -> None:
    async with start_archive(api_key="secret", anonymous_read=False) as archive:
        assert (await archive.get(path)).status_code == 401
