"""Real studies of many makers in the viewer: series, overlays, a cine, a slide and documents."""

from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_modality_lut
from pydicom.uid import JPEGLosslessSV1
from tests.browser.conftest import StoreFiles
from tests.browser.masks import agreement, coloured
from tests.browser.pictures import ALIKE, Picture, assert_shown, likeness, windowed
from tests.browser.viewer import Viewer
from tests.browser.watch import PageWatch
from tests.running_server import PATIENCE_SECONDS, RunningServer

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

_STRUCTURE = 4
_DRAWN_COLOUR = (255, 128, 0)
"""The colour of the next structure: the viewer counts along without the second one, which has no contours."""


@pytest.mark.parametrize("series", ["ct_ge_head", "mr_ge_volume_fruit"])
def test_slices_of_a_real_series(viewer: Viewer, real_data: Path, store_files: StoreFiles, series: str) -> None:
    slices = _stored(real_data, store_files, f"{series}/*.dcm")
    uids = [str(each.SOPInstanceUID) for each in slices]
    viewer.open(slices[0].StudyInstanceUID)
    for step in (9, 6):
        viewer.scroll(step)
        shown, picture = viewer.shown(), viewer.picture()
        at = uids.index(shown.sop_instance_uid)
        assert shown.window is not None
        near = {place: _in_window(slices[place], shown.window) for place in range(at - 4, at + 5)}
        assert_shown(picture, near[at], [near[at][::-1], near[at][:, ::-1]])
        assert max(near, key=lambda place: likeness(picture, near[place])) == at


def test_a_real_segmentation_lies_over_its_ct(viewer: Viewer, real_data: Path, store_files: StoreFiles) -> None:
    slices = _stored(real_data, store_files, "seg_ct_liver_dcmqi/ct-3slice/*.dcm")
    (segmentation,) = _stored(real_data, store_files, "seg_ct_liver_dcmqi/partial_overlaps.dcm")
    viewer.open(slices[0].StudyInstanceUID)
    viewer.show_series(segmentation.SeriesDescription)
    by_uid = {str(each.SOPInstanceUID): _marked(segmentation, each) for each in slices}

    def is_coloured() -> bool:
        colours = coloured(viewer.picture())
        return bool(colours.any()) and agreement(colours, by_uid[viewer.shown().sop_instance_uid]) > 0.9

    # The viewer goes to the slice and colours it in its own time.
    viewer.wait_until(is_coloured, "colour where it is marked")
    marked = by_uid[viewer.shown().sop_instance_uid]
    picture = viewer.picture()
    assert agreement(coloured(picture), marked) > 0.9
    assert agreement(coloured(picture), marked[:, ::-1]) < 0.5


def test_real_structures_are_outlined_where_they_lie(viewer: Viewer, real_data: Path, store_files: StoreFiles) -> None:
    (ct,) = _stored(real_data, store_files, "rt_dicompyler/ct.0.dcm")
    (structures,) = _stored(real_data, store_files, "rt_dicompyler/rtss.dcm")
    viewer.open(ct.StudyInstanceUID)
    viewer.show_series(structures.SeriesDescription)
    viewer.page.locator("svg.svg-layer path").first.wait_for(state="attached")
    # The viewer draws one contour after the other.
    viewer.wait_until(lambda: _drawn(viewer.drawn_picture()).sum() > 300, "the lines of the structure")
    picture = viewer.drawn_picture()
    lines, drawn = _lines(structures, ct, picture.shape), _drawn(picture)
    assert (drawn & lines).sum() / drawn.sum() > 0.9
    assert (drawn & lines[:, ::-1]).sum() / drawn.sum() < 0.2


def test_frames_of_a_real_cine(viewer: Viewer, real_data: Path, store_files: StoreFiles) -> None:
    (cine,) = _stored(real_data, store_files, "fodicom_zoo/HasFragmentSequence.dcm")
    viewer.open(cine.StudyInstanceUID)
    pixels = cine.pixel_array / 255
    for step in (0, 30):
        viewer.scroll(step)
        at = viewer.shown().frame - 1
        assert_shown(viewer.picture(), pixels[at], [pixels[at][::-1], pixels[at][:, ::-1]])
    assert at == 30


def test_a_real_slide(viewer: Viewer, real_data: Path, store_files: StoreFiles) -> None:
    (slide,) = _stored(real_data, store_files, "sm_seg_sr_highdicom/sm_image_numbers.dcm")
    tiles, across = slide.pixel_array, slide.TotalPixelMatrixColumns // slide.Columns
    rows = [np.concatenate(tiles[start : start + across], axis=1) for start in range(0, len(tiles), across)]
    # The orientation on the glass turns the slide: what is stored last is shown first.
    expected = np.kron(np.flip(np.concatenate(rows), axis=(0, 1)) / 255, np.ones((8, 8, 1)))
    viewer.visit(slide.StudyInstanceUID)
    viewer.wait_until(lambda: likeness(viewer.slide_picture(), expected) >= ALIKE, "the whole slide")
    assert_shown(viewer.slide_picture(), expected, [expected[::-1], expected[:, ::-1]])


def test_a_real_pdf(viewer: Viewer, real_data: Path, store_files: StoreFiles) -> None:
    (document,) = _stored(real_data, store_files, "pdf_dcmjs_dimse/pdf.dcm")
    viewer.visit(document.StudyInstanceUID)
    assert viewer.embedded_document().rstrip(b"\0") == document.EncapsulatedDocument.rstrip(b"\0")


def test_documents_that_the_viewer_does_not_show_are_answered_all_the_same(
    viewer: Viewer, watch: PageWatch, real_data: Path, store_files: StoreFiles
) -> None:
    # A report that measures images of another archive: the viewer lists it, and waits for the images.
    (report,) = _stored(real_data, store_files, "op_sr_dcmjs/sample-sr.dcm")
    viewer.visit(report.StudyInstanceUID)
    viewer.page.get_by_text(report.SeriesDescription, exact=True).wait_for()
    assert any(each.path.endswith(f"/series/{report.SeriesInstanceUID}/metadata") for each in watch.answers)


def test_a_picture_under_a_wrong_name_comes_as_it_is_stored(
    viewer: Viewer, archive: RunningServer, real_data: Path, store_files: StoreFiles
) -> None:
    # JPEG baseline (its start of frame is SOF0) that calls itself JPEG lossless: the viewer takes it by its name, and
    # so shows no more than noise.
    (photograph,) = _stored(real_data, store_files, "op_sr_dcmjs/sample-op.dcm")
    viewer.open(photograph.StudyInstanceUID)
    uids = (photograph.StudyInstanceUID, photograph.SeriesInstanceUID, photograph.SOPInstanceUID)
    path = "{}/studies/{}/series/{}/instances/{}/frames/1".format(archive.root, *uids)
    accept = "multipart/related; type=application/octet-stream; transfer-syntax=*"
    answer = httpx.get(path, headers={"accept": accept}, timeout=PATIENCE_SECONDS, trust_env=False)
    (frame,) = generate_frames(photograph.PixelData, number_of_frames=1)
    assert frame in answer.content
    assert b"\xff\xc0" in frame
    assert f"transfer-syntax={JPEGLosslessSV1}".encode() in answer.content


def _stored(folder: Path, store_files: StoreFiles, pattern: str) -> list[Dataset]:
    paths = sorted(folder.glob(pattern))
    store_files(path.read_bytes() for path in paths)
    return [dcmread(path) for path in paths]


def _in_window(image: Dataset, window: tuple[float, float]) -> Picture:
    """Render a slice in the window that the viewer says it uses: it keeps one while it scrolls."""
    low, high = window
    return windowed(np.asarray(apply_modality_lut(image.pixel_array, image)), (low + high) / 2, high - low)


def _marked(segmentation: Dataset, image: Dataset) -> NDArray[np.bool_]:
    """Return what any segment marks at the place of an image."""
    groups = segmentation.PerFrameFunctionalGroupsSequence
    places = [group.PlanePositionSequence[0].ImagePositionPatient for group in groups]
    here = [place == image.ImagePositionPatient for place in places]
    marked: NDArray[np.bool_] = segmentation.pixel_array[here].any(axis=0)
    return marked


def _drawn(picture: Picture) -> NDArray[np.bool_]:
    """Mark what has the colour of the structure."""
    marked: NDArray[np.bool_] = np.abs(picture - np.array(_DRAWN_COLOUR) / 255).max(axis=2) < 0.1
    return marked


def _lines(structures: Dataset, image: Dataset, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Draw the contours of a structure, some pixels wide, in a picture of an image of some size.

    Those of all planes: over an image that is alone, and so tells no distance to the next, the viewer draws them all.
    """
    left, top, _ = map(float, image.ImagePositionPatient)
    down, across = map(float, image.PixelSpacing)
    drawn = Image.new("1", (shape[1], shape[0]))
    (roi,) = (each for each in structures.ROIContourSequence if each.ReferencedROINumber == _STRUCTURE)
    for contour in roi.ContourSequence:
        points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
        columns = ((points[:, 0] - left) / across + 0.5) * shape[1] / image.Columns
        rows = ((points[:, 1] - top) / down + 0.5) * shape[0] / image.Rows
        corners = list(zip(columns, rows, strict=True))
        ImageDraw.Draw(drawn).line([*corners, corners[0]], fill=1, width=5)
    return np.asarray(drawn)
