"""No patient value reaches a log line, an error or a metric, whatever goes right or wrong."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series, identified, image, part10
from tests.http.archive import ROOT, Archive

from dicomweb_archive.observability import configure_logging

SECRETS = ("Zyxwvut", "PID-4711", "ACC-0815", "19331224", UID)
PERSON = {
    "PatientName": "Zyxwvut^Quentin",
    "PatientID": "PID-4711",
    "AccessionNumber": "ACC-0815",
    "PatientBirthDate": "19331224",
}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    configure_logging("info", "json", written)
    # The client of the tests logs the URLs that it asks for.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("httpx", "pydicom"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_no_value_of_a_data_set_path_or_query_is_written(archive: Archive, log: io.StringIO) -> None:
    study, series = f"/studies/{UID}.1", f"/studies/{UID}.1/series/{UID}.1.1"
    instance = f"{series}/instances/{UID}.1.1.1"
    answers = [
        await archive.store(*ct_series(2, **PERSON)),
        await archive.store(*ct_series(1, **{**PERSON, "StudyDescription": "another"})),
        await archive.store(part10(image(**PERSON))[:-20], part10(identified(SOPInstanceUID="PID-4711", **PERSON))),
        await archive.store(*ct_series(1, study=3, **PERSON), study=f"{UID}.4"),
        await archive.get("/studies?PatientName=Zyxwvut*&PatientID=PID-4711"),
        await archive.get("/studies?StudyDate=Zyxwvut"),
        await archive.get("/studies?PatientBirthDate=19331224&limit=Zyxwvut"),
        await archive.get("/studies/Zyxwvut/series"),
        await archive.get("/Zyxwvut"),
        await archive.get(study),
        await archive.get(f"{series}/metadata"),
        await archive.get(f"{instance}/frames/1"),
        await archive.get(f"{instance}/frames/4711"),
        await archive.get(f"{instance}/bulkdata/Zyxwvut"),
        await archive.get(f"/studies/{UID}.9"),
        await archive.client.delete(f"{ROOT}{study}"),
        await archive.get(study),
        await archive.client.request("TRACE", f"{ROOT}{study}"),
    ]
    metrics = (await archive.client.get("/metrics")).text
    errors = [answer.text for answer in answers if answer.headers.get("content-type") == "application/problem+json"]
    assert len(errors) >= 8
    for secret in SECRETS:
        assert secret not in log.getvalue()
        assert secret not in metrics
        assert not any(secret in error for error in errors)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert len([line for line in lines if line["message"] == "request"]) == len(answers)
    assert all(line["request_id"] for line in lines)


async def test_values_cannot_forge_log_lines(archive: Archive, log: io.StringIO) -> None:
    await archive.get("/studies?PatientID=a%0d%0a%7B%22level%22%3A%22error%22%7D")
    await archive.client.get("/x", headers={"x-request-id": "abc\u0085def-ghi".encode("latin-1")})
    await archive.client.request("GET\u2028X"[:3], "/dicom-web/studies/%0aforged")
    assert "forged" not in log.getvalue()
    for line in log.getvalue().splitlines():
        assert json.loads(line)["level"] == "info"
