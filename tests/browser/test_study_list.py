"""The viewer's study list: it shows what is in the archive, its filters find, and a click opens."""

import datetime
import re

import pytest
from playwright.sync_api import Request, expect
from pydicom.dataset import Dataset
from tests.browser.conftest import StoreFiles
from tests.browser.pictures import assert_shown, rendered
from tests.browser.study_list import StudyList
from tests.browser.viewer import Viewer
from tests.browser.volumes import series_of, volume, written
from tests.running_server import RunningServer

# Patient's name and ID, study date, modality.
PATIENTS = (
    ("Listed^Anna", "LIST-10", "20190305", "CT"),
    ("Listed^Bernd", "LIST-11", "20200615", "MR"),
    ("Listed^Carla", "LIST-2", "20200616", "CT"),
)


@pytest.fixture(scope="module", autouse=True)
def studies(store_files: StoreFiles) -> list[Dataset]:
    """One study of two slices for each of the patients; returns the first slices."""
    stored = []
    for number, (name, patient_id, day, modality) in enumerate(PATIENTS):
        stored.append(
            series_of(
                volume(2, 64, 64, seed=number),
                study=3200 + number,
                PatientName=name,
                PatientID=patient_id,
                StudyDate=day,
                Modality=modality,
                StudyDescription=f"Listing {number}",
            )
        )
    store_files(data for images in stored for data in written(images))
    return [images[0] for images in stored]


def test_a_study_is_listed_with_its_date_modality_description_and_size(study_list: StudyList) -> None:
    study_list.open()
    study_list.filter_by("Patient", "Listed")
    study_list.expect_patients("Listed, Carla", "Listed, Bernd", "Listed, Anna")
    anna = study_list.rows.filter(has_text="Anna").locator("td").all_inner_texts()
    assert [text.strip() for text in anna[1:5]] == ["05-Mar-2019 10:15 AM", "CT", "Listing 0", "2"]


def test_filters_by_name_and_by_patient_id_find_the_right_rows(study_list: StudyList) -> None:
    study_list.open()
    study_list.filter_by("Patient", "bern")
    study_list.expect_patients("Listed, Bernd")
    study_list.reset()
    study_list.close_preview()
    study_list.filter_by("MRN", "LIST-1")
    study_list.expect_patients("Listed, Bernd", "Listed, Anna")


def test_filters_by_date_and_by_modality_find_the_right_rows(study_list: StudyList) -> None:
    study_list.open()
    study_list.filter_by("Patient", "Listed")
    study_list.expect_patients("Listed, Carla", "Listed, Bernd", "Listed, Anna")
    study_list.filter_dates(datetime.date(2019, 3, 5), datetime.date(2020, 6, 15))
    study_list.expect_patients("Listed, Bernd", "Listed, Anna")
    study_list.filter_modality("MR")
    study_list.expect_patients("Listed, Bernd")


def test_a_click_opens_the_study(study_list: StudyList, viewer: Viewer, studies: list[Dataset]) -> None:
    study_list.open()
    study_list.filter_by("Patient", "carla")
    study_list.expect_patients("Listed, Carla")
    study_list.open_study("Listed, Carla")
    expect(viewer.page).to_have_url(re.compile(rf"/ohif/viewer\?StudyInstanceUIDs={studies[2].StudyInstanceUID}$"))
    viewer.wait_for_picture()
    viewer.scroll(1)
    assert viewer.shown().sop_instance_uid == studies[2].SOPInstanceUID
    assert_shown(viewer.picture(), rendered(studies[2]), [rendered(studies[0])])


def test_the_viewer_of_a_collection_asks_below_it_and_nowhere_else(
    archive: RunningServer, viewer: Viewer, studies: list[Dataset]
) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    viewer.page.on("request", note)
    study_list = StudyList(viewer.page, f"{archive.address}/collections/default")
    study_list.open()
    study_list.filter_by("Patient", "carla")
    study_list.expect_patients("Listed, Carla")
    study_list.open_study("Listed, Carla")
    uid = studies[2].StudyInstanceUID
    expect(viewer.page).to_have_url(re.compile(rf"/collections/default/ohif/viewer\?StudyInstanceUIDs={uid}$"))
    viewer.wait_for_picture()
    viewer.page.remove_listener("request", note)
    data = [url for url in asked if "/dicom-web" in url]
    assert any(url.endswith("/frames/1") for url in data)
    assert [url for url in data if not url.startswith(f"{archive.address}/collections/default/dicom-web/")] == []
