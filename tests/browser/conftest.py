"""A real Chromium looking at a real archive through the viewer it serves.

The archive is shared by a whole run, the browser and its tab by all tests of this room that follow each other.
"""

import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from tests.browser.study_list import StudyList
from tests.browser.viewer import Viewer
from tests.browser.watch import PageWatch
from tests.commands import type_command
from tests.needs import need_program, need_viewer
from tests.running_server import RunningServer, start_server

# On a busy machine with pictures drawn in software the viewer needs its time; nothing waits longer than it must.
_TIMEOUT_MS = 90_000
_TEST_SECONDS = 300
_CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
# Documents without an origin, such as a blank page and the browser's own PDF viewer, have no storage.
_HIDE_TOUR = """try { localStorage.setItem('shownTours', '["basicViewerTour"]') } catch {}"""

# Pages of few hues: with a palette they are a third as large and look the same.
_COLOURS = 96
_LARGEST_BYTES = 200_000

StoreFiles = Callable[[Iterable[bytes]], None]
Shoot = Callable[[str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the pictures of the documentation be taken: `--screenshots FOLDER`."""
    parser.addoption("--screenshots", type=Path, metavar="FOLDER", help="write the documentation's pictures there")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give tests in a browser their time, and leave the taking of pictures out where nobody asked for them."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(_TEST_SECONDS))
    if config.getoption("--screenshots", default=None) is not None:
        return
    left_out = [item for item in items if item.get_closest_marker("screenshots")]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker("screenshots")]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let a failure in a browser say what the page did and waited for: it may not come a second time."""
    report = yield
    watch = getattr(item, "funcargs", {}).get("watch")
    if report.when == "call" and report.failed and isinstance(watch, PageWatch):
        report.sections.append(("the page", watch.account()))
    return report


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One archive for all tests in a browser; each module stores studies of its own."""
    need_viewer()
    need_program("chromium")
    with start_server(tmp_path_factory.mktemp("archive")) as server:
        yield server


@pytest.fixture(scope="session")
def store_files(archive: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> StoreFiles:
    """Store Part 10 files with the command that a user types."""

    def store(files: Iterable[bytes]) -> None:
        folder = tmp_path_factory.mktemp("to_store")
        for number, data in enumerate(files):
            (folder / f"{number:04}.dcm").write_bytes(data)
        typed("store", str(folder), "--to", archive.root, state=tmp_path_factory.mktemp("state"))

    return store


def typed(*words: str, state: Path) -> None:
    """Type a command of the archive, with a state folder of its own."""
    # In a process of its own: the command starts an event loop, and Playwright has one here already.
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    result = type_command(*words, folder=state, environment=environment)
    assert result.returncode == 0, result.stdout + result.stderr


class Chromium:
    """A Chromium without a window and its one tab: opened for the first test that needs them, kept for the next ones.

    In a tab that has shown the viewer before, its scripts are compiled already: it opens in a third of the time.
    """

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._browser: Browser | None = None
        self._tab: Page | None = None

    def browser(self) -> Browser:
        """Return the browser."""
        if self._browser is None:
            chromium = need_program("chromium")
            expect.set_options(timeout=_TIMEOUT_MS)
            playwright = self._opened.enter_context(sync_playwright())
            self._browser = playwright.chromium.launch(executable_path=chromium, args=_CHROMIUM_ARGUMENTS)
            self._opened.callback(self._browser.close)
        return self._browser

    def tab(self) -> Page:
        """Return its tab."""
        if self._tab is None:
            self._tab = self._opened.enter_context(open_context(self.browser())).new_page()
        return self._tab

    def close(self) -> None:
        """Close it, if it is open; the next test that needs it opens another."""
        self._browser = self._tab = None
        self._opened.close()


_CHROMIUM = pytest.StashKey[Chromium]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Close Chromium when the test that follows is none of this room.

    While Playwright is open it keeps an event loop in this thread, and asynchronous tests could not start theirs.
    """
    try:
        yield
    finally:
        if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
            item.config.stash.setdefault(_CHROMIUM, Chromium()).close()


@pytest.fixture(scope="session")
def chromium(pytestconfig: pytest.Config) -> Iterator[Chromium]:
    """The browser of consecutive tests."""
    chromium = pytestconfig.stash.setdefault(_CHROMIUM, Chromium())
    yield chromium
    chromium.close()


@pytest.fixture
def browser(chromium: Chromium) -> Browser:
    """A Chromium without a window."""
    return chromium.browser()


@contextmanager
def open_context(browser: Browser, **options: Any) -> Iterator[BrowserContext]:
    """Open a fresh profile: no cookies, no cache, nothing stored; `options` are Playwright's."""
    fresh = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
    fresh.set_default_timeout(_TIMEOUT_MS)
    fresh.add_init_script(_HIDE_TOUR)
    yield fresh
    fresh.close()


@contextmanager
def watching(context: BrowserContext) -> Iterator[PageWatch]:
    """Watch all pages of a context, open or to come; what they complain about fails the test at the end."""
    watch = PageWatch()
    context.on("page", watch.look_at)
    for page in context.pages:
        watch.look_at(page)
    yield watch
    # A round trip, so that what the browser has still to tell is told.
    context.cookies()
    context.remove_listener("page", watch.look_at)
    watch.look_away()
    complaints = watch.complaints()
    assert not complaints, "the page complained:\n" + "\n".join(complaints)


@pytest.fixture
def tab(chromium: Chromium) -> Page:
    """The one tab of all tests of this room."""
    return chromium.tab()


@pytest.fixture
def watch(tab: Page) -> Iterator[PageWatch]:
    """What happens on the pages of this test; a complaint fails the test at its end."""
    with watching(tab.context) as watch:
        yield watch


@pytest.fixture
def page(tab: Page, watch: PageWatch, archive: RunningServer) -> Iterator[Page]:
    """The tab, watched; afterwards nothing goes on in it, and what the viewer kept for this test is forgotten."""
    yield tab
    # A page of the same isolation: with any other the browser would take a new process, which has compiled nothing.
    tab.goto(f"{archive.address}/ohif/app-config.js")
    tab.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
    tab.context.clear_cookies()


@pytest.fixture
def study_list(page: Page, archive: RunningServer) -> StudyList:
    """The viewer's study list, not opened yet."""
    return StudyList(page, archive.address)


@pytest.fixture
def viewer(page: Page, archive: RunningServer) -> Viewer:
    """The viewer, without a study yet."""
    return Viewer(page, archive.address)


@pytest.fixture
def shoot(page: Page, request: pytest.FixtureRequest) -> Shoot:
    """Take a picture of what the page shows, by its name in the documentation, when pictures are asked for."""
    folder: Path | None = request.config.getoption("--screenshots")

    def take(name: str) -> None:
        if folder is None:
            return
        page.wait_for_load_state("networkidle")
        page.mouse.move(640, 799)
        image = Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide"))).convert("RGB")
        path = folder / f"{name}.png"
        folder.mkdir(parents=True, exist_ok=True)
        image.quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        assert path.stat().st_size <= _LARGEST_BYTES, f"{path.name} is too large for a page"

    return take
