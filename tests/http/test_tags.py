"""Which attributes there are, through the door."""

import csv
import io

from tests.factories import ROOT as UID
from tests.factories import ct_series, mr_series
from tests.http.archive import Archive


async def test_attributes_are_listed_filtered_and_paged(archive: Archive) -> None:
    await archive.store(*ct_series(2), *mr_series(1, study=2, BodyPartExamined="HEAD"))
    document = (await archive.get("/tags")).json()
    tags = {tag["path"]: tag for tag in document["tags"]}
    assert document["series"] == 2
    assert document["complete"] is True
    assert document["total"] == len(document["tags"]) == len(tags)
    assert tags["00180015"] == {
        "path": "00180015",
        "keyword": "BodyPartExamined",
        "name": "Body Part Examined",
        "vr": "CS",
        "private_creator": None,
        "series": 1,
        "varies": False,
        "varies_in": 0,
        "creators": {},
    }
    assert tags["00191002"]["creators"] == {"00190010": "PHANTOM_01"}
    assert (tags["00191002"]["vr"], tags["00191002"]["varies_in"]) == ("SL", 1)
    assert tags["00080018"]["series"] == 2

    page = (await archive.get("/tags?q=patient&limit=2&offset=1")).json()
    assert len(page["tags"]) == 2
    assert page["total"] > 3
    named = (await archive.get("/tags?prefix=procedurecode")).json()
    assert {tag["keyword"].split(".")[0] for tag in named["tags"]} == {"ProcedureCodeSequence"}
    unknown = await archive.get("/tags?colour=blue")
    assert "colour" in unknown.headers["warning"]
    refused = await archive.get("/tags?limit=few")
    assert refused.status_code == 400
    assert "limit" in refused.json()["detail"]

    text = (await archive.get(f"/studies/{UID}.1/tags", headers={"accept": "text/csv"})).text
    rows = {row["path"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert "00180015" not in rows
    assert (rows["00200013"]["keyword"], rows["00200013"]["varies"]) == ("InstanceNumber", "true")
    assert (await archive.get(f"/studies/{UID}.9/tags")).status_code == 404
