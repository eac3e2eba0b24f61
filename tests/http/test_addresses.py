"""Answers name the archive as the client does, and a forged name harms its sender alone."""

import json
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from tests.factories import ROOT as UID_ROOT
from tests.factories import ct_series
from tests.http.archive import ROOT, Archive, parts_of, values_of
from tests.http.conftest import StartArchive

from dicomweb_archive.web.addresses import sound_host

CONFIGURED = "http://127.0.0.1:8123"
STUDY = f"/studies/{UID_ROOT}.1"
SERIES = f"{STUDY}/series/{UID_ROOT}.1.1"
INSTANCE = f"{SERIES}/instances/{UID_ROOT}.1.1.1"

SOUND = [
    "localhost",
    "localhost:8080",
    "archive-1.example.org",
    "archive.example.org.:65535",
    "my_container:8000",
    "192.0.2.7:8000",
    "[::1]",
    "[2001:db8::192.0.2.7]:8042",
    ".".join(["a" * 62] * 4),
]
UNSOUND = [
    "",
    " ",
    "host name",
    'quoted"',
    "host\\",
    "a.example, b.example",
    "user@evil.example",
    "user:secret@evil.example:80",
    "evil.example/path",
    "evil.example?query",
    "evil.example#fragment",
    "evil%2eexample",
    "http://evil.example",
    "evil.example:",
    "evil.example:http",
    "evil.example:65536",
    "evil.example:8000:1",
    "evil..example",
    ".evil.example",
    ":8000",
    "::1",
    "[::1",
    "[]",
    "[::g]",
    "[1.2.3.4]",
    "[fe80::1%25eth0]",
    "[v1.x]",
    "<b>",
    "bücher.example",
    "evil.example\r\nset-cookie: a=b",
    "evil.example\n",
    "a" * 64,
    "a." * 130,
    "a" * 60_000,
]


@pytest.fixture
async def following(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive without a public URL, on an address of its own, that takes any name (see `test_hosts.py`)."""
    async with start_archive(public_url=None, port=8123, allowed_hosts="*") as archive:
        await archive.store(*ct_series(2))
        yield archive


def asked_as(*hosts: str, program: str = "Mozilla/5.0 (any browser)") -> list[tuple[str, str]]:
    return [*(("Host", host) for host in hosts), ("User-Agent", program)]


@pytest.mark.parametrize("host", SOUND)
def test_a_sound_host_is_taken_as_it_is(host: str) -> None:
    assert sound_host([host]) == host
    assert sound_host([host.upper()]) == host


@pytest.mark.parametrize("host", UNSOUND, ids=range(len(UNSOUND)))
def test_another_host_is_not(host: str) -> None:
    assert sound_host([host]) is None


@pytest.mark.parametrize("hosts", [[], ["a.example", "b.example"], ["a.example", "a.example"]])
def test_a_request_has_one_host(hosts: Sequence[str]) -> None:
    assert sound_host(hosts) is None


async def urls_of(archive: Archive, headers: Sequence[tuple[str, str]]) -> list[str]:
    """Collect a URL of every kind that answers hold."""
    client = archive.client
    content_type = ("content-type", "application/dicom")
    stored = await client.post(f"{ROOT}/studies", content=ct_series(1)[0], headers=[*headers, content_type])
    search = await client.get(f"{ROOT}/instances?limit=1&nonsense=1", headers=headers)
    documents = [await archive.get(f"{scope}/metadata", headers=headers) for scope in (STUDY, SERIES, INSTANCE)]
    many = await archive.get(SERIES, headers=headers)
    picture = await archive.get(f"{INSTANCE}/rendered?nonsense=1", headers=headers)
    uids = dict(zip(("studyUID", "seriesUID", "objectUID"), INSTANCE.split("/")[2::2], strict=True))
    named = {"requestType": "WADO", "contentType": "application/dicom", **uids}
    file = await client.get("/wado", params=named, headers=headers)
    pointer = await client.get("/", headers=headers)
    return [
        *(stored.headers[name] for name in ("location", "content-location")),
        *values_of(stored.json(), "00081190"),
        *(values_of(stored.json()["00081199"]["Value"][0], "00081190")),
        *values_of(search.json()[0], "00081190"),
        *(warning.partition(" ")[2] for warning in search.headers.get_list("warning", split_commas=False)),
        *(each["7FE00010"]["BulkDataURI"] for answer in documents for each in answer.json()),
        *(answer.headers["content-location"] for answer in (*documents, many, file)),
        *(head["content-location"] for head, _ in parts_of(many)),
        picture.headers["warning"].partition(" ")[2],
        *(value for name, value in pointer.json().items() if name not in ("name", "version")),
    ]


@pytest.mark.parametrize("host", ["localhost:8080", "[::1]:8000", "images.example.org"])
async def test_urls_begin_with_the_host_that_the_client_has_asked(following: Archive, host: str) -> None:
    urls = await urls_of(following, asked_as(host))
    assert len(urls) > 20
    assert [url for url in urls if not url.startswith(f"http://{host}/")] == []
    answer = await following.get(f"{INSTANCE}/metadata", headers=asked_as(host))
    bulk = await following.client.get(answer.json()[0]["7FE00010"]["BulkDataURI"])
    assert bulk.status_code == 200


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("localhost", "http://localhost:8123"),
        ("[::1]", "http://[::1]:8123"),
        ("localhost:80", "http://localhost:80"),
        ("localhost:8080", "http://localhost:8080"),
    ],
)
async def test_a_program_that_leaves_the_port_out_is_answered_with_the_one_it_has_reached(
    following: Archive, host: str, named: str
) -> None:
    urls = await urls_of(following, asked_as(host, program="python-requests/2.32"))
    assert [url for url in urls if not url.startswith(f"{named}/")] == []


async def test_on_port_80_nothing_is_added(start_archive: StartArchive) -> None:
    async with start_archive(public_url=None, port=80, root_path="/archive") as archive:
        answer = await archive.client.get("/", headers=asked_as("localhost", program="curl/8"))
        assert answer.json()["dicomweb"] == "http://localhost/archive/dicom-web"


async def test_what_is_no_host_is_answered_with_the_configured_address(following: Archive) -> None:
    for hosts in (["evil.example/x"], ["user@evil.example"], ['"><script>'], ["a.example", "b.example"], ["x" * 9000]):
        urls = await urls_of(following, asked_as(*hosts))
        assert [url for url in urls if not url.startswith(f"{CONFIGURED}/")] == []


async def test_forwarding_headers_are_never_read(following: Archive) -> None:
    forged = [
        ("Forwarded", "host=evil.example;proto=https"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-Original-Host", "evil.example"),
    ]
    urls = await urls_of(following, [*asked_as("localhost"), *forged])
    assert [url for url in urls if not url.startswith("http://localhost/")] == []


async def test_a_public_url_is_named_whatever_the_host_header_says(start_archive: StartArchive) -> None:
    async with start_archive(public_url="https://images.example.org") as archive:
        await archive.store(*ct_series(2))
        urls = await urls_of(archive, asked_as("localhost:8000"))
        assert [url for url in urls if not url.startswith("https://images.example.org/")] == []


async def test_the_prefix_of_a_proxy_stays(start_archive: StartArchive) -> None:
    async with start_archive(public_url=None, root_path="/archive") as archive:
        await archive.store(*ct_series(2))
        urls = await urls_of(archive, asked_as("localhost:8080"))
        assert [url for url in urls if not url.startswith("http://localhost:8080/archive/")] == []


async def test_nothing_prepared_for_one_host_is_given_to_another(following: Archive) -> None:
    path = f"{SERIES}/metadata"
    for codings in ("gzip", "identity"):
        tags = set()
        for host in ("localhost:1", "forged.example", "localhost:1", "127.0.0.1:8123"):
            answer = await following.get(path, headers=[*asked_as(host), ("accept-encoding", codings)])
            uris = [each["7FE00010"]["BulkDataURI"] for each in json.loads(answer.content)]
            assert [uri for uri in uris if not uri.startswith(f"http://{host}/")] == []
            assert "private" in answer.headers["cache-control"]
            tags.add(answer.headers["etag"])
        assert len(tags) == 3, "what differs has another tag"


async def test_a_tag_of_one_host_is_not_known_at_another(following: Archive) -> None:
    path = f"{STUDY}/metadata"
    tag = (await following.get(path, headers=asked_as("a.example"))).headers["etag"]
    known = [("if-none-match", tag)]
    assert (await following.get(path, headers=[*asked_as("a.example"), *known])).status_code == 304
    assert (await following.get(path, headers=[*asked_as("b.example"), *known])).status_code == 200


async def test_answers_with_a_strong_tag_hold_no_address(following: Archive) -> None:
    accepts = {INSTANCE: "application/dicom", f"{INSTANCE}/frames/1": "application/octet-stream"}
    for each, accept in accepts.items():
        answers = [
            await following.get(each, headers=[*asked_as(host), ("accept", accept)])
            for host in ("a.example", "b.example")
        ]
        assert not answers[0].headers["etag"].startswith("W/")
        assert len({(answer.content, answer.headers["etag"]) for answer in answers}) == 1


async def test_a_host_cannot_write_headers_of_the_answer(following: Archive) -> None:
    # As a server that does not look at header bytes would hand it on.
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    path = f"{ROOT}{STUDY}/metadata"
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"evil\r\nx-evil: 1")], "server": None, "client": None,
    }  # fmt: skip
    await following.app(scope, receive, send)
    assert sent[0]["status"] == 200
    assert b"evil" not in repr(sent).encode()


async def test_without_a_host_the_configured_address_is_named(following: Archive) -> None:
    request = httpx.Request("GET", "http://ignored.example/")
    del request.headers["host"]
    answer = await following.client.send(request)
    assert answer.json()["dicomweb"] == f"{CONFIGURED}{ROOT}"
