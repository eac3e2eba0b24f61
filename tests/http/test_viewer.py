"""The viewer's page, configuration and files, as a browser asks for them."""

import gzip
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.http.archive import Archive
from tests.http.conftest import StartArchive
from tests.submitted import add_submission
from tests.viewer_builds import FILES, write_tarball

from dicomweb_archive.cli.viewer.installation import install_viewer
from dicomweb_archive.cli.viewer.release import Release
from dicomweb_archive.errors import SetupError
from dicomweb_archive.web.routers.viewer import PIECE_BYTES
from dicomweb_archive.web.viewer.files import HELD_BYTES

SCRIPT = "/ohif/app.bundle.0123456789abcdef.js"
LARGE = "/ohif/large.0123456789abcdef.bin"
KEY = "a key of the tests"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An installed viewer of a few files, one of them large."""
    tarball = tmp_path / "build.tgz"
    large = os.urandom(2 * PIECE_BYTES + 17)
    digest = write_tarball(tarball, {**FILES, "package/dist/large.0123456789abcdef.bin": large})
    install_viewer(tarball, tmp_path / "viewer", Release("@ohif/app", None, digest))
    return tmp_path / "viewer"


@pytest.fixture
async def viewer(start_archive: StartArchive, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an archive with that viewer."""
    async with start_archive(viewer_dir=folder) as archive:
        yield archive.client


def configuration_of(script: str) -> dict[str, Any]:
    found = re.search(r"^window\.config = (\{.*?^\});$", script, re.MULTILINE | re.DOTALL)
    assert found is not None
    configuration: dict[str, Any] = json.loads(found[1])
    return configuration


def source_of(script: str) -> dict[str, Any]:
    (source,) = configuration_of(script)["dataSources"]
    described: dict[str, Any] = source["configuration"]
    return described


# The page


async def test_every_view_of_the_viewer_is_its_page(viewer: httpx.AsyncClient) -> None:
    for path in ("/ohif/", "/ohif/index.html", "/ohif/viewer?StudyInstanceUIDs=1.2", "/ohif/a/b"):
        answer = await viewer.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert 'src="/ohif/app-config.js"' in answer.text


async def test_an_address_without_its_slash_leads_to_the_one_with_it(viewer: httpx.AsyncClient) -> None:
    answer = await viewer.get("/ohif?StudyInstanceUIDs=1.2&x=%20y")
    assert answer.status_code == 308
    assert answer.headers["location"] == "/ohif/?StudyInstanceUIDs=1.2&x=%20y"


async def test_a_file_that_is_missing_is_not_the_page(viewer: httpx.AsyncClient) -> None:
    for path in ("/ohif/nowhere.js", "/ohif/assets/nowhere.png"):
        assert (await viewer.get(path)).status_code == 404


async def test_below_a_prefix_everything_is_named_with_it(start_archive: StartArchive, folder: Path) -> None:
    async with start_archive(viewer_dir=folder, root_path="/archive") as archive:
        page = (await archive.client.get("/archive/ohif/")).text
        assert re.findall(r'(?:src|href)="(/[^/"][^"]*)"', page) == [
            "/archive/ohif/manifest.json",
            "/archive/ohif/app-config.js",
            "/archive/ohif/app.bundle.0123456789abcdef.js",
        ]
        script = (await archive.client.get("/archive/ohif/app-config.js")).text
        assert 'window.PUBLIC_URL = "/archive/ohif/";' in script
        assert configuration_of(script)["routerBasename"] == "/archive/ohif/"
        assert source_of(script)["wadoRoot"] == "/archive/dicom-web"
        assert (await archive.client.get("/archive/ohif")).headers["location"] == "/archive/ohif/"
        assert (await archive.client.get(f"/archive{SCRIPT}")).status_code == 200


# The configuration


async def test_the_configuration_names_this_archive_and_is_never_kept(viewer: httpx.AsyncClient) -> None:
    answer = await viewer.get("/ohif/app-config.js")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    source = source_of(answer.text)
    assert source["qidoRoot"] == source["wadoRoot"] == "/dicom-web"
    assert source["bulkDataURI"] == {"enabled": True, "relativeResolution": "studies"}
    assert source["acceptHeader"] == ["application/octet-stream; transfer-syntax=*"]
    assert (source["thumbnailRendering"], source["thumbnailRequestStrategy"]) == ("thumbnail", "fetch")
    # WADO-URI is not served here, so it is not named.
    assert "wadoUriRoot" not in source


async def test_uploading_is_offered_to_those_who_may(start_archive: StartArchive, folder: Path) -> None:
    async with start_archive(viewer_dir=folder, api_key=KEY) as archive:
        for authorization, offered in (("", False), (f"Bearer {KEY}", True), ("Bearer wrong", False)):
            headers = {"authorization": authorization} if authorization else {}
            answer = await archive.client.get("/ohif/app-config.js", headers=headers)
            assert source_of(answer.text)["dicomUploadEnabled"] is offered, authorization


async def test_an_archive_without_a_key_offers_uploading_to_all(viewer: httpx.AsyncClient) -> None:
    assert source_of((await viewer.get("/ohif/app-config.js")).text)["dicomUploadEnabled"] is True


# Below other roots


@pytest.mark.parametrize("root_path", ["", "/archive"])
async def test_a_submission_has_a_viewer_of_its_own(start_archive: StartArchive, folder: Path, root_path: str) -> None:
    async with start_archive(viewer_dir=folder, api_key=KEY, root_path=root_path) as archive:
        await add_submission(archive, "waiting")
        below, key = f"{root_path}/submissions/waiting", {"authorization": f"Bearer {KEY}"}
        page = await archive.client.get(f"{below}/ohif/viewer?StudyInstanceUIDs=1.2.3", headers=key)
        assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
        assert f'src="{below}/ohif/app-config.js"' in page.text
        # Everything else is the viewer's own, which the browser has already.
        assert f'src="{root_path}{SCRIPT}"' in page.text
        script = (await archive.client.get(f"{below}/ohif/app-config.js", headers=key)).text
        assert configuration_of(script)["routerBasename"] == f"{below}/ohif/"
        assert f'window.PUBLIC_URL = "{root_path}/ohif/";' in script
        source = source_of(script)
        assert source["qidoRoot"] == source["wadoRoot"] == f"{below}/dicom-web"
        assert source["friendlyName"] == "Submission waiting"
        answer = await archive.client.get(f"{below}/ohif", headers=key)
        assert (answer.status_code, answer.headers["location"]) == (308, f"{below}/ohif/")
        own = await archive.client.get(f"{root_path}/ohif/")
        assert page.headers["content-security-policy"] == own.headers["content-security-policy"]
        assert page.headers["cross-origin-embedder-policy"] == "require-corp"


async def test_the_viewer_of_a_submission_leads_to_sign_in_whether_there_is_one_or_not(
    start_archive: StartArchive, folder: Path
) -> None:
    async with start_archive(viewer_dir=folder, api_key=KEY) as archive:
        await add_submission(archive, "waiting")
        for name in ("waiting", "unknown"):
            answer = await archive.client.get(f"/submissions/{name}/ohif/viewer?StudyInstanceUIDs=1.2.3")
            assert answer.status_code == 303
            assert f"next=/submissions/{name}/ohif/viewer%3FStudyInstanceUIDs%3D1.2.3" in answer.headers["location"]
            script = await archive.client.get(f"/submissions/{name}/ohif/app-config.js")
            assert source_of(script.text)["dicomUploadEnabled"] is False
        key = {"authorization": f"Bearer {KEY}"}
        missing = await archive.client.get("/submissions/unknown/ohif/", headers=key)
        assert (missing.status_code, "text/html" in missing.headers["content-type"]) == (404, True)


# Who may see it


async def test_the_page_leads_to_sign_in_where_reading_needs_it_and_the_files_do_not(
    start_archive: StartArchive, folder: Path
) -> None:
    async with start_archive(viewer_dir=folder, api_key=KEY, anonymous_read=False) as archive:
        answer = await archive.client.get("/ohif/viewer?StudyInstanceUIDs=1.2.3")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?next=")
        assert "1.2.3" in answer.headers["location"]
        assert answer.headers["cache-control"] == "no-store"
        assert (await archive.client.get(SCRIPT)).status_code == 200
        assert (await archive.client.get("/ohif/app-config.js")).status_code == 200
        signed_in = await archive.client.post(
            "/sign-in", data={"key": KEY, "next": "/ohif/"}, headers={"sec-fetch-site": "same-origin"}
        )
        assert signed_in.headers["location"] == "/ohif/"
        assert (await archive.client.get("/ohif/")).status_code == 200
        assert (await archive.get("/studies")).status_code == 200


# The files


MEDIA_TYPES = {
    "app.bundle.0123456789abcdef.js": "text/javascript; charset=utf-8",
    "0123456789abcdef.wasm": "application/wasm",
    "app.bundle.css": "text/css; charset=utf-8",
    "manifest.json": "application/manifest+json",
    "assets/icon.png": "image/png",
    "fedcba9876543210.woff2": "font/woff2",
    "LICENSE": "text/plain; charset=utf-8",
    "large.0123456789abcdef.bin": "application/octet-stream",
}


async def test_each_file_has_its_media_type(viewer: httpx.AsyncClient) -> None:
    answers = {name: await viewer.get(f"/ohif/{name}") for name in MEDIA_TYPES}
    assert {name: answer.headers["content-type"] for name, answer in answers.items()} == MEDIA_TYPES


async def test_names_that_change_with_their_content_are_kept_for_ever_and_others_asked_after(
    viewer: httpx.AsyncClient,
) -> None:
    for path in (SCRIPT, "/ohif/0123456789abcdef.wasm", "/ohif/fedcba9876543210.woff2"):
        assert (await viewer.get(path)).headers["cache-control"] == "public, max-age=31536000, immutable"
    for path in ("/ohif/app.bundle.css", "/ohif/manifest.json", "/ohif/LICENSE"):
        assert (await viewer.get(path)).headers["cache-control"] == "no-cache"


ENCODINGS = {
    "gzip, deflate, br": "gzip",
    "*": "gzip",
    "br;q=1, gzip;q=0.1": "gzip",
    "gzip;q=0": None,
    "gzip;q=0, *": None,
    "identity": None,
    "br": None,
}


async def test_compressed_bytes_go_to_those_who_take_them(viewer: httpx.AsyncClient) -> None:
    for path in (SCRIPT, "/ohif/", "/ohif/0123456789abcdef.wasm"):
        plain = (await viewer.get(path, headers={"accept-encoding": "identity"})).content
        for accepted, encoding in ENCODINGS.items():
            request = viewer.build_request("GET", path, headers={"accept-encoding": accepted})
            answer = await viewer.send(request, stream=True)
            sent = b"".join([piece async for piece in answer.aiter_raw()])
            assert answer.headers.get("content-encoding") == encoding, accepted
            assert answer.headers["vary"] == "Accept-Encoding"
            assert len(sent) == int(answer.headers["content-length"])
            assert (gzip.decompress(sent) if encoding else sent) == plain


async def test_a_file_that_is_not_compressed_says_nothing_of_encodings(viewer: httpx.AsyncClient) -> None:
    headers = (await viewer.get("/ohif/assets/icon.png")).headers
    assert "vary" not in headers
    assert "content-encoding" not in headers


async def test_what_a_browser_has_already_is_not_sent_again(viewer: httpx.AsyncClient) -> None:
    for path in (SCRIPT, "/ohif/", LARGE, "/ohif/app.bundle.css"):
        first = await viewer.get(path)
        etag = first.headers["etag"]
        assert not etag.startswith("W/")
        again = await viewer.get(path, headers={"if-none-match": etag})
        assert again.status_code == 304
        assert again.content == b""
        assert "content-length" not in again.headers
        for name in ("etag", "cache-control", "vary"):
            assert again.headers.get(name) == first.headers.get(name)
        assert (await viewer.get(path, headers={"if-none-match": '"another"'})).status_code == 200


async def test_each_encoding_has_a_tag_of_its_own(viewer: httpx.AsyncClient) -> None:
    for path in (SCRIPT, "/ohif/"):
        tags = [
            (await viewer.get(path, headers={"accept-encoding": accepted})).headers["etag"]
            for accepted in ("gzip", "identity")
        ]
        assert tags[0] != tags[1]


async def test_head_says_what_get_would_send(viewer: httpx.AsyncClient) -> None:
    for path in (SCRIPT, "/ohif/", LARGE, "/ohif/app-config.js"):
        head, get = await viewer.head(path), await viewer.get(path)
        assert head.status_code == 200
        for name in ("content-type", "content-length", "etag", "cache-control", "content-encoding"):
            assert head.headers.get(name) == get.headers.get(name)
    assert (await viewer.head(LARGE)).content == b""


async def test_a_large_file_comes_in_pieces_and_whole(viewer: httpx.AsyncClient, folder: Path) -> None:
    wanted = (folder / "large.0123456789abcdef.bin").read_bytes()
    assert len(wanted) > HELD_BYTES
    assert (await viewer.get(LARGE)).content == wanted


async def test_other_methods_are_not_known(viewer: httpx.AsyncClient) -> None:
    answer = await viewer.post("/ohif/")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


async def test_the_viewer_is_no_part_of_the_description_of_the_api(viewer: httpx.AsyncClient) -> None:
    assert "ohif" not in (await viewer.get("/openapi.json")).text


# What is not served


OUTSIDE = (
    "/ohif/../pyproject.toml",
    "/ohif/%2e%2e/secret.txt",
    "/ohif/..%2fsecret.txt",
    "/ohif/assets/..%2f..%2fsecret.txt",
    "/ohif//etc/passwd.txt",
    "/ohif/assets\\icon.png",
    "/ohif/outside.txt",
    "/ohif/folder_outside/secret.txt",
    "/ohif/.installed.json",
    f"{SCRIPT}.gz",
    f"{SCRIPT}%00.txt",
)


async def test_no_name_leads_out_of_the_folder_or_to_what_is_not_meant_for_browsers(
    start_archive: StartArchive, folder: Path
) -> None:
    (folder.parent / "outside").mkdir()
    for secret in (folder.parent / "secret.txt", folder.parent / "outside" / "secret.txt"):
        secret.write_text("secret")
    (folder / "outside.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "folder_outside").symlink_to(folder.parent / "outside", target_is_directory=True)
    async with start_archive(viewer_dir=folder) as archive:
        for path in OUTSIDE:
            answer = await archive.client.get(path)
            assert answer.status_code == 404, path
            assert "secret" not in answer.text


async def test_a_link_within_the_folder_is_followed(start_archive: StartArchive, folder: Path) -> None:
    (folder / "same.png").symlink_to(folder / "assets" / "icon.png")
    async with start_archive(viewer_dir=folder) as archive:
        assert (await archive.client.get("/ohif/same.png")).content == b"\x89PNG"


async def test_a_file_that_was_replaced_while_the_archive_runs_is_not_sent_under_its_old_length(
    viewer: httpx.AsyncClient, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "large.0123456789abcdef.bin").write_bytes(b"x" * (HELD_BYTES + 1))
    assert (await viewer.get(LARGE)).status_code == 404
    assert "start the archive again" in caplog.text
    (folder / "large.0123456789abcdef.bin").unlink()
    assert (await viewer.get(LARGE)).status_code == 404


async def test_a_compressed_copy_older_than_its_file_is_not_used(start_archive: StartArchive, folder: Path) -> None:
    script = folder / SCRIPT.removeprefix("/ohif/")
    script.write_bytes(b"changed by hand")
    packed = script.with_name(script.name + ".gz")
    os.utime(packed, ns=(0, script.stat().st_mtime_ns - 1))
    async with start_archive(viewer_dir=folder) as archive:
        answer = await archive.client.get(SCRIPT)
        assert answer.content == b"changed by hand"
        assert "content-encoding" not in answer.headers


# Which viewer


async def test_without_a_viewer_one_reads_how_to_install_it(start_archive: StartArchive) -> None:
    async with start_archive(viewer_dir="none") as archive:
        for path in ("/ohif/", "/ohif", "/ohif/viewer", "/ohif/app-config.js"):
            answer = await archive.client.get(path)
            assert answer.status_code == 404
            assert "viewer install" in answer.text
        assert (await archive.client.get("/ohif/app.js")).status_code == 404


async def test_a_build_that_was_made_for_its_address_is_served_as_it_is(
    start_archive: StartArchive, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    page = '<html><script src="/ohif/app-config.js"></script><script src="/ohif/app.js"></script></html>'
    (own / "index.html").write_text(page)
    (own / "app.js").write_text("own")
    (own / "app-config.js").write_text("the build's own")
    async with start_archive(viewer_dir=own) as archive:
        assert (await archive.client.get("/ohif/")).text == page
        assert (await archive.client.get("/ohif/app.js")).text == "own"
        assert "window.config" in (await archive.client.get("/ohif/app-config.js")).text


@pytest.mark.parametrize("make", [True, False], ids=["empty folder", "no folder"])
async def test_a_named_folder_without_a_viewer_keeps_the_archive_from_starting(
    start_archive: StartArchive, tmp_path: Path, make: bool
) -> None:
    if make:
        (tmp_path / "own").mkdir()
    with pytest.raises(SetupError, match=r"viewer in .*own"):
        async with start_archive(viewer_dir=tmp_path / "own"):
            pass


async def test_the_viewers_pages_are_isolated(archive: Archive) -> None:
    headers = (await archive.client.get("/ohif/nowhere.js")).headers
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
