"""Bad input by way of metadata and bulk data: refused in little memory, nothing fetched, nothing left behind."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO

import psutil
from pydicom import dcmread
from tests.factories import ROOT as UID
from tests.factories import identified, image
from tests.http.archive import BOUNDARY, Archive, values_of
from tests.http.conftest import StartArchive
from tests.multiparts import JSON, Part, body_of, bulk_part, json_part, metadata_of, related_type

XML = "application/dicom+xml"
FAILED, OTHER = "00081198", "0008119A"
MOST_GROWTH = 200 * 1024 * 1024


@asynccontextmanager
async def canary() -> AsyncIterator[tuple[str, list[object]]]:
    """Listen on loopback; what comes is noted, and nothing ever should."""
    visitors: list[object] = []

    def visited(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.append(writer)
        writer.close()

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/canary", visitors


def good() -> list[Part]:
    models, bulk = metadata_of(image())
    return [json_part(models), *bulk]


def bad_requests() -> dict[str, tuple[str, bytes, int]]:
    """Content-Type, body and status by what is wrong (curation rows of framing, sizes and types)."""
    body = body_of(good())
    inner_type, inner = related_type().replace(BOUNDARY, "inner"), body.replace(BOUNDARY.encode(), b"inner")
    deep = b'[{"00081140":{"vr":"SQ","Value":[{' * 30_000
    bomb = b"[" + b'{"00100020":{"vr":"LO","Value":["x"]}},' * 1_500_000 + b"{}]"
    entities = b"".join(b'<!ENTITY e%d "%b">' % (n + 1, b"&e%d;" % n * 10) for n in range(20))
    return {
        "no boundary": ('multipart/related; type="application/dicom+json"', body, 400),
        "another boundary": (related_type().replace(BOUNDARY, "another"), body, 400),
        "a control character in the boundary": (related_type().replace(BOUNDARY, '"a\tb"'), body, 400),
        "a boundary of 10 kB": (related_type().replace(BOUNDARY, "x" * 10_000), body, 400),
        "no body": (related_type(), b"", 400),
        "closing alone": (related_type(), body_of([]), 400),
        "cut in bulk data": (related_type(), body[:-200], 400),
        "cut in the metadata": (related_type(), body[:300], 400),
        "a part's header of 1 MB": (related_type(), body_of([({"X": "y" * 1_000_000}, b"")]), 400),
        "too many parts": (related_type(), body_of([bulk_part(b"")] * 2000), 413),
        "a content type of 60 kB": (related_type() + "; x=" + "y" * 60_000, body, 400),
        "another type than declared": (related_type(), body_of([({"Content-Type": "text/plain"}, b"Dear")]), 409),
        "a multipart in it": (related_type(), body_of([({"Content-Type": inner_type}, inner)]), 409),
        "a zip archive as metadata": (JSON, b"PK\3\4" + bytes(500), 400),
        "JSON 90,000 deep": (JSON, deep, 400),
        "JSON of 1.5 million instances": (JSON, bomb, 413),
        "too many empty instances": (JSON, b"[" + b"{}," * 2000 + b"{}]", 413),
        "XML entities that expand": (XML, b"<!DOCTYPE N [" + entities + b"]><NativeDicomModel/>", 400),
        "XML 100,000 deep": (XML, b"<NativeDicomModel>" + b"<Item>" * 100_000, 409),
    }


async def test_bad_requests_are_refused_in_little_memory_and_leave_nothing(start_archive: StartArchive) -> None:
    async with start_archive(max_request_parts=1000) as archive:
        await refuse_bad_requests(archive)


async def refuse_bad_requests(archive: Archive) -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    for name, (content_type, body, status) in bad_requests().items():
        answer = await archive.post(body, content_type=content_type)
        assert answer.status_code == status, name
        assert archive.files() == [], name
    squeezed = gzip.compress(b'[{"00104000":{"vr":"LT","Value":["' + b"x" * 60_000_000)
    answer = await archive.post(squeezed, content_type=JSON, headers={"content-encoding": "gzip"})
    assert answer.status_code == 413
    assert process.memory_info().rss - before < MOST_GROWTH
    assert await archive.stored_instances() == 0


async def test_nothing_that_metadata_name_is_ever_fetched(archive: Archive) -> None:
    async with canary() as (url, visitors):
        models, _ = metadata_of(image())
        for uri in (url, "file:///etc/passwd", f"//{url.removeprefix('http://')}"):
            models[0]["7FE00010"]["BulkDataURI"] = uri
            answer = await archive.post(body_of([json_part(models)]), content_type=related_type())
            assert answer.status_code == 409
            (failed,) = values_of(answer.json(), FAILED)
            assert values_of(failed, "00081197") == [0xC005]
        for declared in (
            f'<!DOCTYPE N SYSTEM "{url}"><NativeDicomModel/>',
            f'<!DOCTYPE N [<!ENTITY % a SYSTEM "{url}"> %a;]><NativeDicomModel/>',
            f'<!DOCTYPE N [<!ENTITY a SYSTEM "{url}">]><NativeDicomModel>&a;</NativeDicomModel>',
        ):
            assert (await archive.post(declared.encode(), content_type=XML)).status_code == 400
        included = f'<NativeDicomModel xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{url}"/>'
        answer = await archive.post(f"{included}</NativeDicomModel>".encode(), content_type=XML)
        assert answer.status_code == 409
    assert visitors == []
    assert archive.files() == []


async def test_text_like_a_boundary_in_bulk_data_is_data(archive: Archive) -> None:
    dataset = image(rows=64, columns=64)
    text = f"\r\n--{BOUNDARY}x\r\n--{BOUNDARY}\n\r\n-{BOUNDARY}--".encode()
    dataset.PixelData = text + bytes(64 * 64 * 2 - len(text))
    models, bulk = metadata_of(dataset)
    assert (await archive.post(body_of([json_part(models), *bulk]), content_type=related_type())).status_code == 200
    got = await archive.get(
        f"/studies/{UID}.1/series/{UID}.1.1/instances/{UID}.1.1.1", headers={"accept": "application/dicom"}
    )
    assert dcmread(BytesIO(got.content)).PixelData == dataset.PixelData


async def test_one_uid_twice_in_metadata_is_stored_once_and_other_content_is_told(archive: Archive) -> None:
    first, other = identified().to_json_dict(), identified(PatientID="X").to_json_dict()
    answer = await archive.post(json_part([first, first])[1], content_type=JSON)
    assert answer.status_code == 200
    answer = await archive.post(json_part([first, other])[1], content_type=JSON)
    assert answer.status_code == 202
    (failed,) = values_of(answer.json(), FAILED)
    assert values_of(failed, "00081197") == [0xA902]
    assert await archive.stored_instances() == 1


async def test_hostile_identifiers_in_metadata_are_refused(archive: Archive) -> None:
    for value in ("1.2/../3", "1.2\r\nx: y", "1.2'", "*", "1.2%2f3", "١.٢", "1." + "2" * 199, "", None):
        model = identified().to_json_dict() | {"00080018": {"vr": "UI", "Value": [value]}}
        answer = await archive.post(json_part([model])[1], content_type=JSON)
        assert answer.status_code == 409, value
        (failed,) = values_of(answer.json(), OTHER)
        assert values_of(failed, "00081197")[0] in (0xA900, 0xA904)
    assert archive.files() == []
