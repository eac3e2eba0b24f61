"""Each encoding in the viewer: frames go out as they are stored, and the viewer decodes them to the right picture."""

import numpy as np
import pytest
from openjpeg.utils import decode
from pydicom import Dataset
from tests.browser import fingerprints
from tests.browser.conftest import StoreFiles
from tests.browser.encoded import CODESTREAM, STUDY, Encoded, iter_encoded
from tests.browser.pictures import assert_shown, rendered
from tests.browser.viewer import Viewer
from tests.pydicom_files import bundled, read


@pytest.fixture(scope="module")
def encoded(store_files: StoreFiles) -> list[Encoded]:
    """A study with a series for each encoding."""
    made = list(iter_encoded())
    store_files(each.data for each in made)
    return made


@pytest.fixture(scope="module")
def ultrasound(store_files: StoreFiles) -> Dataset:
    """A cine of 30 frames, JPEG baseline with colours subsampled, that comes with pydicom."""
    data = bundled("examples_ybr_color.dcm")
    store_files([data])
    return read(data)


def test_the_kept_codestream_holds_its_picture() -> None:
    assert np.array_equal(decode(CODESTREAM.read_bytes()), fingerprints.grey("HTJ2K"))


def test_each_encoding_shows_its_own_picture(viewer: Viewer, encoded: list[Encoded], subtests: pytest.Subtests) -> None:
    viewer.open(STUDY)
    for each in encoded:
        with subtests.test(each.name):
            viewer.show_series(each.name, each.sop_instance_uid)
            assert_shown(viewer.picture(), each.picture, (other.picture for other in encoded if other is not each))


def test_frames_of_a_cine_are_shown_one_by_one(viewer: Viewer, ultrasound: Dataset) -> None:
    viewer.open(ultrasound.StudyInstanceUID)
    frames = [rendered(ultrasound, number) for number in range(1, 31)]
    for step in (0, 6, 9, 14):
        if step:
            viewer.scroll(step)
        at = viewer.shown().frame - 1
        assert_shown(viewer.picture(), frames[at], [frames[(at + 10) % 30], frames[(at + 20) % 30]])
    assert at == 29


def test_a_cine_plays(viewer: Viewer, ultrasound: Dataset) -> None:
    viewer.open(ultrasound.StudyInstanceUID)
    frames = [rendered(ultrasound, number) for number in range(1, 31)]
    viewer.play_until(frame=20)
    # It may have begun anew before the click that stops it came through.
    at = viewer.shown().frame - 1
    assert_shown(viewer.picture(), frames[at], [frames[(at + 10) % 30], frames[(at + 20) % 30]])
