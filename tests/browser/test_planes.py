"""Planes through a volume: what the viewer makes of a series' slices is what numpy cuts from the same numbers."""

from collections.abc import Callable

import pytest
from pydicom.dataset import Dataset
from tests.browser.conftest import StoreFiles
from tests.browser.pictures import ALIKE, Picture, assert_shown, likeness, windowed
from tests.browser.viewer import Viewer
from tests.browser.volumes import Volume, series_of, volume, written
from tests.browser.watch import PageWatch

VALUES = volume(48, seed=33)
# An axial picture has the patient's left on the right and the back below; sagittal and coronal ones have the head up.
# Each takes an axis of the volume (slices, rows, columns), the place on it, and turns the cut as it is shown.
PLANES: dict[str, tuple[int, Callable[[Volume, int], Volume]]] = {
    "mpr-axial": (0, lambda values, place: values[place]),
    "mpr-sagittal": (2, lambda values, place: values[::-1, :, place]),
    "mpr-coronal": (1, lambda values, place: values[::-1, place, :]),
}


@pytest.fixture(scope="module")
def images(store_files: StoreFiles) -> list[Dataset]:
    """A CT series of evenly spaced parallel slices."""
    made = series_of(VALUES, study=3301, spacing=3.0)
    store_files(written(made))
    return made


def test_three_planes_are_cut_from_the_volume(viewer: Viewer, watch: PageWatch, images: list[Dataset]) -> None:
    viewer.open(images[0].StudyInstanceUID)
    viewer.lay_out("MPR")
    for name in PLANES:
        viewer.wait_for_picture(name)
    assert viewer.viewports() == list(PLANES)
    for name, (axis, cut) in PLANES.items():
        place = _place(viewer, name, images, axis)
        expected = _cut(cut, place)
        _wait_for(viewer, name, expected)
        elsewhere = place + 9 if place + 9 < VALUES.shape[axis] else place - 9
        assert_shown(viewer.picture(name), expected, [expected[::-1], expected[:, ::-1], _cut(cut, elsewhere)])
    assert set(watch.frames().values()) == {1}, "a frame was fetched more than once"
    assert len(watch.frames()) == len(images)


def test_the_wheel_moves_a_plane_through_the_volume(viewer: Viewer, images: list[Dataset]) -> None:
    viewer.open(images[0].StudyInstanceUID)
    viewer.lay_out("MPR")
    viewer.wait_for_picture("mpr-coronal")
    before = _place(viewer, "mpr-coronal", images, 1)
    viewer.scroll(12, "mpr-coronal")
    after = _place(viewer, "mpr-coronal", images, 1)
    assert abs(after - before) == 12
    _, cut = PLANES["mpr-coronal"]
    expected = _cut(cut, after)
    _wait_for(viewer, "mpr-coronal", expected)
    assert_shown(viewer.picture("mpr-coronal"), expected, [_cut(cut, before)])


def _wait_for(viewer: Viewer, viewport: str, expected: Picture) -> None:
    """Wait until a plane is painted in full: the viewer paints it anew as the volume comes."""
    viewer.wait_until(lambda: likeness(viewer.picture(viewport), expected) >= ALIKE, f"{viewport} is the expected cut")


def _cut(cut: Callable[[Volume, int], Volume], place: int) -> Picture:
    """Cut the volume and window it as the images' metadata ask."""
    return windowed(cut(VALUES, place) - 1000.0, 0, 2000)


def _place(viewer: Viewer, viewport: str, images: list[Dataset], axis: int) -> int:
    """Return the voxel on an axis where a viewport cuts, from the patient's coordinates of its middle."""
    x, y, z = viewer.shown(viewport).focus
    corner = [float(value) for value in images[0].ImagePositionPatient]
    offsets = ((z - corner[2]) / 3.0, (y - corner[1]) / 1.5, (x - corner[0]) / 1.5)
    return round(offsets[axis])
