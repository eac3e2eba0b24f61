"""The same DICOMweb resources below three roots: what is published, one collection, one submission."""

import itertools
from collections.abc import AsyncIterator

import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series, image, part10, pixels
from tests.http.archive import Archive, values_of
from tests.http.conftest import StartArchive
from tests.submitted import add_collection, add_submission, lay_into

KEY = {"authorization": "Bearer secret"}
FRAME = {"accept": "application/octet-stream"}
SUBMISSION = "/submissions/waiting/dicom-web"
OPEN, SHUT = "/collections/open/dicom-web", "/collections/shut/dicom-web"

# Studies of the factories by number: 1 is published in `default`, 2 in `open`, 3 in `shut`, 4 waits.
STUDIES = {"default": 1, "open": 2, "shut": 3, "waiting": 4}


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    async with start_archive(api_key="secret") as archive:
        for accession, access in (("open", "open"), ("shut", "restricted")):
            collection = await add_collection(archive, accession, access=access)
            await lay_into(archive, 1, ct_series(2, study=STUDIES[accession]), collection_id=collection)
        await lay_into(archive, 1, ct_series(2, study=1))
        await lay_into(archive, await add_submission(archive, "waiting"), ct_series(2, study=4))
        yield archive


async def studies_below(archive: Archive, root: str, **headers: str) -> set[int]:
    answer = await archive.client.get(f"{root}/studies", headers=headers)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    for study in found:
        (url,) = values_of(study, "00081190")
        assert url == f"http://archive.example{root}/studies/{values_of(study, '0020000D')[0]}"
    return {int(values_of(study, "0020000D")[0].rpartition(".")[2]) for study in found}


async def test_each_root_finds_its_own(archive: Archive) -> None:
    assert await studies_below(archive, "/dicom-web") == {1, 2}
    assert await studies_below(archive, "/dicom-web", **KEY) == {1, 2, 3}
    assert await studies_below(archive, OPEN) == {2}
    assert await studies_below(archive, SHUT, **KEY) == {3}
    assert await studies_below(archive, SUBMISSION, **KEY) == {4}


SUFFIXES = ("", "/metadata", "/thumbnail", "/tags", "/series", "/series/{0}.{1}.1/metadata")


async def test_what_is_elsewhere_is_not_there(archive: Archive) -> None:
    for root, seen in (("/dicom-web", {1, 2, 3}), (OPEN, {2}), (SHUT, {3}), (SUBMISSION, {4})):
        for study, suffix in itertools.product(STUDIES.values(), SUFFIXES):
            answer = await archive.client.get(f"{root}/studies/{UID}.{study}{suffix.format(UID, study)}", headers=KEY)
            found = answer.status_code == 200 and answer.content != b"[]"
            assert found == (study in seen), (root, study, suffix, answer.status_code)


async def test_locations_and_bulk_values_are_below_the_root_that_was_asked(archive: Archive) -> None:
    path = f"{SUBMISSION}/studies/{UID}.4/series/{UID}.4.1"
    metadata = await archive.client.get(f"{path}/metadata", headers=KEY)
    assert metadata.headers["content-location"] == f"http://archive.example{path}/metadata"
    for instance in metadata.json():
        url = instance["7FE00010"]["BulkDataURI"]
        assert url.startswith(f"http://archive.example{path}/instances/")
        assert (await archive.client.get(url, headers=KEY)).status_code == 200
        # The same value of another root is nobody's.
        assert (await archive.client.get(url.replace(SUBMISSION, "/dicom-web"), headers=KEY)).status_code == 404


async def test_pages_warnings_and_capabilities_name_the_root(archive: Archive) -> None:
    page = await archive.client.get(f"{SUBMISSION}/instances?limit=1&unknown=1", headers=KEY)
    assert len(page.json()) == 1
    assert all(f" http://archive.example{SUBMISSION} " in warning for warning in page.headers.get_list("warning"))
    assert page.headers["link"].startswith(
        f"<http://archive.example{SUBMISSION}/instances?limit=1&unknown=1&page_token"
    )
    capabilities = await archive.client.get(f"{SUBMISSION}/", headers={**KEY, "accept": "application/json"})
    assert capabilities.headers["content-location"] == f"http://archive.example{SUBMISSION}/"
    assert f'"http://archive.example{SUBMISSION}/"' in capabilities.text.replace("\\", "")


async def test_who_has_no_business_there_finds_nothing_there(archive: Archive) -> None:
    for path in ("/studies", f"/studies/{UID}.4", f"/studies/{UID}.3/metadata", "/"):
        known = [await archive.client.get(root + path) for root in (SHUT, SUBMISSION)]
        unknown = [
            await archive.client.get(f"/{kind}/unknown/dicom-web{path}") for kind in ("collections", "submissions")
        ]
        for one, other in zip(known, unknown, strict=True):
            assert one.status_code == other.status_code
            assert {**one.json(), "request_id": ""} == {**other.json(), "request_id": ""}
        assert [answer.status_code for answer in known] == [404, 401]


async def test_an_instance_of_two_spaces_is_one_of_each(archive: Archive) -> None:
    path = f"/studies/{UID}.1/series/{UID}.1.1/instances/{UID}.1.1.1"
    before = await archive.client.get(f"/dicom-web{path}/frames/1", headers=FRAME)
    other = part10(image(PatientName="Other^Name", PixelData=pixels(16, 16, seed=9)))
    await lay_into(archive, await add_submission(archive, "again"), [other])
    published = await archive.client.get(f"/dicom-web{path}/frames/1", headers=FRAME)
    waiting = await archive.client.get(f"/submissions/again/dicom-web{path}/frames/1", headers=KEY | FRAME)
    assert published.content == before.content != waiting.content
    metadata = await archive.client.get(f"/submissions/again/dicom-web{path}/metadata", headers=KEY)
    assert "Other^Name" in metadata.text
    assert "Other^Name" not in (await archive.client.get(f"/dicom-web{path}/metadata")).text


async def test_resources_below_other_roots_have_templates_of_their_own(archive: Archive) -> None:
    await archive.client.get(f"{SUBMISSION}/studies/1.2/metadata", headers=KEY)
    await archive.client.get(f"{SHUT}/studies", headers=KEY)
    text = (await archive.client.get("/metrics", headers=KEY)).text
    assert 'route="/submissions/{submission}/dicom-web/studies/{study}/metadata",status="404"} 1.0' in text
    assert 'route="/collections/{collection}/dicom-web/studies",status="200"} 1.0' in text
    assert "waiting" not in text


async def test_what_a_root_does_not_know_is_said_in_the_usual_way(archive: Archive) -> None:
    assert (await archive.client.get(f"{SUBMISSION}/nothing", headers=KEY)).status_code == 404
    answer = await archive.client.put(f"{SUBMISSION}/studies", headers=KEY)
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert (await archive.client.get("/submissions/waiting/wado", headers=KEY)).status_code == 404
