"""What waits in quarantine leaves no trace: the archive answers a reader as if it were not there.

The requests are made from the description of the API: every GET, with every parameter that it names. They are sent
before and after a submission is filled, and nothing but request ids may differ.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series, identified, image, part10
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.submitted import add_collection, add_submission, database_of, lay_into

from dicomweb_archive.index.events.sealing import Sealer
from dicomweb_archive.index.upkeep.held_paths import HeldPathsIndex
from dicomweb_archive.index.upkeep.statistics import IndexUpkeep

SECRET = "Hiddenson^Quentin"
SECRET_ID = "QUARANTINE-4711"
SECRET_UID = f"{UID}.77"

# Study, series and instance: what is published, what waits in a study of the same UID, under the very same UIDs, and
# in a study of its own; what was deleted from a submission, and what was deleted from the published archive.
RESOURCES = {
    "published": (f"{UID}.1", f"{UID}.1.1", f"{UID}.1.1.1"),
    "hidden series": (f"{UID}.1", f"{UID}.1.5", f"{UID}.1.5.1"),
    "hidden study": (SECRET_UID, f"{SECRET_UID}.1", f"{SECRET_UID}.1.1"),
    "deleted in the submission": (f"{UID}.78", f"{UID}.78.1", f"{UID}.78.1.1"),
    "deleted": (f"{UID}.3", f"{UID}.3.1", f"{UID}.3.1.1"),
}

CREATOR = "00090010=HIDDEN CREATOR"

# What may be asked by each parameter; what can only be had by a value of what is hidden comes first.
VALUES: Mapping[str, Sequence[str]] = {
    "match": (
        f"PatientName={SECRET}",
        "PatientName=*",
        f"StudyInstanceUID={SECRET_UID}",
        "StudyDate=19990101-19991231",
        "NumberOfStudyRelatedInstances=3",
        f"00091010=1*&{CREATOR}",
        f"00091011=1-2&{CREATOR}",
    ),
    "fuzzymatching": ("true&PatientName=hidensen",),
    "includefield": ("all",),
    "limit": ("1",),
    "offset": ("1",),
    "emptyvaluematching": ("true&PatientName=%22%22",),
    "multiplevaluematching": ("true&Modality=SEG,CT",),
    "filter": (f"PatientID='{SECRET_ID}'", "StudyDescription LIKE '%only waits%'"),
    "filter-lang": ("cql2-text",),
    "text": ("waits",),
    "orderby": ("-StudyDate",),
    "count": ("exact",),
    "page_token": ("none",),
    "field": ("PatientName", f"00091011&{CREATOR}"),
    "interval": (f"year&field=00091011&{CREATOR}",),
    "prefix": ("0009",),
}


@pytest.fixture
async def archive(start_archive: StartArchive, request: pytest.FixtureRequest) -> Any:
    async with start_archive(api_key="secret", maintenance_interval_seconds=0) as archive:
        if request.param == "restricted":
            await add_collection(archive, "shut", access="restricted")
        files = [*ct_series(3), *ct_series(2, study=3), part10(image(study=2, PatientName="Open^Name"))]
        await lay_into(archive, 1, files)
        deleted = await delete(archive, f"/dicom-web/studies/{UID}.3")
        assert deleted == 204
        await look_after(archive)
        yield archive


async def delete(archive: Archive, path: str) -> int:
    return (await archive.client.delete(path, headers={"authorization": "Bearer secret"})).status_code


async def look_after(archive: Archive) -> None:
    await IndexUpkeep(database_of(archive)).refresh()
    await HeldPathsIndex(database_of(archive)).catch_up(seconds=60)
    # The feed shows what is sealed, and while the archive itself is just sealing nobody else does.
    while await Sealer(database_of(archive)).seal() is None:  # noqa: ASYNC110 - a lock of the database is waited for
        await asyncio.sleep(0.01)


async def fill(archive: Archive) -> None:
    """Let much wait that has a lot in common with what is published, and much that has nothing."""
    secret: dict[str, Any] = {"PatientName": SECRET, "PatientID": SECRET_ID, "StudyDate": "19990505"}
    described = {"StudyDescription": "This only waits in quarantine", "Modality": "SEG"}
    dataset = image(study=77, **secret, **described)
    dataset.add_new(0x00090010, "LO", "HIDDEN CREATOR")
    dataset.add_new(0x00091010, "IS", "12")
    dataset.add_new(0x00091011, "LO", "hidden")
    files = [
        part10(dataset),
        *ct_series(3, study=1, series=5),
        *ct_series(2, study=1, series=1),
        *ct_series(1, study=78),
    ]
    space = await add_submission(archive, "waiting")
    await lay_into(archive, space, files)
    assert await delete(archive, f"/submissions/waiting/dicom-web/studies/{UID}.78") == 204
    if (
        await archive.client.get("/collections/shut/dicom-web/", headers={"authorization": "Bearer secret"})
    ).is_success:
        shut = await add_collection(archive, "shut", access="restricted")
        await lay_into(archive, 1, [part10(identified(study=79, **secret, **described))], collection_id=shut)
        await lay_into(archive, 1, ct_series(1, study=80), collection_id=shut)
        assert await delete(archive, f"/dicom-web/studies/{UID}.80") == 204


def requests_of(description: Mapping[str, Any], *, with_queries: bool) -> Iterator[str]:
    """Make every GET of a description of the API that a reader might look for something with."""
    for path, item in description["paths"].items():
        if "get" not in item:
            continue
        names = set(re.findall(r"{(\w+)}", path))
        for server in servers_of(item):
            everything = "study" in names and not server
            for uids in RESOURCES.values() if everything else [RESOURCES["hidden study"]]:
                # Whatever else has a name is asked for by one of what waits.
                given = dict.fromkeys(names, "waiting") | dict(zip(("study", "series", "instance"), uids, strict=True))
                resource = server + path.format(**given | {"path": "7FE00010", "frame": "1", "frames": "1"})
                yield resource
                if with_queries and not server and uids[0] in (f"{UID}.1", SECRET_UID):
                    yield from (f"{resource}?{query}" for query in queries_of(item["get"].get("parameters", ())))


def servers_of(item: Mapping[str, Any]) -> list[str]:
    names = {"collection": ("shut",), "submission": ("waiting",)}
    servers = []
    for server in item.get("servers", [{"url": "/"}]):
        variable = next(iter(server.get("variables", {})), None)
        servers += [server["url"].format(**{variable: name}).rstrip("/") for name in names.get(variable, ("",))]
    return servers


def queries_of(parameters: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for parameter in parameters:
        name = parameter.get("name", "")
        if parameter.get("in") != "query" or name == "accept":
            continue
        for value in VALUES.get(name, ("waiting", SECRET_UID)):
            if name == "match":
                yield quote(value, safe="&=")
            else:
                yield f"{name}={quote(value, safe='&=')}"


PAGES = (
    "/",
    "/?q=Hidden",
    "/?PatientName=Hidden*",
    f"/studies/{SECRET_UID}",
    f"/studies/{UID}.1",
    f"/studies/{UID}.78",
    "/status",
    "/sign-in",
    "/ohif/app-config.js",
)

UIDS = tuple(zip(("studyUID", "seriesUID", "objectUID"), RESOURCES["hidden study"], strict=True))


_NAMED_AT_RANDOM = re.compile(rb'"request_id":"[0-9a-f]+"|--[0-9a-f]{32}')


def headers_of(answer: httpx.Response) -> dict[str, str]:
    kept = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return kept | {"content-type": kept.get("content-type", "").partition("boundary=")[0]}


async def seen_of(archive: Archive, *, with_queries: bool) -> dict[str, tuple[int, dict[str, str], bytes]]:
    """Ask for everything as a reader, one after the other, and keep what was answered."""
    description = (await archive.client.get("/openapi.json")).json()
    paths = dict.fromkeys(requests_of(description, with_queries=with_queries))
    uri = "/wado?requestType=WADO&" + urlencode(UIDS)
    asked = [(path, "*/*") for path in (*paths, uri)] + [(page, "text/html") for page in PAGES]
    return {f"{path} as {accept}": await answer_of(archive, path, accept) for path, accept in asked}


async def answer_of(archive: Archive, path: str, accept: str) -> tuple[int, dict[str, str], bytes]:
    answer = await archive.client.get(path, headers={"accept": accept})
    return answer.status_code, headers_of(answer), _NAMED_AT_RANDOM.sub(b"", answer.content)


@pytest.mark.parametrize("archive", ["open", "restricted"], indirect=True)
async def test_a_reader_sees_no_trace_of_what_waits(archive: Archive, request: pytest.FixtureRequest) -> None:
    # Searches are the same in both, but for one more predicate.
    with_queries = "open" in request.node.name
    before = await seen_of(archive, with_queries=with_queries)
    assert sum(status == 200 for status, _, _ in before.values()) > 30
    await fill(archive)
    after = await seen_of(archive, with_queries=with_queries)
    assert [asked for asked in before if after[asked] != before[asked]] == []
    assert all(SECRET.encode() not in body for _, _, body in after.values())
    # What is told of what has been looked through and counted.
    await look_after(archive)
    for asked in (asked for asked in before if "/tags" in asked or "/facets" in asked):
        path, _, accept = asked.partition(" as ")
        assert await answer_of(archive, path, accept) == before[asked], asked
