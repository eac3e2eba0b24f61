"""Signing in with a real browser: what the archive relies on, browsers do."""

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.browser.viewer import Viewer
from tests.browser.watch import PageWatch
from tests.factories import ROOT as UID
from tests.factories import ct_series
from tests.needs import need_program, need_viewer
from tests.running_server import PATIENCE_SECONDS, RunningServer, start_server

KEY = "a key of the tests"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """An archive that gives nothing without its key, with a CT study in it."""
    need_viewer()
    need_program("chromium")
    settings = {"DICOMWEB_ARCHIVE_API_KEY": KEY, "DICOMWEB_ARCHIVE_ANONYMOUS_READ": "false"}
    # A session must hold with every worker.
    settings["DICOMWEB_ARCHIVE_WORKERS"] = "2"
    with start_server(tmp_path_factory.mktemp("locked"), **settings) as server:
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/dicom"}
        for instance in ct_series(2, rows=64, columns=64):
            stored = httpx.post(f"{server.root}/studies", content=instance, headers=headers, timeout=PATIENCE_SECONDS)
            stored.raise_for_status()
        yield server


@pytest.fixture
def elsewhere(locked: RunningServer) -> Iterator[str]:
    """A page of another site with a link to our home page, and a form that would sign out."""

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = f'<link rel="icon" href="data:,"><a href="{locked.address}/?patient=a">to the archive</a>'
            text += f'<form method="post" action="{locked.address}/sign-out"><button>sign out there</button></form>'
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        # By another name of this machine it is another site.
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


def sign_in(page: Page, key: str = KEY) -> None:
    page.get_by_label("Key").fill(key)
    page.keyboard.press("Enter")


def open_home_page_signed_in(page: Page, locked: RunningServer) -> None:
    page.goto(f"{locked.address}/sign-in")
    sign_in(page)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    # Who leaves a page before its pictures have come breaks their requests off.
    page.wait_for_load_state("networkidle")


def test_who_signs_in_gets_the_page_that_was_asked_for_and_the_images(page: Page, locked: RunningServer) -> None:
    page.goto(f"{locked.address}/?patient=nobody")
    expect(page).to_have_url(re.compile("/sign-in"))
    sign_in(page)
    expect(page).to_have_url(f"{locked.address}/?patient=nobody")
    Viewer(page, locked.address).open(f"{UID}.1")


def test_a_wrong_key_is_said_to_be_wrong(page: Page, watch: PageWatch, locked: RunningServer) -> None:
    watch.allow(r"401.*/sign-in|status of 401", "the key is wrong, and the answer says so")
    page.goto(f"{locked.address}/sign-in")
    sign_in(page, "wrong")
    expect(page.get_by_role("alert")).to_contain_text("This key is not known")
    expect(page.get_by_label("Key")).to_be_focused()


def test_who_signs_out_is_signed_out(page: Page, locked: RunningServer) -> None:
    open_home_page_signed_in(page, locked)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Key")).to_be_visible()
    assert page.context.cookies() == []


def test_a_link_from_elsewhere_opens_for_who_is_signed_in(page: Page, locked: RunningServer, elsewhere: str) -> None:
    open_home_page_signed_in(page, locked)
    page.goto(elsewhere)
    page.get_by_role("link").click()
    expect(page).to_have_url(f"{locked.address}/?patient=a")


def test_a_page_elsewhere_cannot_sign_out(page: Page, watch: PageWatch, locked: RunningServer, elsewhere: str) -> None:
    watch.allow(r"403.*/sign-out|status of 403", "the other page is refused")
    open_home_page_signed_in(page, locked)
    page.goto(elsewhere)
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Not allowed")
    page.goto(f"{locked.address}/sign-in")
    expect(page.get_by_role("heading", name="You are signed in")).to_be_visible()
