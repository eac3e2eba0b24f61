"""What lies over an image in the viewer: a segmentation's colours and a structure's outline, in the right place."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from tests.browser import overlays
from tests.browser.conftest import StoreFiles
from tests.browser.masks import Mask, agreement, coloured, covered
from tests.browser.overlays import SIZE, Overlaid
from tests.browser.pictures import assert_shown, rendered
from tests.browser.viewer import Viewer

_OUTLINE_PIXELS = 7


@pytest.fixture(scope="module")
def overlaid(store_files: StoreFiles) -> Overlaid:
    """A CT with a segmentation and a structure set over it."""
    study = overlays.overlaid_study()
    store_files(study.files)
    return study


def test_a_segmentation_colours_what_it_marks(viewer: Viewer, overlaid: Overlaid) -> None:
    viewer.open(overlaid.study)
    viewer.show_series(overlays.SEGMENTATION)
    for _ in range(2):
        # The viewer goes to the slice and colours it in its own time.
        viewer.wait_until(lambda: _agreement_with_what_is_marked(viewer, overlaid) > 0.9, "colour where it is marked")
        at, shown = _index_of(viewer, overlaid), viewer.picture()
        marked, expected = overlays.segmented(at), rendered(overlaid.slices[at])
        colours = coloured(shown)
        assert agreement(colours, marked) > 0.9
        assert agreement(colours, marked[:, ::-1]) < 0.3
        assert agreement(colours, overlays.segmented(at - 1)) < 0.8
        others = [covered(other, colours) for other in (expected[:, ::-1], expected[::-1])]
        assert_shown(covered(shown, colours), covered(expected, colours), others)
        viewer.scroll(3)


def test_a_structure_is_outlined_where_it_lies(viewer: Viewer, overlaid: Overlaid) -> None:
    viewer.open(overlaid.study)
    viewer.show_series(overlays.STRUCTURES)
    viewer.page.locator("svg.svg-layer path").first.wait_for(state="attached")
    viewer.wait_for_picture()
    assert _index_of(viewer, overlaid) == overlays.OUTLINED_SLICE
    drawn = viewer.drawn_picture()
    red = drawn[..., 0] - drawn[..., 1:].max(axis=2) > 0.3
    corners = overlays.outline()
    mirrored = [(SIZE - 1 - column, row) for column, row in corners]
    assert _share_along(red, corners) > 0.95
    assert _share_along(red, mirrored) < 0.5


def _agreement_with_what_is_marked(viewer: Viewer, overlaid: Overlaid) -> float:
    """Return how far the colours on the screen agree with what the segmentation marks on the slice that is shown."""
    colours = coloured(viewer.picture())
    return agreement(colours, overlays.segmented(_index_of(viewer, overlaid))) if colours.any() else 0.0


def _index_of(viewer: Viewer, overlaid: Overlaid) -> int:
    """Return which slice is shown, counted from 0."""
    shown = viewer.shown().sop_instance_uid
    return [str(each.SOPInstanceUID) for each in overlaid.slices].index(shown)


def _share_along(drawn: Mask, corners: Sequence[tuple[float, float]]) -> float:
    """Return how much of what is drawn lies along an outline, given in pixels of the image."""
    return float((drawn & _band(corners, drawn.shape)).sum() / drawn.sum())


def _band(corners: Sequence[tuple[float, float]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    rows, columns = shape
    image = Image.new("1", (columns, rows))
    points = [((column + 0.5) * columns / SIZE, (row + 0.5) * rows / SIZE) for column, row in [*corners, corners[0]]]
    ImageDraw.Draw(image).line(points, fill=1, width=_OUTLINE_PIXELS)
    return np.asarray(image)
