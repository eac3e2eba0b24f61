"""The pictures of the documentation beside those of README's walk, which takes its own.

Taken by `make screenshots` alone; what they show is held by the other tests of this room.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import Shoot, typed
from tests.browser.study_list import StudyList
from tests.browser.viewer import Viewer
from tests.needs import need_program, need_viewer
from tests.running_server import PATIENCE_SECONDS, RunningServer, start_server

pytestmark = [pytest.mark.screenshots, pytest.mark.slow]


@pytest.fixture
def demo_archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """An archive that holds the demo and nothing else."""
    need_viewer()
    need_program("chromium")
    with start_server(tmp_path_factory.mktemp("demo")) as server:
        typed("demo", "--to", server.root, state=tmp_path_factory.mktemp("state"))
        yield server


def test_pictures_for_the_documentation(page: Page, demo_archive: RunningServer, shoot: Shoot) -> None:
    page.goto(f"{demo_archive.address}/")
    studies = page.locator("#studies tbody tr")
    expect(studies).to_have_count(2)
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
    viewer.lay_out("MPR")
    for plane in ("mpr-axial", "mpr-sagittal", "mpr-coronal"):
        viewer.wait_for_picture(plane)
    # The plane in the middle of a head shows little; a ventricle lies beside it.
    viewer.scroll(22, "mpr-sagittal")
    shoot("mpr")


def test_picture_of_a_submission(page: Page, demo_archive: RunningServer, shoot: Shoot, tmp_path: Path) -> None:
    with httpx.Client(base_url=demo_archive.address, timeout=PATIENCE_SECONDS, trust_env=False) as client:
        said = {"title": "Head phantoms of Graz", "site": "Graz", "contact": "Ann"}
        path = f"/submissions/{client.post('/submissions', json=said).raise_for_status().json()['name']}"
        # What is published already would not wait.
        for study in client.get("/dicom-web/studies").json():
            client.delete(f"/dicom-web/studies/{study['0020000D']['Value'][0]}").raise_for_status()
        typed("demo", "--to", f"{demo_archive.address}{path}/dicom-web", state=tmp_path)
        client.post(f"{path}/seal", headers={"if-match": "*"}).raise_for_status()
        page.goto(f"{demo_archive.address}{path}")
        expect(page.locator(".page-head .state")).to_have_text("In review")
        client.post(f"{path}/checks", json={"check_set": "public_release"}).raise_for_status()
        page.goto(f"{demo_archive.address}{path}")
        expect(page.locator(".page-head .state")).to_have_text("Failed its checks")
        client.post(f"{path}/review", headers={"if-match": "*"}).raise_for_status()
    page.goto(f"{demo_archive.address}{path}")
    expect(page.locator("#against")).to_be_visible()
    shoot("submission")
