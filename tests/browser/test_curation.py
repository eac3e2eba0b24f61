"""A curator at work in a real browser, with the keyboard alone: from what came in to what is published."""

import httpx
import pytest
from playwright.sync_api import Page, Route, expect
from pydicom.dataset import Dataset
from tests.browser.pictures import assert_shown, rendered
from tests.browser.viewer import Viewer
from tests.browser.volumes import series_of, volume, written
from tests.browser.watch import PageWatch
from tests.running_server import PATIENCE_SECONDS, RunningServer

SLICES = 5
TITLE = "Knees of Graz"


@pytest.fixture(scope="module")
def images() -> list[Dataset]:
    """A CT whose description names its patient."""
    named = {"PatientName": "Waiting^Walter", "PatientID": "CUR-1", "SeriesDescription": "for Walter", "Modality": "CT"}
    return series_of(volume(SLICES, 96, 96, seed=71), study=3700, **named)


@pytest.fixture(scope="module")
def submission(archive: RunningServer, images: list[Dataset]) -> str:
    """The address of a submission that holds them."""
    with httpx.Client(base_url=archive.address, timeout=PATIENCE_SECONDS, trust_env=False) as client:
        opened = client.post("/submissions", json={"title": TITLE, "site": "Graz"}).raise_for_status().json()
        for data in written(images):
            headers = {"content-type": "application/dicom"}
            path = f"/submissions/{opened['name']}/dicom-web/studies"
            client.post(path, content=data, headers=headers).raise_for_status()
    return f"{archive.address}/submissions/{opened['name']}"


def press(page: Page, *keys: str) -> None:
    # What is seen already may not listen to keys yet.
    page.wait_for_load_state()
    for key in keys:
        page.keyboard.press(key)


def test_a_submission_is_curated_with_the_keyboard_alone(
    page: Page, watch: PageWatch, archive: RunningServer, submission: str, images: list[Dataset]
) -> None:
    page.goto(f"{archive.address}/submissions?stage=sender")
    press(page, "/")
    page.keyboard.type(TITLE)
    press(page, "Enter")
    expect(page.locator("#queue tbody tr")).to_have_count(1)
    press(page, "j", "Enter")
    expect(page).to_have_url(submission)

    # A key chooses, Enter decides.
    press(page, "s")
    expect(page.get_by_label("Seal")).to_be_checked()
    expect(page.get_by_role("button", name="Decide")).to_be_focused()
    press(page, "Enter")
    # The page follows the checks by itself.
    expect(page.locator(".page-head .state")).to_have_text("In review")
    page.get_by_label("Run the checks").select_option("public_release")
    page.get_by_role("button", name="Run").press("Enter")
    expect(page.locator(".page-head .state")).to_have_text("Failed its checks")
    press(page, "?")
    expect(page.locator("#keys-list")).to_contain_text("Take into review")
    press(page, "Escape", "r", "Enter")
    expect(page.locator("#against")).to_be_visible()

    press(page, "f")
    expect(page).to_have_url(f"{submission}/findings")
    page.get_by_label("Weight").select_option("block")
    page.get_by_role("button", name="Show").press("Enter")
    expect(page.locator("#findings")).to_contain_text("SeriesDescription")
    press(page, "y", "w")
    page.keyboard.type("a phantom of that name")
    press(page, "Enter")
    expect(page.locator("#findings-status")).to_contain_text("0 findings; 1 changed")

    press(page, "h")
    expect(page).to_have_url(submission)
    press(page, "j", "Enter")
    picture = page.locator("#sheet img").nth(2)
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=picture.element_handle())
    press(page, "v")
    viewer = Viewer(page, archive.address)
    viewer.wait_for_picture()
    uid = viewer.shown().sop_instance_uid
    (shown,) = [image for image in images if image.SOPInstanceUID == uid]
    assert_shown(viewer.picture(), rendered(shown), [rendered(image) for image in images if image is not shown])

    watch.allow(r"404.*/thumbnail|status of 404", "what is being published leaves while its picture is asked for")
    page.goto(submission)
    press(page, "a", "Enter")
    expect(page.locator("#said")).to_have_text("It is approved.")
    press(page, "p", "Enter")
    expect(page.locator(".page-head .state")).to_have_text("Published")
    published = f"{archive.root}/studies/{images[0].StudyInstanceUID}/metadata"
    assert len(httpx.get(published, timeout=PATIENCE_SECONDS, trust_env=False).json()) == SLICES


def test_single_keys_can_be_turned_off(page: Page, archive: RunningServer, submission: str) -> None:
    page.goto(submission)
    page.get_by_role("button", name="Keys").click()
    page.get_by_label("Single keys do this").uncheck()
    press(page, "Escape", "f", "?")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page).to_have_url(submission)


def test_a_page_is_kept_fresh_around_what_somebody_reads(page: Page, archive: RunningServer) -> None:
    def much_more_often(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('data-refresh="10"', 'data-refresh="0.1"'))

    page.route(f"{archive.address}/status", much_more_often)
    page.goto(f"{archive.address}/status")
    read = page.locator("#pages-status [tabindex='0']").first
    read.focus()
    read.evaluate("element => { element.isRead = true; }")
    figures = page.locator("#pages-status .figures")
    before = figures.inner_text()
    page.wait_for_function("([place, before]) => place.innerText !== before", arg=[figures.element_handle(), before])
    assert page.evaluate("document.activeElement.isRead")
    page.unroute_all(behavior="ignoreErrors")
