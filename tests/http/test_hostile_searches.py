"""Hostile input to searches and reads, as one table: right status, parameter named, nothing repeated, in time."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import orjson
import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import Archive
from tests.nasty import MARK, SQL, STEPS, harmless_texts, refused_texts

SECONDS = 20.0
"""Longest that any one of these may take on a busy machine."""

BAD = (400,)
NO_PLACE = (400, 404)
FINE = (200,)
EITHER = (200, 400)
"""Taken as a text like any other, or refused by name."""

STUDY = f"/studies/{UID}.1"
INSTANCE = f"{STUDY}/series/{UID}.1.1/instances/{UID}.1.1.1"
RESOURCES = ("/studies", "/series", "/instances", f"{STUDY}/series", f"{STUDY}/instances")


@dataclass(frozen=True)
class Hostile:
    """One request, the statuses that are right, what a refusal must name, and whether an answer may say it again."""

    target: str
    statuses: tuple[int, ...]
    named: str = ""
    says_again: bool = False


def numbers() -> Iterator[Hostile]:
    """Row 40: limits and offsets that are none."""
    for name in ("limit", "offset"):
        for text in ("-1", "abc", "1" + "0" * 20, "1e3", "", "0x10", str(2**31), "1.5", "%20", "+1", "%D9%A3", "NaN"):
            yield Hostile(f"/studies?{name}={text}", BAD, name)
        yield Hostile(f"/studies?{name}=1&{name}=2", BAD, name)


KEYS = (
    "PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "ModalitiesInStudy", "00100020", "SeriesDescription",
    "RequestAttributesSequence.RequestedProcedureID",
)  # fmt: skip


def texts() -> Iterator[Hostile]:
    """Rows 39 and 42: texts in keys, names and every other parameter."""
    for number, key in enumerate(KEYS):
        for text in SQL:
            yield Hostile(f"{RESOURCES[number % 5]}?{key}={quote(MARK + text, safe='')}", EITHER)
    for number, text in enumerate(harmless_texts()):
        at = RESOURCES[number % 5]
        yield Hostile(f"{at}?PatientID={text}", EITHER if "%5C" in text else FINE, "PatientID")
        yield Hostile(f"{at}?StudyTime={text}", BAD, "StudyTime")
        yield Hostile(f"{at}?{text}=1", FINE)
        yield Hostile(f"{at}?includefield={text}", EITHER)
        yield Hostile(f"{at}?fuzzymatching={text}", BAD, "fuzzymatching")
        yield Hostile(f"{at}?TimezoneOffsetFromUTC={text}", BAD, "TimezoneOffsetFromUTC")
        yield Hostile(f"{at}?fuzzymatching=true&PatientName={text}", EITHER)
        yield Hostile(f"{at}?accept={text}", (200, 400, 406))
    for text in refused_texts():
        yield Hostile(f"/studies?PatientID={text}", BAD, "PatientID")
        yield Hostile(f"/studies?{text}=1", BAD, "parameter name")
        yield Hostile(f"/studies?includefield={text}", BAD, "includefield")


def volumes() -> Iterator[Hostile]:
    """Rows 39 and 41: too much of everything."""
    yield Hostile("/studies?PatientName=" + "a*" * 200, BAD, "PatientName")
    yield Hostile("/studies?PatientName=" + "?" * 200, EITHER)
    yield Hostile("/studies?PatientName=*" + "a?" * 200 + "*", EITHER)
    yield Hostile("/studies?fuzzymatching=true&PatientName=" + "Doe%20" * 800, EITHER, "PatientName")
    yield Hostile("/studies?" + ".".join(["00400275"] * 200) + "=1", BAD, "path")
    yield Hostile("/studies?includefield=" + ".".join(["00400275"] * 200), BAD, "path")
    yield Hostile("/studies?" + "&".join(["includefield=00081030"] * 2000), (400, 414), "query string")
    yield Hostile("/studies?includefield=" + ",".join(["00081030"] * 1500), BAD, "includefield")
    yield Hostile("/studies?" + "&".join(f"X{number}=1" for number in range(8000)), (400, 414), "query string")
    yield Hostile("/studies?PatientID=" + "x" * 100_000, (400, 414), "")
    yield Hostile("/studies?StudyInstanceUID=" + ",".join(["1.2"] * 3000), BAD, "StudyInstanceUID")
    yield Hostile("/studies?StudyInstanceUID=" + ",".join(f"1.2.{n}" for n in range(3000)), (400, 414), "query string")
    yield Hostile("/studies?SOPInstanceUID=" + "%5C".join(["1"] * 900), FINE)
    yield Hostile("/studies?" + "&".join(f"0009{number:04X}=1" for number in range(0x1001, 0x1080)), EITHER)
    yield Hostile("/studies?00090010=" + MARK + "&00091001=" + MARK, FINE)
    yield Hostile("/studies?00091001=" + MARK, BAD, "00091001")
    yield Hostile("/studies?PixelData=" + MARK, FINE)
    yield Hostile("/studies?" + "&" * 5000, FINE)
    yield Hostile("/studies?" + "=" * 5000, FINE)


def dates() -> Iterator[Hostile]:
    """Row 44: dates that are none."""
    for key in ("StudyDate", "PatientBirthDate"):
        for text in ("20250101-20240101", "yesterday", "-" * 5000, "20240230", "-", "--", "20240101-20240102-20240103",
                     "20240101%20OR%201", "99999999", "2024-01-31", "*2024", "2024*"):  # fmt: skip
            yield Hostile(f"/studies?{key}={text}", BAD, key)
    for text in ("2561", "10-", "-10", "1015-1014", "12:99", "a-b", "999999999999"):
        statuses = FINE if text in ("10-", "-10") else BAD
        yield Hostile(f"/studies?StudyTime={text}", statuses, "00080030" if text == "1015-1014" else "StudyTime")
    for text in ("20241331", "2024+9999", "20240101+1500", "-" * 5000, "0000", "20240101246060"):
        yield Hostile(f"/instances?AcquisitionDateTime={text}", BAD, "AcquisitionDateTime")
    yield Hostile("/studies?StudyDate=20240102-20240101&StudyTime=10-11", BAD, "StudyDate")


def places() -> Iterator[Hostile]:
    """Rows 42 and 43: ways out of the tree, in each place where a UID or a path of bulk data stands."""
    for text in (*STEPS, *refused_texts(), "*", "1.2'", "1." * 40 + "1", "%D9%A1.2", "1.2%0d%0aX-Injected:1", MARK):
        yield Hostile(f"/studies/{text}/series", NO_PLACE)
        yield Hostile(f"{STUDY}/series/{text}/instances", NO_PLACE)
        yield Hostile(f"{STUDY}/series/{UID}.1.1/instances/{text}/metadata", NO_PLACE)
        yield Hostile(f"{INSTANCE}/bulkdata/{text}", NO_PLACE)
        yield Hostile(f"{INSTANCE}/frames/{text}", NO_PLACE)
    for text in ("7FE00010/0", "7fe00010", "7FE00010%2f..", "/7FE00010", "7FE00010//", "FFFFFFFF", "00100010/0/" * 300):
        yield Hostile(f"{INSTANCE}/bulkdata/{text}", NO_PLACE)


def pictures() -> Iterator[Hostile]:
    """Row 45: frames and renderings that cannot be."""
    for text in ("0", "-1", "1" + "0" * 20, "abc", "1,,2", "1,1", "1.0", "1e1", "NaN", "2",
                 ",".join(map(str, range(1, 3001)))):  # fmt: skip
        yield Hostile(f"{INSTANCE}/frames/{text}", NO_PLACE)
        yield Hostile(f"{INSTANCE}/frames/{text}/rendered", NO_PLACE)
    absurd = {
        "viewport": ("0,0", "-1,5", "99999999,99999999", "NaN,1", "1e9,1", "abc", "", "1", "5,5,5,5,5,5,5",
                     "64,64,inf,0,1,1"),
        "window": ("", "NaN,1,linear", "40,NaN,linear", "inf,1,linear", "1e999,1,linear", "40,0,linear", "40,-5,linear",
                   "40,400,cubic", "40"),
        "quality": ("0", "101", "-1", "NaN", "1e2", "abc", "", "1" + "0" * 20),
    }  # fmt: skip
    for name, values in absurd.items():
        for text in values:
            yield Hostile(f"{INSTANCE}/rendered?{name}={text}", BAD, name)


def extensions() -> Iterator[Hostile]:
    """What the archive adds to the standard: order, tokens, counts, tables, lists of attributes, filters."""
    for text in (*harmless_texts(), *refused_texts()):
        yield Hostile(f"/studies?orderby={text}", BAD, "orderby")
        yield Hostile(f"/studies?count={text}", BAD, "count")
        yield Hostile(f"/series?page_token={text}", BAD, "page_token")
        yield Hostile(f"/tags?prefix={text}&q={text}", EITHER, "prefix")
        yield Hostile(f"/studies?filter={text}", BAD, "filter")
        yield Hostile(f"/studies?filter=PatientID%20=%20%27{text.replace('%27', '%27%27')}%27", EITHER, "filter")
        yield Hostile(f"/studies?filter={text}&filter-lang=cql2-json", BAD, "filter")
        # Its Link to the next page says what was asked, in a header.
        yield Hostile(f"/instances?limit=1&offset=0&SeriesDescription=*&{text}=1", EITHER, says_again=True)
    for text in ("a", "A" * 50_000, "eyJhIjoxfQ==", "..", "0", "-1", "null"):
        yield Hostile(f"/instances?page_token={text}", (400, 414), "" if len(text) > 999 else "page_token")
    for text in (",", "-", "--PatientID", "PatientID,PatientID", ",".join(["PatientID"] * 900), "PixelData", "all",
                 ".".join(["00400275"] * 200)):  # fmt: skip
        yield Hostile(f"/studies?orderby={text}", BAD)
    for name in ("limit", "offset"):
        for text in ("-1", "1" + "0" * 20, "0x10", "NaN"):
            yield Hostile(f"/tags?{name}={text}", BAD, name)
    for text in ("(" * 5000, "NOT%20" * 5000 + "a=1", "(" * 4000 + "a=1" + ")" * 4000,
                 "PatientID%20LIKE%20%27" + "%25" * 2000 + "%27",
                 "PatientID%20IN%20(" + ",".join(["%27a%27"] * 3500) + ")", "a=" + "9" * 9000, "1=1",
                 "PatientID=PatientName", "%20OR%20".join(["Rows=1"] * 900), "casei(" * 999, "DATE(%27x%27)=StudyDate",
                 "%27" * 4001, "[" * 9000, "x" * 90_000):  # fmt: skip
        yield Hostile(f"/studies?filter={text}", (400, 414))
        yield Hostile(f"/studies?filter={text}&filter-lang=cql2-json", (400, 414))
    yield Hostile(f"/studies?filter-lang={MARK}&filter=Rows=1", BAD, "filter-lang")
    yield Hostile("/studies?accept=text/csv&includefield=" + ",".join(["00081030"] * 1500), BAD, "includefield")


FAMILIES = (numbers, texts, volumes, dates, places, pictures, extensions)


@pytest.fixture
async def filled(archive: Archive) -> AsyncIterator[Archive]:
    """An archive with one series, which has to be as well afterwards as it was before."""
    await archive.store(*ct_series(2))
    yield archive
    assert (await archive.client.get("/health/ready")).status_code == 200
    assert [len((await archive.get(path)).json()) for path in RESOURCES] == [1, 1, 2, 1, 2]


@dataclass
class RawAnswer:
    """An answer as the application has sent it."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    async def take(self, message: MutableMapping[str, Any]) -> None:
        """Take one message of the application."""
        self.status = message.get("status", self.status)
        self.headers += message.get("headers", ())
        self.body += message.get("body", b"")


async def raw_get(archive: Archive, target: str) -> RawAnswer:
    """Get a target as it stands: clients and their URL classes would tidy it up first."""
    path, _, query = ("/dicom-web" + target).partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", b"archive.example")], "client": ("127.0.0.1", 1), "server": ("archive.example", 80),
    }  # fmt: skip
    answer = RawAnswer()

    body = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        # As servers do: once the body has been read, nothing comes until the client goes.
        return body.pop() if body else await asyncio.get_running_loop().create_future()

    await archive.app(scope, receive, answer.take)
    return answer


async def wrong_with(archive: Archive, hostile: Hostile) -> str:
    """Send the request and tell what is wrong with its answer; empty when nothing is."""
    begun = time.monotonic()
    answer = await raw_get(archive, hostile.target)
    fields = b"\n".join(name + b": " + value for name, value in answer.headers)
    if time.monotonic() - begun > SECONDS:
        return "took too long"
    if answer.status not in hostile.statuses:
        return f"answered {answer.status}"
    if re.search(rb"(?im)^(set-cookie|x-injected)|\r", fields):
        return "a header was injected"
    if MARK.encode() in answer.body + fields and not hostile.says_again:
        return "repeats what it was sent"
    if answer.status != 200 and b"content-type: application/problem+json" not in fields:
        return "is no problem document"
    if answer.status == 400 and hostile.named not in orjson.loads(answer.body)["detail"]:
        return f"does not name the parameter but says: {answer.body.decode()}"
    return ""


async def test_hostile_requests_are_answered_in_time_by_name_and_without_repeating_them(filled: Archive) -> None:
    wrong = {}
    for hostile in (hostile for family in FAMILIES for hostile in family()):
        if found := await wrong_with(filled, hostile):
            wrong[hostile.target[:120]] = found
    assert wrong == {}
