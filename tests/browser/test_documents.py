"""What holds no picture, in the viewer: a report's text, a PDF and an electrocardiogram, all as they were stored."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.browser import documents
from tests.browser.conftest import StoreFiles
from tests.browser.pictures import Picture
from tests.browser.viewer import Viewer
from tests.pydicom_files import read


@pytest.fixture(scope="module", autouse=True)
def stored(store_files: StoreFiles) -> None:
    """A study for each document."""
    store_files([documents.report(), documents.pdf_instance(), documents.waveform()])


def test_a_report_is_read_as_text(viewer: Viewer) -> None:
    viewer.visit(documents.REPORT_STUDY)
    pane = viewer.page.locator('[data-cy="viewport-pane"]')
    for text in documents.REPORT_TEXTS:
        pane.get_by_text(text).wait_for()


def test_a_pdf_is_shown_as_it_was_stored(viewer: Viewer) -> None:
    viewer.visit(documents.PDF_STUDY)
    assert viewer.embedded_document().rstrip(b"\0") == documents.pdf()
    viewer.wait_until(lambda: _is_page_with_text(viewer), "a white page with dark letters")


def test_an_electrocardiogram_is_drawn_beat_by_beat(viewer: Viewer) -> None:
    viewer.visit(documents.WAVEFORM_STUDY)
    beats = _steepness(read(documents.waveform()).waveform_array(0))
    viewer.wait_until(lambda: _alike(_ink(viewer.canvas_picture()), beats) > 0.6, "the curves of the electrocardiogram")
    shown = _ink(viewer.canvas_picture())
    # The same curves from the last second to the first.
    assert _alike(shown, beats[::-1]) < 0.3


def _is_page_with_text(viewer: Viewer) -> bool:
    pane = viewer.pane_picture()
    middle = pane[pane.shape[0] // 4 :, pane.shape[1] // 2 :]
    return float((middle > 0.95).mean()) > 0.5 and bool((pane < 0.1).any())


def _ink(picture: Picture) -> NDArray[np.float64]:
    """Count in each column what is drawn in white: more where a curve is steep."""
    white = (picture.min(axis=2) > 0.5).sum(axis=0)
    return white.astype(np.float64)


def _steepness(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up how far the curves, one a column, go up and down at each moment."""
    return np.abs(np.diff(curves, axis=0)).sum(axis=1)


def _alike(drawn: NDArray[np.float64], curve: NDArray[np.float64]) -> float:
    """Correlate what is drawn in each column with a curve over the same width."""
    edges = np.linspace(0, len(curve), len(drawn) + 1).astype(int)
    means = np.array([curve[start:end].mean() for start, end in pairwise(edges)])
    if np.ptp(drawn) == 0:
        return 0.0
    return float(np.corrcoef(drawn, means)[0, 1])
