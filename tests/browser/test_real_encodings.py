"""Real files of many encoders: a CT in all transfer syntaxes, a test pattern, fragments without a table, HTJ2K."""

from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydicom import Dataset, dcmread
from tests.browser.conftest import StoreFiles
from tests.browser.pictures import Picture, assert_shown, rendered
from tests.browser.viewer import Viewer
from tests.browser.watch import PageWatch
from tests.factories import ROOT, part10
from tests.running_server import PATIENCE_SECONDS, RunningServer

from dicomweb_archive.imaging import openjpeg_decoder

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

STUDY = f"{ROOT}.4501"
_REFERENCES = {
    "ts_ct_cornerstone/*Syntax_*.dcm": "ts_ct_cornerstone/CTImage.dcm",
    "ts_ct_cornerstone/TestPattern_*.dcm": "ts_ct_cornerstone/TestPattern_RGB.dcm",
    # Two frames without an offset table, of six fragments each.
    "ts_ct_cornerstone/CT0012.fragmented*": "pydicom_data_zoo/eCT_Supplemental.dcm",
    "pydicom_data_zoo/HTJ2KLossless_08_RGB.dcm": "pydicom_data_zoo/HTJ2KLossless_08_RGB.dcm",
}
"""Files, and one without compression that holds the same picture, where there is one."""

_UNDECODED = {"1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"}
"""JPEG processes, retired long ago, that the viewer has no decoder for, whatever a server sends."""


@dataclass(frozen=True)
class RealImage:
    """A file as an instance of one study, in a series of its own.

    Attributes:
        name: the series' description.
        picture: what is to be seen.
    """

    name: str
    dataset: Dataset
    picture: Picture


@pytest.fixture(scope="module")
def images(real_data: Path, store_files: StoreFiles) -> list[RealImage]:
    """All of them in one study."""
    openjpeg_decoder.register()
    made: list[RealImage] = []
    for pattern, reference in _REFERENCES.items():
        picture = rendered(dcmread(real_data / reference))
        for path in sorted(real_data.glob(pattern)):
            made.append(RealImage(path.name[-40:], _as_series(dcmread(path), len(made) + 1, path.name[-40:]), picture))
    shown = [each for each in made if each.dataset.file_meta.TransferSyntaxUID not in _UNDECODED]
    store_files(part10(each.dataset, each.dataset.file_meta.TransferSyntaxUID) for each in shown)
    return shown


def test_each_real_encoding_shows_its_picture(
    viewer: Viewer, images: list[RealImage], subtests: pytest.Subtests
) -> None:
    assert len(images) == 23
    viewer.open(STUDY)
    for image in images:
        with subtests.test(image.name):
            viewer.show_series(image.name, image.dataset.SOPInstanceUID)
            assert_shown(viewer.picture(), image.picture, [image.picture[:, ::-1], image.picture[::-1]])


def test_frames_that_the_viewer_cannot_decode_come_as_they_are_stored(
    viewer: Viewer, watch: PageWatch, real_data: Path, store_files: StoreFiles, archive: RunningServer
) -> None:
    study = f"{ROOT}.4502"
    files = [dcmread(path) for path in real_data.glob("ts_ct_cornerstone/*Syntax_*.dcm")]
    undecoded = [each for each in files if each.file_meta.TransferSyntaxUID in _UNDECODED]
    for number, dataset in enumerate(undecoded, start=1):
        _as_series(dataset, number, "retired", study=study)
    store_files(part10(each, each.file_meta.TransferSyntaxUID) for each in undecoded)
    watch.allow("No decoder for transfer syntax", "the viewer has none for these retired JPEG processes")
    watch.allow("handler is not a function", "the viewer's own handler of images that it cannot decode")
    viewer.visit(study)
    viewer.wait_until(lambda: len(watch.frames()) >= 1, "the frame of the first image")
    # The archive decodes what the viewer does not.
    assert len(undecoded) == 2
    viewer.wait_until(lambda: len(_thumbnails(watch)) == 2, "the small pictures of both images")
    # On the home page, which other modules open, it would be a study without its small picture.
    httpx.delete(f"{archive.root}/studies/{study}", timeout=PATIENCE_SECONDS).raise_for_status()


def _thumbnails(watch: PageWatch) -> set[str]:
    return {answer.path for answer in watch.answers if answer.path.endswith("/thumbnail") and answer.status == 200}


def _as_series(dataset: Dataset, number: int, description: str, *, study: str = STUDY) -> Dataset:
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.{number}"
    dataset.SOPInstanceUID, dataset.SeriesNumber, dataset.SeriesDescription = f"{study}.{number}.1", number, description
    dataset.PatientID, dataset.PatientName = "ENCODERS", "Real^Encoders"
    return dataset
