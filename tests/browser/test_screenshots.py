"""The pictures of the documentation: the demo's phantom, from the home page into the viewer, as a newcomer sees it.

Taken by `make screenshots` alone; what they show is held by the other tests of this room.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from tests.browser.conftest import type_command
from tests.browser.study_list import StudyList
from tests.browser.viewer import Viewer
from tests.needs import need_program, need_viewer
from tests.running_server import RunningServer, start_server

pytestmark = [pytest.mark.screenshots, pytest.mark.slow]

LARGEST_BYTES = 200_000
# Pages of few hues: with a palette they are a third as large and look the same.
COLOURS = 96

Shoot = Callable[[str], None]


@pytest.fixture
def demo_archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """An archive that holds the demo and nothing else."""
    need_viewer()
    need_program("chromium")
    with start_server(tmp_path_factory.mktemp("demo")) as server:
        type_command("demo", "--to", server.root, state=tmp_path_factory.mktemp("state"))
        yield server


@pytest.fixture
def shoot(page: Page, request: pytest.FixtureRequest) -> Shoot:
    """Take a picture of what the page shows, by the name that the documentation has for it."""
    folder: Path = request.config.getoption("--screenshots")
    folder.mkdir(parents=True, exist_ok=True)

    def take(name: str) -> None:
        page.wait_for_load_state("networkidle")
        page.mouse.move(640, 799)
        image = Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide"))).convert("RGB")
        path = folder / f"{name}.png"
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        assert path.stat().st_size <= LARGEST_BYTES, f"{path.name} is too large for a page"

    return take


def test_pictures_for_the_documentation(page: Page, demo_archive: RunningServer, shoot: Shoot) -> None:
    page.goto(f"{demo_archive.address}/")
    studies = page.locator("#studies tbody tr")
    expect(studies).to_have_count(2)
    shoot("home")
    studies.filter(has_text="CT").get_by_role("rowheader").get_by_role("link").click()
    expect(page.locator("#series > li")).to_have_count(2)
    shoot("study")
    page.goto(f"{demo_archive.address}/status")
    expect(page.locator("#pages-status")).to_be_visible()
    shoot("status")

    study_list = StudyList(page, demo_archive.address)
    study_list.open()
    study_list.rows.filter(has_text="CT of").click()
    expect(page.get_by_role("button", name="Basic Viewer")).to_be_visible()
    shoot("study-list")
    study_list.open_study("CT of")
    viewer = Viewer(page, demo_archive.address)
    viewer.wait_for_picture()
    viewer.scroll(viewer.shown().slices // 2)
    shoot("ct")
    viewer.lay_out("MPR")
    for plane in ("mpr-axial", "mpr-sagittal", "mpr-coronal"):
        viewer.wait_for_picture(plane)
    # The plane in the middle of a head shows little; a ventricle lies beside it.
    viewer.scroll(22, "mpr-sagittal")
    shoot("mpr")
