"""Upload in the viewer's own dialog: what is stored there is in the list, opens, and is what was sent."""

from pathlib import Path

from tests.browser.pictures import assert_shown, rendered
from tests.browser.study_list import StudyList
from tests.browser.viewer import Viewer
from tests.browser.volumes import series_of, volume, written
from tests.browser.watch import PageWatch


def test_uploaded_files_are_listed_and_open(
    study_list: StudyList, viewer: Viewer, watch: PageWatch, tmp_path: Path
) -> None:
    study_list.page.goto(f"{viewer.address}/ohif/")
    images = series_of(volume(4, 64, 64, seed=35), study=3501, PatientName="Uploaded^Ute")
    paths = [tmp_path / f"{number}.dcm" for number in range(len(images))]
    for path, data in zip(paths, written(images), strict=True):
        path.write_bytes(data)
    study_list.upload(paths)
    viewer.wait_until(lambda: len(_statuses(watch)) == len(images), "each file was answered")
    assert set(_statuses(watch)) == {200}
    study_list.open()
    study_list.filter_by("Patient", "uploaded")
    study_list.expect_patients("Uploaded, Ute")
    study_list.open_study("Uploaded, Ute")
    viewer.wait_for_picture()
    (shown,) = [image for image in images if image.SOPInstanceUID == viewer.shown().sop_instance_uid]
    others = [rendered(image) for image in images if image is not shown]
    assert_shown(viewer.picture(), rendered(shown), others)


def _statuses(watch: PageWatch) -> list[int]:
    """Return how the uploads were answered; the viewer sends a file a request."""
    return [answer.status for answer in watch.answers if answer.method == "POST"]
