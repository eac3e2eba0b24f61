"""CT and MR series in the viewer: each slice looks as pydicom renders it, and each frame is fetched once."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page
from pydicom.dataset import Dataset
from tests.browser.conftest import StoreFiles
from tests.browser.pictures import assert_shown, decoded, likeness, rendered
from tests.browser.viewer import Viewer
from tests.browser.volumes import series_of, volume, written
from tests.browser.watch import PageWatch
from tests.running_server import RunningServer

CT_SLICES = 48
MR_SLICES = 20


@pytest.fixture(scope="module")
def ct(store_files: StoreFiles) -> list[Dataset]:
    """A CT series in a study of its own."""
    images = series_of(volume(CT_SLICES, seed=31), study=3101)
    store_files(written(images))
    return images


@pytest.fixture(scope="module")
def two_series(store_files: StoreFiles) -> tuple[list[Dataset], list[Dataset]]:
    """A CT and an MR series of one study."""
    of_ct = series_of(volume(MR_SLICES, seed=32), study=3102, SeriesDescription="Seen by CT")
    of_mr = series_of(
        volume(MR_SLICES, 96, 96, seed=34),
        study=3102,
        series=2,
        Modality="MR",
        SeriesDescription="Seen by MR",
        WindowCenter="700",
        WindowWidth="900",
    )
    store_files(written([*of_ct, *of_mr]))
    return of_ct, of_mr


def test_slices_look_as_pydicom_renders_them_and_each_frame_comes_once(
    viewer: Viewer, watch: PageWatch, ct: list[Dataset]
) -> None:
    viewer.open(ct[0].StudyInstanceUID)
    seen = [_assert_slice(viewer, ct)]
    for step in (1, 1, 7, 20, -3):
        viewer.scroll(step)
        seen.append(_assert_slice(viewer, ct))
    assert len(set(seen)) == len(seen)
    viewer.wait_for_all_slices()
    assert watch.frames() == {(image.SeriesInstanceUID, image.SOPInstanceUID, 1): 1 for image in ct}


def test_the_window_is_that_of_the_metadata(viewer: Viewer, two_series: tuple[list[Dataset], list[Dataset]]) -> None:
    _, mr = two_series
    viewer.open(mr[0].StudyInstanceUID)
    viewer.show_series("Seen by MR", mr[-1].SOPInstanceUID)
    _assert_slice(viewer, mr)
    # Window 900 around 700: black below 700 - 0.5 - 899 / 2, white 899 above that (PS3.3 C.11.2.1.2.1).
    assert viewer.shown().window == pytest.approx((250, 1149), abs=1)
    viewer.scroll(5)
    _assert_slice(viewer, mr)


def test_two_series_are_shown_side_by_side_with_a_thumbnail_each(
    viewer: Viewer, two_series: tuple[list[Dataset], list[Dataset]]
) -> None:
    ct, mr = two_series
    viewer.open(ct[0].StudyInstanceUID)
    viewer.lay_out_grid(columns=2)
    left, right = viewer.viewports()
    viewer.put(right, "Seen by MR", mr[0].SeriesInstanceUID)
    viewer.put(left, "Seen by CT", ct[0].SeriesInstanceUID)
    _assert_slice(viewer, ct, left)
    _assert_slice(viewer, mr, right)
    for description, own, other in (("Seen by CT", ct, mr), ("Seen by MR", mr, ct)):
        thumbnail = decoded(viewer.thumbnail(description))
        best = max(likeness(thumbnail, rendered(image)) for image in own)
        assert best > 0.97
        assert max(likeness(thumbnail, rendered(image)) for image in other) < best - 0.2


def test_the_archive_is_seen_by_the_name_localhost_too(page: Page, archive: RunningServer, ct: list[Dataset]) -> None:
    viewer = Viewer(page, f"http://localhost:{urlsplit(archive.address).port}")
    viewer.open(ct[0].StudyInstanceUID)
    _assert_slice(viewer, ct)


def _assert_slice(viewer: Viewer, images: list[Dataset], viewport: str | None = None) -> str:
    """Hold the picture shown to pydicom's of the same instance, and to none of its neighbours'."""
    uids = [image.SOPInstanceUID for image in images]
    at = uids.index(viewer.shown(viewport).sop_instance_uid)
    neighbours = [images[place] for place in (at - 1, at + 1) if 0 <= place < len(images)]
    assert_shown(viewer.picture(viewport), rendered(images[at]), map(rendered, neighbours))
    return uids[at]
