"""CT and MR series in the viewer: each slice looks as pydicom renders it, and each frame is fetched once."""

import pytest
from pydicom.dataset import Dataset
from tests.browser.conftest import StoreFiles
from tests.browser.pictures import assert_shown, rendered
from tests.browser.viewer import Viewer
from tests.browser.volumes import series_of, volume, written

SLICES = 48


@pytest.fixture(scope="module")
def ct(store_files: StoreFiles) -> list[Dataset]:
    """A CT series in a study of its own."""
    images = series_of(volume(SLICES, seed=31), study=3101)
    store_files(written(images))
    return images


def test_the_first_picture_is_the_slice_that_the_viewer_names(viewer: Viewer, ct: list[Dataset]) -> None:
    viewer.open(ct[0].StudyInstanceUID)
    _assert_slice(viewer, ct)


def test_the_wheel_shows_slice_after_slice(viewer: Viewer, ct: list[Dataset]) -> None:
    viewer.open(ct[0].StudyInstanceUID)
    seen = [viewer.shown().sop_instance_uid]
    for step in (1, 1, 7, 20, -3):
        viewer.scroll(step)
        _assert_slice(viewer, ct)
        seen.append(viewer.shown().sop_instance_uid)
    assert len(set(seen)) == len(seen)


def _assert_slice(viewer: Viewer, images: list[Dataset]) -> None:
    """Hold the picture shown to pydicom's of the same instance, and to none of its neighbours'."""
    uids = [image.SOPInstanceUID for image in images]
    at = uids.index(viewer.shown().sop_instance_uid)
    neighbours = [images[place] for place in (at - 1, at + 1) if 0 <= place < len(images)]
    assert_shown(viewer.picture(), rendered(images[at]), map(rendered, neighbours))
