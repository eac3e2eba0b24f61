"""Reads of what is gone or damaged: a clear error or a visibly cut answer, never a short one that looks whole."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from tests.factories import ROOT as UID
from tests.factories import encapsulated, image, part10
from tests.http.archive import ROOT, Archive

STUDY = f"/studies/{UID}.1"
SERIES = f"{STUDY}/series/{UID}.1.1"
LAST = f"{SERIES}/instances/{UID}.1.1.4"
FILE = "application/dicom; transfer-syntax=*"
FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
ADDRESS = f"requestType=WADO&studyUID={UID}.1&seriesUID={UID}.1.1&objectUID={UID}.1.1.4"

READS: dict[str, tuple[str, str, str]] = {
    "study": ("GET", ROOT + STUDY, FILES),
    "study, converted": ("GET", ROOT + STUDY, 'multipart/related; type="application/dicom"'),
    "series": ("GET", ROOT + SERIES, FILES),
    "instance": ("GET", ROOT + LAST, FILE),
    "instance, converted": ("GET", ROOT + LAST, "application/dicom"),
    "instance as a part": ("GET", ROOT + LAST, FILES),
    "archive of a study": ("GET", ROOT + STUDY, "application/zip"),
    "archive of a series": ("GET", ROOT + SERIES, "application/zip"),
    "archive of an instance": ("GET", ROOT + LAST, "application/zip"),
    "archive of a list": ("POST", f"{ROOT}/series/zip", "*/*"),
    "frame": ("GET", f"{ROOT}{LAST}/frames/1", "application/octet-stream"),
    "frame as a part": ("GET", f"{ROOT}{LAST}/frames/1", "*/*"),
    "value": ("GET", f"{ROOT}{LAST}/bulkdata/7FE00010", "application/octet-stream"),
    "bulkdata of an instance": ("GET", f"{ROOT}{LAST}/bulkdata", "*/*"),
    "bulkdata of a series": ("GET", f"{ROOT}{SERIES}/bulkdata", "*/*"),
    "pixel data of a study": ("GET", f"{ROOT}{STUDY}/pixeldata", "*/*"),
    "rendered": ("GET", f"{ROOT}{LAST}/rendered", "*/*"),
    "rendered frame": ("GET", f"{ROOT}{LAST}/frames/1/rendered", "image/png"),
    "thumbnail": ("GET", f"{ROOT}{LAST}/thumbnail", "*/*"),
    "thumbnail of a frame": ("GET", f"{ROOT}{LAST}/frames/1/thumbnail", "*/*"),
    "WADO-URI, file": ("GET", f"/wado?{ADDRESS}&transferSyntax=*", FILE),
    "WADO-URI, picture": ("GET", f"/wado?{ADDRESS}", "*/*"),
}
# What stands for them may lie in the part that is left.
OF_SEVERAL = {
    "thumbnail of a series": ("GET", f"{ROOT}{SERIES}/thumbnail", "*/*"),
    "thumbnail of a study": ("GET", f"{ROOT}{STUDY}/thumbnail", "*/*"),
}


@dataclass
class Answer:
    """What the server would put on the wire."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_complete: bool = False


async def read(archive: Archive, method: str, target: str, accept: str, byte_range: str | None = None) -> Answer:
    """Ask the application itself: clients make an exception of an answer that is cut."""
    answer = Answer()
    path, _, query = target.partition("?")
    body = orjson.dumps([{"StudyInstanceUID": f"{UID}.1", "SeriesInstanceUID": f"{UID}.1.1"}])
    headers = [(b"host", b"archive.example"), (b"accept", accept.encode()), (b"content-type", b"application/json")]
    if byte_range is not None:
        headers.append((b"range", byte_range.encode()))
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": body if method == "POST" else b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += bytes(message.get("body", b""))
            answer.is_complete = not message.get("more_body", False)

    scope = {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "headers": headers,
        "server": None, "client": None,
    }  # fmt: skip
    await archive.app(scope, receive, send)
    return answer


def is_visibly_failed(answer: Answer) -> bool:
    if answer.status >= 500:
        return answer.is_complete and answer.headers["content-type"] == "application/problem+json"
    return answer.status in (200, 206) and not answer.is_complete


@pytest.fixture
async def stored(archive: Archive) -> Archive:
    files = [part10(image(instance=number, rows=64, columns=64)) for number in range(1, 5)]
    assert (await archive.store(*files)).status_code == 200
    return archive


async def test_what_is_gone_is_an_error_at_every_resource_before_its_first_byte(stored: Archive) -> None:
    for path in stored.files():
        path.unlink()
    for name, asked in (READS | OF_SEVERAL).items():
        answer = await read(stored, *asked)
        assert (answer.status, answer.is_complete) == (500, True), name
        assert orjson.loads(answer.body)["type"].endswith(":object-missing"), name
    assert (await stored.get(f"{STUDY}/metadata")).status_code == 200
    assert (await stored.client.get("/health/live")).status_code == 200


async def test_what_is_cut_short_is_never_a_whole_answer(stored: Archive) -> None:
    (path,) = stored.files()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    for name, asked in READS.items():
        assert is_visibly_failed(await read(stored, *asked)), name
    assert is_visibly_failed(await read(stored, *READS["instance"], "bytes=-10"))
    assert (await stored.get(f"{STUDY}/metadata")).status_code == 200
    first = f"{SERIES}/instances/{UID}.1.1.1"
    assert (await stored.get(first, headers={"accept": FILE})).status_code == 200


SEVERAL = {name: asked for name, asked in READS.items() if STUDY in asked[1] and LAST not in asked[1]}
"""What spans several packs, as streams do that meet a gone one in their middle."""


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_one_gone_or_cut_pack_of_several_is_never_a_whole_answer(archive: Archive, number: int) -> None:
    packs = []
    for instance in (1, 2, 4):
        known = set(archive.files())
        assert (await archive.store(part10(image(instance=instance, rows=64, columns=64)))).status_code == 200
        packs += set(archive.files()) - known
    whole = packs[number].read_bytes()
    packs[number].chmod(0o600)
    packs[number].write_bytes(whole[: len(whole) // 2])
    for name, asked in SEVERAL.items():
        assert is_visibly_failed(await read(archive, *asked)), name
    packs[number].unlink()
    for name, asked in SEVERAL.items():
        answer = await read(archive, *asked)
        assert is_visibly_failed(answer), name
        assert answer.status == 500 or name.startswith("rendered"), name
    # The others are there, and what was prepared when they came.
    assert (await archive.get(f"{STUDY}/metadata")).status_code == 200
    sound = f"{SERIES}/instances/{UID}.1.1.{(2, 4, 1)[number]}"
    assert (await archive.get(sound, headers={"accept": FILE})).status_code == 200
    assert (await archive.get(f"{sound}/rendered")).status_code == 200


async def test_a_wrong_offset_table_gives_no_wrong_frame_and_the_file_as_it_came(archive: Archive) -> None:
    frames = [bytes([number]) * 40 for number in range(3)]
    sound = encapsulated(frames, fragments_per_frame=2)
    table = sound.index(b"\xfe\xff\x00\xe0\x0c\x00\x00\x00") + 8
    as_stored = {"accept": 'multipart/related; type="image/jpeg"'}
    assert (await archive.store(sound.replace(f"{UID}.1.1.1".encode(), f"{UID}.1.1.9".encode()))).status_code == 200
    assert (await archive.get(f"{SERIES}/instances/{UID}.1.1.9/frames/1,2,3", headers=as_stored)).status_code == 200
    for number, offset in enumerate((0xFFFFFFFF, 13, 0)):
        damaged = sound[: table + 4] + offset.to_bytes(4, "little") + sound[table + 8 :]
        uid = f"{UID}.1.1.1"
        data = damaged.replace(uid.encode(), f"{uid[:-1]}{5 + number}".encode())
        assert (await archive.store(data)).status_code in (200, 202)
        path = f"{SERIES}/instances/{uid[:-1]}{5 + number}"
        for resource in ("/frames/2", "/frames/1,2,3", "/rendered", "/frames/2/rendered", "/thumbnail"):
            answer = await archive.get(path + resource, headers={"accept": "*/*"})
            assert 400 <= answer.status_code < 500, (offset, resource)
        assert (await archive.get(f"{path}/frames/2", headers=as_stored)).status_code == 406, offset
        assert (await archive.get(path, headers={"accept": FILE})).content == data
