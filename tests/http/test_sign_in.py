"""Signing in with a browser: the cookie does what the key does, for our own pages alone."""

import asyncio
import io
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping

import httpx
import pytest
from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.http.archive import BOUNDARY, ROOT, Archive, related
from tests.http.conftest import StartArchive

from dicomweb_archive.observability import configure_logging
from dicomweb_archive.web.authentication import sign_in_redirect
from dicomweb_archive.web.routers import sign_in as router
from dicomweb_archive.web.routers.sign_in import local_path
from dicomweb_archive.web.routing import PageRoute

KEY = "a long random key with an ümlaut"
STUDY = f"/studies/{UID}.1"
BEARER = {"authorization": f"Bearer {KEY}".encode()}
OWN_PAGE = {"sec-fetch-site": "same-origin"}
ELSEWHERE: list[dict[str, str]] = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"sec-fetch-site": "cross-site", "origin": "http://archive.example"},
    {"origin": "http://evil.example"},
    {"origin": "https://archive.example"},
    {"origin": "http://archive.example:8080"},
    {"origin": "http://archive.example.evil.example"},
    {"origin": "null"},
    {},
]
NO_PATHS_OF_OURS = [
    "",
    "status",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/ /evil.example",
    " //evil.example",
    "https://evil.example/",
    "http:evil.example",
    "javascript:alert(1)",
    "/pa\\th",
    "/ü",
    "/" + "x" * 3000,
]


@pytest.fixture
async def locked(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive that gives nothing to a client without its key, with a study in it."""
    async with start_archive(api_key=KEY, anonymous_read=False) as archive:
        await archive.client.post(
            f"{ROOT}/studies",
            content=related(ct_series(2)),
            headers={**BEARER, "content-type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'},
        )
        yield archive


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    configure_logging("debug", "json", written)
    # The client of the tests logs the URLs that it asks for.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("httpx", "pydicom", "PIL"):
        logging.getLogger(name).setLevel(logging.NOTSET)


async def sign_in(archive: Archive, key: str = KEY, **fields: str) -> httpx.Response:
    return await archive.client.post("/sign-in", data={"key": key, **fields}, headers=OWN_PAGE)


def cookie_of(answer: httpx.Response) -> tuple[str, str, set[str]]:
    """Name, value and attributes of the one cookie of an answer."""
    (line,) = answer.headers.get_list("set-cookie")
    pair, *attributes = line.split("; ")
    name, _, value = pair.partition("=")
    return name, value, {attribute.lower() for attribute in attributes}


async def test_the_cookie_reads_stores_and_deletes_as_the_key_does(locked: Archive) -> None:
    assert (await locked.get("/studies")).status_code == 401
    answer = await sign_in(locked)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert [each["0020000D"]["Value"][0] for each in (await locked.get("/studies")).json()] == [f"{UID}.1"]
    assert (await locked.get(f"{STUDY}/metadata")).status_code == 200
    assert (await locked.store(*ct_series(1, study=2), headers=OWN_PAGE)).status_code == 200
    assert (await locked.client.delete(f"{ROOT}/studies/{UID}.2", headers=OWN_PAGE)).status_code == 204


async def test_the_cookie_is_kept_from_scripts_and_other_sites(locked: Archive) -> None:
    name, _, attributes = cookie_of(await sign_in(locked))
    assert name == "dicomweb-archive-session"
    assert attributes == {"httponly", "max-age=43200", "path=/", "samesite=strict"}


async def test_the_cookie_lasts_as_long_as_the_setting_says(start_archive: StartArchive) -> None:
    async with start_archive(api_key=KEY, session_hours=0.5) as archive:
        _, value, attributes = cookie_of(await sign_in(archive))
        assert "max-age=1800" in attributes
        assert 1790 < int(value.partition(".")[0]) - time.time() <= 1800


@pytest.mark.parametrize(
    ("settings", "name", "expected"),
    [
        ({"public_url": "https://archive.example"}, "__Host-dicomweb-archive-session", {"secure", "path=/"}),
        (
            {"public_url": "https://archive.example", "root_path": "/pacs"},
            "__Secure-dicomweb-archive-session",
            {"secure", "path=/pacs"},
        ),
        ({"public_url": None, "root_path": "/pacs"}, "dicomweb-archive-session", {"path=/pacs"}),
    ],
    ids=["https", "https below a prefix", "http below a prefix"],
)
async def test_with_https_the_cookie_is_bound_to_it(
    start_archive: StartArchive, settings: Mapping[str, str | None], name: str, expected: set[str]
) -> None:
    async with start_archive(api_key=KEY, anonymous_read=False, **settings) as archive:
        answer = await sign_in(archive)
        found, value, attributes = cookie_of(answer)
        assert found == name
        assert attributes == {"httponly", "max-age=43200", "samesite=strict"} | expected
        assert answer.headers["location"] == f"{settings.get('root_path', '')}/"
        read = await archive.get("/studies", headers={"cookie": f"{name}={value}"})
        assert read.status_code == 200


async def test_one_archive_does_not_know_the_sessions_of_another_key(start_archive: StartArchive) -> None:
    async with start_archive(api_key="another key") as other:
        await sign_in(other, "another key")
        ((name, value),) = other.client.cookies.items()
    async with start_archive(api_key=KEY, anonymous_read=False) as archive:
        forged = ["", "x", value, f"{int(time.time()) + 99}.static.{'0' * 64}.{'0' * 64}", f"{value}{value}", "é"]
        for cookie in forged:
            answer = await archive.get("/studies", headers={"cookie": f"{name}={cookie}".encode()})
            assert answer.status_code == 401


async def test_a_session_that_has_ended_leaves_an_anonymous_caller(start_archive: StartArchive) -> None:
    async with start_archive(api_key=KEY) as archive:
        sessions = archive.app.state.services.sessions
        holder = await archive.app.state.services.keys.identify(KEY.encode())
        ended = {
            "cookie": f"dicomweb-archive-session={sessions.begin(holder.key_id, holder.share, time.time() - 13 * 3600)}"
        }
        assert (await archive.get("/studies", headers=ended)).status_code == 200
        assert (await archive.store(*ct_series(1), headers={**ended, **OWN_PAGE})).status_code == 401


async def test_a_page_elsewhere_changes_nothing_in_the_name_of_who_is_signed_in(locked: Archive) -> None:
    await sign_in(locked)
    for headers in ELSEWHERE:
        stored = await locked.store(*ct_series(1, study=2), headers=headers)
        deleted = await locked.client.delete(f"{ROOT}{STUDY}", headers=headers)
        for answer in (stored, deleted):
            assert answer.status_code == 403, headers
            assert "own pages" in answer.json()["detail"]
    assert len((await locked.get("/studies")).json()) == 1


async def test_our_own_pages_may_change_what_is_stored(locked: Archive) -> None:
    await sign_in(locked)
    for headers in (OWN_PAGE, {"origin": "http://archive.example"}):
        assert (await locked.store(*ct_series(1, study=2), headers=headers)).status_code == 200


async def test_our_own_origin_is_the_address_that_the_browser_has_used(start_archive: StartArchive) -> None:
    async with start_archive(api_key=KEY, public_url=None) as archive:
        await sign_in(archive)
        ((name, value),) = archive.client.cookies.items()
        for host, origin, status in (
            ("localhost:8080", "http://localhost:8080", 200),
            ("LOCALHOST:80", "http://localhost", 200),
            ("localhost:8080", "http://localhost:8081", 403),
            ("evil.example/", "http://evil.example", 403),
        ):
            headers = {"host": host, "origin": origin, "cookie": f"{name}={value}"}
            assert (await archive.store(*ct_series(1), headers=headers)).status_code == status


async def test_the_key_in_the_header_goes_before_the_cookie(locked: Archive) -> None:
    await sign_in(locked)
    cross_site = {"sec-fetch-site": "cross-site"}
    stored = await locked.store(*ct_series(1, study=2), headers={**BEARER, **cross_site})
    assert stored.status_code == 200
    wrong = await locked.get("/studies", headers={"authorization": "Bearer wrong"})
    assert wrong.status_code == 401


async def test_a_wrong_key_is_refused_after_a_while(locked: Archive) -> None:
    begun = time.monotonic()
    answer = await sign_in(locked, "wrong", next="/status")
    assert time.monotonic() - begun > 0.4
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "set-cookie" not in answer.headers
    assert 'role="alert"' in answer.text
    assert 'name="next" value="/status"' in answer.text
    assert "wrong" not in answer.text.replace("went wrong", "")


async def test_no_other_text_is_the_key(locked: Archive) -> None:
    others = ["", "\0", KEY.upper(), KEY + "x", "ü" * 500, "%FF"]
    answers = await asyncio.gather(*(sign_in(locked, key) for key in others))
    assert {answer.status_code for answer in answers} == {401}


async def test_white_space_around_a_pasted_key_does_not_matter(locked: Archive) -> None:
    assert (await sign_in(locked, f" {KEY}\n")).status_code == 303


async def test_who_tries_keys_in_numbers_is_turned_away_and_who_knows_it_is_not(
    locked: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patient:
        # The first guess must still wait when the last one comes, however slowly this machine takes them in.
        patient.setattr(router, "_wrong_keys", router._WrongKeys(seconds=3, at_once=20))
        guesses = asyncio.gather(*(sign_in(locked, f"guess {number}") for number in range(30)))
        await asyncio.sleep(0.1)
        assert (await sign_in(locked)).status_code == 303
        statuses = [answer.status_code for answer in await guesses]
    assert sorted(set(statuses)) == [401, 429]
    assert statuses.count(401) == 20
    assert (await sign_in(locked, "wrong")).status_code == 401


@pytest.mark.parametrize("text", NO_PATHS_OF_OURS)
def test_no_other_text_is_a_path_of_ours(text: str) -> None:
    assert local_path(text) == "/"


async def test_signing_in_leads_to_no_other_place(locked: Archive) -> None:
    for text in NO_PATHS_OF_OURS:
        answer = await sign_in(locked, next=text)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        page = await locked.client.get("/sign-in", params={"next": text}, headers={"sec-fetch-site": "cross-site"})
        assert "evil" not in page.text
        assert page.headers.get("refresh", "0;url=/") == "0;url=/"


async def test_signing_in_leads_back_to_a_page_of_ours(locked: Archive) -> None:
    for path in ("/", "/status", "/ohif/viewer?StudyInstanceUIDs=1.2.3&a=%2F%2Fevil", "/?patient=a+b#top"):
        answer = await sign_in(locked, next=path)
        assert (answer.status_code, answer.headers["location"]) == (303, path)


def test_below_a_prefix_only_pages_below_it_are_ours() -> None:
    assert local_path("/pacs/status", "/pacs") == "/pacs/status"
    for other in ("/status", "/pacsx", "/pacs", "//pacs/", "/other/pacs/"):
        assert local_path(other, "/pacs") == "/pacs/"


async def test_the_form_can_be_used_without_a_mouse_and_without_a_screen(locked: Archive) -> None:
    page = await locked.client.get("/sign-in", params={"next": '/status?"><script>'})
    assert page.status_code == 200
    assert page.headers["cache-control"] == "no-store"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert '<label for="key">' in page.text
    assert re.search(r'<input id="key" name="key" type="password" required autofocus', page.text)
    assert "<script>" not in page.text
    assert 'value="/status?&#34;&gt;&lt;script&gt;"' in page.text


async def test_who_follows_a_link_from_elsewhere_need_not_sign_in_again(locked: Archive) -> None:
    page = await locked.client.get("/sign-in?next=/status", headers={"sec-fetch-site": "cross-site"})
    assert page.headers["refresh"] == "0;url=/status"
    assert "Signed in already?" not in page.text
    for own in (OWN_PAGE, {"sec-fetch-site": "none"}):
        page = await locked.client.get("/sign-in?next=/status", headers=own)
        assert "refresh" not in page.headers
        assert "Signed in already?" not in page.text


async def test_where_the_browser_does_not_say_where_from_a_link_leads_on(locked: Archive) -> None:
    page = await locked.client.get("/sign-in?next=/status")
    assert "refresh" not in page.headers
    assert 'Signed in already? <a href="/status">' in page.text
    assert "Signed in already?" not in (await locked.client.get("/sign-in")).text


async def test_who_is_signed_in_can_sign_out(locked: Archive) -> None:
    await sign_in(locked)
    assert "You are signed in" in (await locked.client.get("/sign-in")).text
    answer = await locked.client.post("/sign-out", headers={"origin": "http://archive.example"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    _, value, attributes = cookie_of(answer)
    assert value in ("", '""')
    assert {"max-age=0", "path=/", "httponly", "samesite=strict"} <= attributes
    assert (await locked.get("/studies")).status_code == 401


async def test_nobody_is_signed_out_by_a_page_elsewhere(locked: Archive) -> None:
    await sign_in(locked)
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "null"}, {}):
        answer = await locked.client.post("/sign-out", headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    assert (await locked.get("/studies")).status_code == 200


async def test_without_a_key_there_is_nothing_to_sign_in_to(archive: Archive) -> None:
    for answer in (await archive.client.get("/sign-in"), await sign_in(archive, "anything")):
        assert answer.status_code == 200
        assert "No key is needed" in answer.text
        assert "set-cookie" not in answer.headers
    forged = {"cookie": f"dicomweb-archive-session={int(time.time()) + 99}.static.{'0' * 64}.{'0' * 64}"}
    assert (await archive.store(*ct_series(1), headers=forged)).status_code == 200


async def test_the_form_is_bounded(locked: Archive) -> None:
    too_large = await sign_in(locked, "x" * 9000)
    too_many = await locked.client.post("/sign-in", data={str(number): "x" for number in range(20)})
    no_form = await locked.client.post("/sign-in", json={"key": KEY})
    assert [answer.status_code for answer in (too_large, too_many, no_form)] == [413, 400, 415]


async def test_no_key_is_written_down(locked: Archive, log: io.StringIO) -> None:
    await sign_in(locked)
    ((_, cookie),) = locked.client.cookies.items()
    await locked.get("/studies")
    await sign_in(locked, "almost-the-key")
    await sign_in(locked, "x" * 9000)
    await locked.client.post("/sign-in?key=in-the-query", data={"key": KEY})
    lines = log.getvalue()
    assert '"a browser was signed in"' in lines
    assert '"a browser was not signed in: wrong key"' in lines
    for secret in (KEY, "ümlaut", "almost-the-key", "in-the-query", cookie, "xxxx"):
        assert secret not in lines


async def test_a_page_sends_who_must_sign_in_there_and_back(locked: Archive) -> None:
    async def page(request: object) -> object:
        return sign_in_redirect(request)  # type: ignore[arg-type]

    locked.app.router.routes.insert(0, PageRoute("/page/{name}", page))  # type: ignore[arg-type]
    answer = await locked.client.get("/page/a%20b?patient=a+b&next=//evil.example")
    assert answer.status_code == 303
    form = await locked.client.get(answer.headers["location"])
    back = "/page/a%20b?patient=a+b&next=//evil.example"
    assert f'value="{back.replace("&", "&amp;")}"' in form.text
    assert (await sign_in(locked, next=back)).headers["location"] == back
