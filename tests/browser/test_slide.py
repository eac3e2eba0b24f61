"""A whole slide image in the microscopy viewer: its tiles come from the level that the zoom asks for."""

import numpy as np
import pytest
from tests.browser import slides
from tests.browser.conftest import StoreFiles
from tests.browser.pictures import ALIKE, assert_shown, likeness
from tests.browser.viewer import Viewer
from tests.browser.watch import PageWatch


@pytest.fixture(scope="module", autouse=True)
def stored(store_files: StoreFiles) -> None:
    """A slide of two levels."""
    store_files(slides.slide_levels())


def test_a_slide_is_put_together_from_its_tiles(viewer: Viewer, watch: PageWatch) -> None:
    viewer.visit(slides.STUDY)
    # The orientation on the glass turns the slide: what is stored last is shown first.
    expected = np.flip(slides.whole_slide(reduced=4), axis=(0, 1)) / 255
    finest = f"{slides.STUDY}.1.1"
    # Before its finest tiles have come, the slide is drawn alike of the coarse one.
    viewer.wait_until(lambda: _frames_of(watch, finest) == set(range(1, 13)), "all tiles of the finest level")
    viewer.wait_until(lambda: likeness(viewer.slide_picture(), expected) >= ALIKE, "the whole slide")
    others = [expected[::-1], expected[:, ::-1], np.flip(expected, axis=(0, 1)), expected[..., ::-1]]
    assert_shown(viewer.slide_picture(), expected, others)
    profiles = {each.path for each in watch.answers if each.path.endswith("/bulkdata/00480105/0/00282000")}
    assert len(profiles) == 2


def _frames_of(watch: PageWatch, sop_instance_uid: str) -> set[int]:
    """Return the numbers of the frames of an instance that have come."""
    return {frame for _, instance, frame in watch.frames() if instance == sop_instance_uid}
