"""The archive's own pages in a real browser: search, a study, the way into the viewer, the state of the archive."""

import io
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from pydicom.dataset import Dataset
from tests.browser.conftest import StoreFiles, open_context, watching
from tests.browser.pictures import assert_shown, rendered
from tests.browser.viewer import Viewer
from tests.browser.volumes import series_of, volume, written
from tests.running_server import PATIENCE_SECONDS, RunningServer

SLICES = 5
PATIENTS = (
    {"PatientName": "Paged^Paula", "StudyDate": "20110203", "Modality": "CT", "BodyPartExamined": "HEAD"},
    {"PatientName": "Paged^Quentin", "StudyDate": "20110204", "Modality": "MR", "BodyPartExamined": "KNEE"},
)
TABS_AT_MOST = 60


@pytest.fixture(scope="module", autouse=True)
def studies(store_files: StoreFiles) -> list[list[Dataset]]:
    """Paula's CT and Quentin's MR."""
    stored = []
    for number, patient in enumerate(PATIENTS):
        named = {**patient, "PatientID": f"PAGE-{number + 1}"}
        stored.append(series_of(volume(SLICES, 96, 96, seed=61 + number), study=3600 + number, **named))
    store_files(data for images in stored for data in written(images))
    return stored


@pytest.fixture(params=[True, False], ids=["with script", "without script"])
def reader(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A watched page, with and without JavaScript: the pages need none."""
    with open_context(browser, java_script_enabled=request.param) as context, watching(context):
        yield context.new_page()


def _by_patient(page: Page) -> None:
    page.get_by_label("Patient").fill("paged^q")
    page.keyboard.press("Enter")


def _by_patient_id(page: Page) -> None:
    page.get_by_label("Patient").fill("PAGE-2")
    page.keyboard.press("Enter")


def _by_date(page: Page) -> None:
    page.get_by_label("From").fill("2011-02-04")
    page.get_by_label("To", exact=True).fill("2011-02-05")
    page.get_by_role("button", name="Search").click()


def _by_modality(page: Page) -> None:
    page.get_by_label("Patient").fill("paged")
    page.get_by_label("Modality").select_option("MR")
    page.get_by_role("button", name="Search").click()


def _by_any_attribute(page: Page) -> None:
    page.get_by_text("Any other attribute").click()
    page.get_by_label("Attribute 1").fill("PatientID")
    page.get_by_label("Value 1").fill("PAGE-?")
    page.get_by_role("button", name="Add an attribute").click()
    page.get_by_label("Attribute 2").fill("00180015")
    page.get_by_label("Value 2").fill("KNEE")
    page.get_by_role("button", name="Search").click()


SEARCHES = (_by_patient, _by_patient_id, _by_date, _by_modality, _by_any_attribute)


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.__name__.strip("_"))
def test_a_search_shows_the_studies_that_match(
    reader: Page, archive: RunningServer, studies: list[list[Dataset]], search: Callable[[Page], None]
) -> None:
    reader.goto(f"{archive.address}/")
    search(reader)
    lines = reader.locator("#studies tbody tr")
    expect(lines).to_have_count(1)
    expect(lines).to_have_attribute("data-study-uid", studies[1][0].StudyInstanceUID)
    expect(reader.locator("#results-status")).to_have_text("1 to 1 of 1")


def test_a_study_is_found_and_opened_by_keyboard_alone(
    page: Page, archive: RunningServer, studies: list[list[Dataset]]
) -> None:
    page.goto(f"{archive.address}/")
    _tab_to(page, "#patient")
    page.keyboard.type("paged^paula")
    page.keyboard.press("Enter")
    expect(page.locator("#studies tbody tr")).to_have_count(1)
    _tab_to(page, ".open-viewer")
    page.keyboard.press("Enter")
    _assert_slice(Viewer(page, archive.address), studies[0])


def test_a_study_page_shows_its_series_and_leads_into_the_viewer(
    page: Page, archive: RunningServer, studies: list[list[Dataset]]
) -> None:
    images = studies[1]
    page.goto(f"{archive.address}/studies/{images[0].StudyInstanceUID}")
    picture = page.locator(f'[data-series-uid="{images[0].SeriesInstanceUID}"] img')
    picture.scroll_into_view_if_needed()
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=picture.element_handle())
    source = f"{archive.address}{picture.get_attribute('src')}"
    fetched = httpx.get(source, timeout=PATIENCE_SECONDS, trust_env=False).raise_for_status()
    shown = np.asarray(Image.open(io.BytesIO(fetched.content)).convert("L"), dtype=np.float64) / 255
    middle = SLICES // 2
    assert_shown(shown, rendered(images[middle]), [rendered(images[middle - 1]), rendered(images[middle + 1])])
    page.get_by_role("link", name="Open in the viewer").click()
    _assert_slice(Viewer(page, archive.address), images)


def test_the_status_page_tells_that_the_archive_is_ready(page: Page, archive: RunningServer) -> None:
    page.goto(f"{archive.address}/status")
    expect(page.locator("#pages-status .check.good")).to_have_count(3)


def _tab_to(page: Page, selector: str) -> None:
    """Press the tabulator until what is wanted has the focus."""
    for _ in range(TABS_AT_MOST):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} is not reached by the keyboard")


def _assert_slice(viewer: Viewer, images: list[Dataset]) -> None:
    viewer.wait_for_picture()
    uid = viewer.shown().sop_instance_uid
    (shown,) = [image for image in images if image.SOPInstanceUID == uid]
    assert_shown(viewer.picture(), rendered(shown), [rendered(image) for image in images if image is not shown])
