"""The archive behind the shipped nginx and Caddy examples: streamed both ways, HTTP/2, a prefix, silent logs."""

import gzip
import hashlib
import json
import os
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from tests.factories import identified, part10, pixels
from tests.interop.proxies import (
    HOST,
    PUBLIC_URL,
    Certificate,
    Proxy,
    make_certificate,
    nginx_site,
    put_in,
    start_proxy,
    write_nginx,
)
from tests.needs import need_program, need_viewer
from tests.running_server import PATIENCE_SECONDS, RunningServer, start_server

MIB = 1024 * 1024
FRAMES = 420
FRAME_BYTES = 512 * 512 * 2
KEY = "key-of-the-test"
AUTHORIZED = ("--header", f"Authorization: Bearer {KEY}")
RELATED = 'multipart/related; type="application/dicom"; boundary=part'
OCTETS = 'Accept: multipart/related; type="application/octet-stream"; transfer-syntax=*'
PREFIX = "/archive"
BELOW_PREFIX = {
    "nginx": {"location / {": f"location {PREFIX}/ {{", "= /metrics": f"= {PREFIX}/metrics"},
    "caddy": {},
}
MEMORY = {"nginx": 48 * MIB, "caddy": 160 * MIB}
"""What a proxy may take while more than 200 MB go through; both take less than a third of that when they stand idle."""

both_proxies = pytest.mark.parametrize("name", ["nginx", "caddy"])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {"PUBLIC_URL": PUBLIC_URL, "API_KEY": KEY, "WORKERS": "1"}
    environment = {f"DICOMWEB_ARCHIVE_{name}": value for name, value in settings.items()}
    with start_server(tmp_path_factory.mktemp("proxied"), **environment) as server:
        yield server


@pytest.fixture
def proxy(name: str, server: RunningServer, certificate: Certificate, tmp_path: Path) -> Iterator[Proxy]:
    with start_proxy(name, tmp_path, certificate, upstream_of(server)) as proxy:
        yield proxy


def upstream_of(server: RunningServer) -> str:
    return server.root.removeprefix("http://").removesuffix("/dicom-web")


def write_body(path: Path, *files: bytes) -> Path:
    parts = [b"--part\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in files]
    path.write_bytes(b"".join(parts) + b"--part--\r\n")
    return path


def small_image(study: int, **overrides: object) -> bytes:
    data_set = identified(study=study, **overrides)
    data_set.Rows = data_set.Columns = 64
    data_set.BitsAllocated = data_set.BitsStored = 16
    data_set.HighBit, data_set.PixelRepresentation, data_set.SamplesPerPixel = 15, 0, 1
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.PixelData = pixels(64, 64, seed=study)
    return part10(data_set)


def large_image(study: int) -> bytes:
    data_set = identified(study=study)
    data_set.Rows = data_set.Columns = 512
    data_set.BitsAllocated = data_set.BitsStored = 16
    data_set.HighBit, data_set.PixelRepresentation, data_set.SamplesPerPixel = 15, 0, 1
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.NumberOfFrames = FRAMES
    data_set.PixelData = os.urandom(FRAME_BYTES) * FRAMES
    return part10(data_set)


def store(proxy: Proxy, body: Path, *options: str, prefix: str = "") -> None:
    """Store by a request whose length nobody knows beforehand."""
    words = ("--request", "POST", "--header", f"Content-Type: {RELATED}", "--header", "Accept: application/dicom+json")
    answer = proxy.curl(f"{prefix}/dicom-web/studies", *words, *AUTHORIZED, *options, "--upload-file", "-", stdin=body)
    assert answer.status == 200, answer.body[:2000]


def figures_of(server: RunningServer) -> httpx.Response:
    """Ask the archive itself for its metrics, as a monitor inside the network does."""
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.get(server.root.replace("/dicom-web", "/metrics"), headers=headers, timeout=PATIENCE_SECONDS)


def refusals(server: RunningServer) -> float:
    """How many store requests the archive has refused for want of a key."""
    figures = figures_of(server).text
    counted = re.findall(r'^dicomweb_requests_total\{method="POST",.*status="401"\} (.+)$', figures, re.MULTILINE)
    return sum(map(float, counted))


def is_refused_early(server: RunningServer, connection: ssl.SSLSocket, *, seconds: float) -> bool:
    """Begin an upload that the archive refuses by its head, and tell whether that happens before the upload ends."""
    before = refusals(server)
    head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {RELATED}\r\n"
    connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n1000\r\n".encode() + bytes(0x1000) + b"\r\n")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if refusals(server) > before:
            return True
        time.sleep(0.05)
    return False


@both_proxies
def test_the_archive_sees_an_upload_before_it_ends(proxy: Proxy, server: RunningServer) -> None:
    with proxy.connect() as connection:
        assert is_refused_early(server, connection, seconds=PATIENCE_SECONDS)
        if proxy.name == "nginx":
            # Caddy of this age gives its answer when the upload is over, as Go does by default over HTTP/1.1.
            assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_behind_a_proxy_that_buffers_the_archive_would_see_nothing_of_it(
    server: RunningServer, certificate: Certificate, tmp_path: Path
) -> None:
    """The control of the test above: it does tell the two apart."""
    changes = {"proxy_request_buffering off;": "proxy_request_buffering on;"}
    with start_proxy("nginx", tmp_path, certificate, upstream_of(server), changes=changes) as proxy:
        with proxy.connect() as connection:
            assert not is_refused_early(server, connection, seconds=1)


@both_proxies
def test_hundreds_of_megabytes_go_through_both_ways_and_stay_nowhere(proxy: Proxy, tmp_path: Path) -> None:
    """Over HTTP/2, without a length on the way in; nginx finds no folder for temporary files (see `start_proxy`)."""
    study = {"nginx": 201, "caddy": 202}[proxy.name]
    image = large_image(study)
    assert len(image) > 200 * MIB
    store(proxy, write_body(tmp_path / "upload", image), "--http2")
    path = f"/dicom-web/studies/{identified(study=study).StudyInstanceUID}"
    back = proxy.curl(path, "--http2", "--header", 'Accept: multipart/related; type="application/dicom"')
    assert (back.status, back.version) == (200, "2")
    assert hashlib.sha256(whole_part(back.body)).digest() == hashlib.sha256(image).digest()
    assert proxy.largest_memory() < MEMORY[proxy.name]


def whole_part(body: bytes) -> bytes:
    """Return the payload of the only part."""
    boundary = body[: body.index(b"\r\n")]
    return body[body.index(b"\r\n\r\n") + 4 : body.rindex(b"\r\n" + boundary)]


@both_proxies
def test_a_client_that_asks_first_is_told_to_continue(proxy: Proxy, tmp_path: Path) -> None:
    body = write_body(tmp_path / "upload", small_image(211))
    words = ("--http1.1", "--header", "Expect: 100-continue", "--expect100-timeout", "20")
    answer = proxy.curl(
        "/dicom-web/studies",
        *("--request", "POST", "--header", f"Content-Type: {RELATED}", *AUTHORIZED, *words, "--upload-file", "-"),
        stdin=body,
    )
    assert (answer.status, answer.version) == (200, "1.1")
    assert "HTTP/1.1 100 Continue" in answer.trace


@both_proxies
def test_a_viewers_requests_get_the_archives_own_answers(proxy: Proxy, server: RunningServer, tmp_path: Path) -> None:
    study = {"nginx": 221, "caddy": 222}[proxy.name]
    names = identified(study=study)
    store(proxy, write_body(tmp_path / "upload", small_image(study)))
    path = f"/dicom-web/studies/{names.StudyInstanceUID}/series/{names.SeriesInstanceUID}"
    (metadata,) = json.loads(gzip.decompress(compressed(proxy, f"{path}/metadata")))
    uri = metadata["7FE00010"]["BulkDataURI"]
    assert uri.startswith(f"{PUBLIC_URL}/dicom-web/studies/")
    bulk = proxy.curl(uri, "--header", "Accept: application/octet-stream")
    assert (bulk.status, bulk.body) == (200, pixels(64, 64, seed=study))
    frame = proxy.curl(f"{path}/instances/{names.SOPInstanceUID}/frames/1", "--header", OCTETS, "--compressed")
    assert (frame.status, frame.version) == (200, "2")
    # OHIF finds the type only when it is spelt like this, and what is no text was not compressed on the way.
    assert re.match(rb"--[^\r\n]+\r\nContent-Type: application/octet-stream", frame.body)
    assert "content-encoding" not in frame.headers
    assert whole_part(frame.body) == pixels(64, 64, seed=study)
    assert frame.headers["etag"] == etag_of(server_url(server, path, names))


def compressed(proxy: Proxy, path: str) -> bytes:
    answer = proxy.curl(path, "--header", "Accept: application/dicom+json", "--header", "Accept-Encoding: gzip")
    assert answer.status == 200
    assert answer.headers["content-encoding"] == "gzip"
    return answer.body


def etag_of(url: str) -> str:
    """Return the validator that the archive itself gives a frame."""
    name, _, value = OCTETS.partition(": ")
    return httpx.get(url, headers={name: value}, timeout=PATIENCE_SECONDS).headers["etag"]


def server_url(server: RunningServer, path: str, names: object) -> str:
    return f"{server.root.removesuffix('/dicom-web')}{path}/instances/{names.SOPInstanceUID}/frames/1"  # type: ignore[attr-defined]


@both_proxies
def test_plain_http_leads_to_https_and_figures_are_kept_in(proxy: Proxy, server: RunningServer) -> None:
    plain = proxy.curl(f"http://{HOST}/dicom-web/studies?limit=1")
    assert plain.status in (301, 308)
    assert plain.headers["location"] == f"{PUBLIC_URL}/dicom-web/studies?limit=1"
    assert proxy.curl("/metrics").status == 404
    assert proxy.curl("/health/ready").status == 200
    assert figures_of(server).status_code == 200


@both_proxies
def test_names_of_patients_are_in_no_log_of_the_proxy_even_when_the_archive_is_down(
    name: str, certificate: Certificate, tmp_path: Path
) -> None:
    with start_proxy(name, tmp_path, certificate, "127.0.0.1:9") as proxy:
        answer = proxy.curl(
            f"/dicom-web/studies?PatientName={quote('Secret^Patient')}", "--header", "Authorization: word"
        )
        proxy.curl(f"http://{HOST}/dicom-web/studies?PatientName={quote('Secret^Patient')}")
        assert answer.status == 502
        said = proxy.output
    assert "Secret" not in said
    assert "word" not in said


@pytest.fixture(scope="module")
def prefixed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {"PUBLIC_URL": PUBLIC_URL, "API_KEY": KEY, "WORKERS": "1", "ROOT_PATH": PREFIX}
    environment = {f"DICOMWEB_ARCHIVE_{name}": value for name, value in settings.items()}
    with start_server(tmp_path_factory.mktemp("prefixed"), **environment) as server:
        yield server


@pytest.fixture
def prefixed(name: str, prefixed_server: RunningServer, certificate: Certificate, tmp_path: Path) -> Iterator[Proxy]:
    upstream = upstream_of(prefixed_server)
    with start_proxy(name, tmp_path, certificate, upstream, changes=BELOW_PREFIX[name]) as proxy:
        yield proxy


@both_proxies
def test_below_a_prefix_everything_names_the_prefix(prefixed: Proxy, tmp_path: Path) -> None:
    study = {"nginx": 231, "caddy": 232}[prefixed.name]
    names = identified(study=study)
    store(prefixed, write_body(tmp_path / "upload", small_image(study)), prefix=PREFIX)
    path = f"{PREFIX}/dicom-web/studies/{names.StudyInstanceUID}"
    (metadata,) = json.loads(prefixed.curl(f"{path}/metadata").body)
    uri = metadata["7FE00010"]["BulkDataURI"]
    assert uri.startswith(f"{PUBLIC_URL}{PREFIX}/dicom-web/studies/")
    assert prefixed.curl(uri, "--header", "Accept: application/octet-stream").body == pixels(64, 64, seed=study)
    assert prefixed.curl(f"{PREFIX}/metrics").status == 404


@both_proxies
def test_below_a_prefix_the_viewer_finds_its_files_and_the_archive(prefixed: Proxy) -> None:
    need_viewer()
    page = prefixed.curl(f"{PREFIX}/ohif/viewer?StudyInstanceUIDs=1.2", "--compressed")
    assert (page.status, page.version) == (200, "2")
    (script, *_) = re.findall(rb'<script[^>]+src="([^"]+\.js)"', page.body)
    assert script.startswith(f"{PREFIX}/ohif/".encode())
    assert prefixed.curl(script.decode(), "--compressed").status == 200
    configuration = prefixed.curl(f"{PREFIX}/ohif/app-config.js", "--compressed")
    assert f'"wadoRoot": "{PREFIX}/dicom-web"'.encode() in configuration.body


def test_nginx_takes_the_site_as_shipped_and_with_its_limits_switched_on(
    certificate: Certificate, tmp_path: Path
) -> None:
    site = nginx_site(tmp_path, certificate, "127.0.0.1:8000", 8443, 8080)
    limits = {"#limit_conn": "limit_conn"}
    for tried in (site, put_in(site, limits)):
        command = [need_program("nginx"), "-t", "-p", str(tmp_path), "-c", str(write_nginx(tmp_path, tried))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "[warn]" not in done.stderr
