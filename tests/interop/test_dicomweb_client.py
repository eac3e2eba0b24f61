"""The public dicomweb-client, unchanged, against a real server."""

import io
from collections.abc import Sequence

import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from tests.pydicom_files import bundled_path
from tests.running_server import RunningServer

from dicomweb_archive.cli.client.phantom import iter_demo

SLICES = 8


@pytest.fixture(scope="module")
def client(running_server: RunningServer) -> DICOMwebClient:
    return DICOMwebClient(running_server.root)


@pytest.fixture(scope="module")
def originals(client: DICOMwebClient) -> list[Dataset]:
    """A CT series with a segmentation, and an MR study, stored by the client itself."""
    demo = iter_demo("dicomweb-client", ct_slices=SLICES, mr_slices=4)
    data_sets = [pydicom.dcmread(io.BytesIO(instance.data)) for instance in demo]
    answer = client.store_instances(data_sets)
    assert len(answer.ReferencedSOPSequence) == len(data_sets)
    assert "FailedSOPSequence" not in answer
    return data_sets


@pytest.fixture(scope="module")
def ct(originals: list[Dataset]) -> list[Dataset]:
    return [data_set for data_set in originals if data_set.Modality == "CT"]


def _uids(data_set: Dataset) -> tuple[str, str, str]:
    return data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID


def _sorted(data_sets: Sequence[Dataset]) -> list[Dataset]:
    return sorted(data_sets, key=lambda data_set: str(data_set.SOPInstanceUID))


def test_storing_into_a_named_study(client: DICOMwebClient, originals: list[Dataset]) -> None:
    first = originals[0]
    answer = client.store_instances([first], study_instance_uid=first.StudyInstanceUID)
    assert answer.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID


def test_search_for_studies(client: DICOMwebClient, originals: list[Dataset]) -> None:
    found = client.search_for_studies(search_filters={"PatientID": originals[0].PatientID})
    studies = [Dataset.from_json(match) for match in found]
    assert {study.StudyInstanceUID for study in studies} == {image.StudyInstanceUID for image in originals}
    by_modality = {tuple(sorted(np.atleast_1d(study.ModalitiesInStudy))): study for study in studies}
    assert by_modality[("CT", "SEG")].NumberOfStudyRelatedInstances == SLICES + 1
    assert by_modality[("MR",)].NumberOfStudyRelatedSeries == 1


def test_search_pages_and_fields(client: DICOMwebClient, originals: list[Dataset]) -> None:
    filters = {"00100020": originals[0].PatientID}
    pages = [client.search_for_studies(limit=1, offset=offset, search_filters=filters) for offset in (0, 1, 2)]
    assert [len(page) for page in pages] == [1, 1, 0]
    assert pages[0] != pages[1]
    (found, _) = client.search_for_studies(fields=["StudyDescription"], search_filters=filters)
    assert "phantom" in Dataset.from_json(found).StudyDescription


def test_search_for_series(client: DICOMwebClient, ct: list[Dataset]) -> None:
    study, series, _ = _uids(ct[0])
    found = [Dataset.from_json(match) for match in client.search_for_series(study)]
    assert {match.Modality for match in found} == {"CT", "SEG"}
    filters = {"Modality": "CT", "StudyInstanceUID": study}
    (relational,) = client.search_for_series(search_filters=filters)
    assert Dataset.from_json(relational).SeriesInstanceUID == series


def test_search_for_instances(client: DICOMwebClient, ct: list[Dataset]) -> None:
    study, series, instance = _uids(ct[3])
    in_series = client.search_for_instances(study, series)
    assert len(in_series) == SLICES
    assert len(client.search_for_instances(study)) == SLICES + 1
    (found,) = client.search_for_instances(search_filters={"SOPInstanceUID": instance})
    assert Dataset.from_json(found).InstanceNumber == 4


def test_metadata_at_three_levels(client: DICOMwebClient, ct: list[Dataset]) -> None:
    study, series, instance = _uids(ct[0])
    assert len(client.retrieve_study_metadata(study)) == SLICES + 1
    of_series = [Dataset.from_json(each) for each in client.retrieve_series_metadata(study, series)]
    assert {each.SOPInstanceUID for each in of_series} == {image.SOPInstanceUID for image in ct}
    metadata = client.retrieve_instance_metadata(study, series, instance)
    assert metadata["00080018"]["Value"] == [instance]
    assert metadata["00281052"]["Value"] == [-1024]
    assert metadata["00100010"]["Value"] == [{"Alphabetic": "Phantom^Ada"}]
    assert "BulkDataURI" in metadata["7FE00010"]


def test_retrieve_instance(client: DICOMwebClient, ct: list[Dataset]) -> None:
    assert client.retrieve_instance(*_uids(ct[2])) == ct[2]


def test_retrieve_series(client: DICOMwebClient, ct: list[Dataset]) -> None:
    study, series, _ = _uids(ct[0])
    assert _sorted(client.retrieve_series(study, series)) == _sorted(ct)
    assert _sorted(list(client.iter_series(study, series))) == _sorted(ct)


def test_retrieve_study(client: DICOMwebClient, originals: list[Dataset], ct: list[Dataset]) -> None:
    study = ct[0].StudyInstanceUID
    wanted = [image for image in originals if image.StudyInstanceUID == study]
    assert _sorted(client.retrieve_study(study)) == _sorted(wanted)


def test_retrieve_frames(client: DICOMwebClient, ct: list[Dataset]) -> None:
    (frame,) = client.retrieve_instance_frames(*_uids(ct[1]), frame_numbers=[1])
    assert frame == ct[1].PixelData


def test_retrieve_frames_of_a_multiframe_segmentation(client: DICOMwebClient, originals: list[Dataset]) -> None:
    (segmentation,) = (data_set for data_set in originals if data_set.Modality == "SEG")
    size = segmentation.Rows * segmentation.Columns // 8
    frames = client.retrieve_instance_frames(*_uids(segmentation), frame_numbers=[1, 3])
    assert frames == [segmentation.PixelData[:size], segmentation.PixelData[2 * size : 3 * size]]


def test_retrieve_compressed_frames_decoded_and_as_stored(client: DICOMwebClient) -> None:
    image = pydicom.dcmread(bundled_path("JPEG2000.dcm"))
    # Under a name of its own: another test of the same server stores the file as it is.
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["client"])
    client.store_instances([image])
    (decoded,) = client.retrieve_instance_frames(*_uids(image), frame_numbers=[1])
    assert np.array_equal(np.frombuffer(decoded, image.pixel_array.dtype), image.pixel_array.ravel())
    (stored,) = client.retrieve_instance_frames(
        *_uids(image), frame_numbers=[1], media_types=(("image/jp2", image.file_meta.TransferSyntaxUID),)
    )
    assert stored.startswith(b"\xff\x4f\xff\x51")


def test_retrieve_bulkdata(client: DICOMwebClient, ct: list[Dataset]) -> None:
    metadata = client.retrieve_instance_metadata(*_uids(ct[5]))
    (pixels,) = client.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"])
    assert pixels == ct[5].PixelData


def test_bulk_values_are_found_under_another_name_of_the_server(
    client: DICOMwebClient, ct: list[Dataset], running_server: RunningServer
) -> None:
    """The server listens on 127.0.0.1, as `localhost` it has another origin."""
    elsewhere = DICOMwebClient(running_server.root.replace("127.0.0.1", "localhost"))
    study, series, instance = _uids(ct[0])
    of_series = elsewhere.retrieve_series_metadata(study, series)
    (of_instance,) = [each for each in of_series if each["00080018"]["Value"] == [instance]]
    url = of_instance["7FE00010"]["BulkDataURI"]
    assert url.startswith(f"{elsewhere.base_url}/studies/")
    assert elsewhere.retrieve_bulkdata(url) == [ct[0].PixelData]
    assert client.retrieve_instance_metadata(study, series, instance)["7FE00010"]["BulkDataURI"].startswith(
        f"{running_server.root}/studies/"
    )


def test_retrieve_all_bulkdata_of_a_series(client: DICOMwebClient, ct: list[Dataset]) -> None:
    study, series, _ = _uids(ct[0])
    of_series = f"{client.base_url}/studies/{study}/series/{series}"
    for resource in ("bulkdata", "pixeldata"):
        values = client.retrieve_bulkdata(f"{of_series}/{resource}")
        assert sorted(values) == sorted(image.PixelData for image in ct)
