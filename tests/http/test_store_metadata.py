"""STOW-RS with metadata and bulk data: stored, found and given back like any instance."""

from io import BytesIO

from PIL import Image
from pydicom import dcmread
from tests.factories import ROOT as UID
from tests.factories import identified, image
from tests.http.archive import Archive, values_of
from tests.multiparts import JSON, body_of, bulk_part, json_part, metadata_of, related_type

FAILED, STORED, OTHER = "00081198", "00081199", "0008119A"
FAILURE_REASON, WARNING_REASON, FAILED_ATTRIBUTES = "00081197", "00081196", "00741048"


async def test_a_series_of_metadata_and_bulk_data_is_stored_once_and_whole(archive: Archive) -> None:
    models, bulk = metadata_of(*(image(instance=number) for number in (1, 2, 3)))
    body = body_of([json_part(models), *bulk])
    answer = await archive.post(body, content_type=related_type())
    assert answer.status_code == 200
    assert answer.headers["location"].endswith(f"/studies/{UID}.1")
    assert len(values_of(answer.json(), STORED)) == 3
    files = archive.files()
    # What is put together is put together in one way only, so the same again is the same bytes.
    assert (await archive.post(body, content_type=related_type(), study=f"{UID}.1")).status_code == 200
    assert archive.files() == files
    got = await archive.get(
        f"/studies/{UID}.1/series/{UID}.1.1/instances/{UID}.1.1.2", headers={"accept": "application/dicom"}
    )
    assert dcmread(BytesIO(got.content)).PixelData == bulk[1][1]
    named = await archive.post(body, content_type=related_type(), study=f"{UID}.9")
    assert named.status_code == 409
    found = await archive.get("/instances", params={"PatientID": "P00001"})
    assert len(found.json()) == 3


async def test_good_odd_and_bad_instances_are_answered_one_by_one(archive: Archive) -> None:
    models, bulk = metadata_of(*(image(instance=number) for number in (1, 2, 3)))
    models[0]["00101010"] = {"vr": "AS", "Value": [{}]}
    del models[1]["0020000D"]
    answer = await archive.post(
        body_of([json_part(models), *bulk[:2], bulk_part(b"x", "unknown")]), content_type=related_type()
    )
    assert answer.status_code == 202
    assert "warning" in answer.headers
    (stored,) = values_of(answer.json(), STORED)
    assert values_of(stored, WARNING_REASON) == [0xB006]
    assert values_of(values_of(stored, FAILED_ATTRIBUTES)[0], "00720026") == ["00101010"]
    (missing,) = values_of(answer.json(), FAILED)
    assert values_of(missing, FAILURE_REASON) == [0xC005]
    assert [values_of(item, FAILURE_REASON) for item in values_of(answer.json(), OTHER)] == [[0xA900], [0xC006]]
    assert await archive.stored_instances() == 1


async def test_pictures_and_documents_are_stored_and_shown(archive: Archive) -> None:
    picture, drawing = BytesIO(), BytesIO()
    Image.new("L", (40, 30), 200).save(picture, "JPEG")
    Image.new("RGB", (40, 30), (10, 20, 30)).save(drawing, "PNG")
    kinds = [
        ("7FE00010", "1.2.840.10008.5.1.4.1.1.7", "image/jpeg", picture.getvalue()),
        ("7FE00010", "1.2.840.10008.5.1.4.1.1.7", "image/png", drawing.getvalue()),
        ("00420011", "1.2.840.10008.5.1.4.1.1.104.1", "application/pdf", b"%PDF-1.7"),
    ]
    models, bulk = [], []
    for number, (tag, sop_class, media_type, data) in enumerate(kinds, 1):
        location = f"bulk/{number}"
        model = identified(instance=number, sop_class=sop_class).to_json_dict()
        models.append(model | {tag: {"vr": "OB", "BulkDataURI": location}})
        bulk.append(bulk_part(data, location, media_type))
    answer = await archive.post(body_of([json_part(models), *bulk]), content_type=related_type())
    assert answer.status_code == 200
    for number, media_type in enumerate(("image/png", "image/png", "application/pdf"), 1):
        path = f"/studies/{UID}.1/series/{UID}.1.1/instances/{UID}.1.1.{number}/rendered"
        shown = await archive.get(path, headers={"accept": media_type})
        assert shown.status_code == 200
        assert shown.headers["content-type"] == media_type
        if media_type == "image/png":
            with Image.open(BytesIO(shown.content)) as rendered:
                assert rendered.size == (40, 30)


async def test_metadata_alone_are_an_instance_without_bulk_data(archive: Archive) -> None:
    models, _ = metadata_of(identified())
    assert (await archive.post(json_part(models)[1], content_type=JSON)).status_code == 200
    assert await archive.stored_instances() == 1


async def test_a_broken_end_leaves_nothing_of_what_came_before(archive: Archive) -> None:
    models, bulk = metadata_of(image(instance=1), image(instance=2))
    body = body_of([json_part(models), *bulk])
    for broken in (body[:-300], body.replace(b"[{", b"[[", 1), body_of([json_part([])])):
        answer = await archive.post(broken, content_type=related_type())
        assert answer.status_code == 400
        assert archive.files() == []
