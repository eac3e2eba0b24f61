"""Outcomes become the status and the Store Instances Response of PS3.18 Annex I."""

import json
import random
from xml.etree import ElementTree

import pytest
from pydicom.dataset import Dataset

from dicomweb_archive.dicom import status
from dicomweb_archive.dicom.status import AttributeNote, StoreOutcome
from dicomweb_archive.dicom.xml_model import encode_native_xml
from dicomweb_archive.wire.resources import ServiceRoot
from dicomweb_archive.wire.store_response import build

ROOT = ServiceRoot("http://h/dicom-web")
CT = "1.2.840.10008.5.1.4.1.1.2"


def stored(instance: str = "1.2.3.4", study: str = "1.2", warnings: tuple[int, ...] = ()) -> StoreOutcome:
    return StoreOutcome(CT, instance, study, "1.2.3", warnings=warnings)


def failed(code: int = status.INSTANCE_CONFLICT, comment: str = "") -> StoreOutcome:
    return StoreOutcome(CT, "1.2.3.9", "1.2", "1.2.3", failure=code, comment=comment)


UNREADABLE = StoreOutcome(failure=status.CANNOT_UNDERSTAND, comment="not a DICOM file")


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([stored()], 200),
        ([stored(), stored("1.2.3.5", "1.3")], 200),
        ([StoreOutcome(CT, "1.2.3.4", "1.2", "1.2.3", already_stored=True)], 200),
        ([stored(warnings=(status.COERCED,))], 202),
        ([stored(), failed()], 202),
        ([stored(), UNREADABLE], 202),
        ([failed()], 409),
        ([UNREADABLE], 409),
        ([], 400),
    ],
)
def test_the_status_sums_the_outcomes_up(outcomes: list[StoreOutcome], code: int) -> None:
    assert build(outcomes, ROOT)[0] == code


def test_each_outcome_stands_in_its_sequence_and_clients_can_read_it() -> None:
    _, document = build([stored(), failed(), UNREADABLE, stored("1.2.3.5", warnings=(0xB000,))], ROOT)
    dataset = Dataset.from_json(json.dumps(document))
    assert dataset.RetrieveURL == "http://h/dicom-web/studies/1.2"
    first, second = dataset.ReferencedSOPSequence
    assert (first.ReferencedSOPClassUID, first.ReferencedSOPInstanceUID) == (CT, "1.2.3.4")
    assert first.RetrieveURL == "http://h/dicom-web/studies/1.2/series/1.2.3/instances/1.2.3.4"
    assert "WarningReason" not in first
    assert second.WarningReason == 0xB000
    (refused,) = dataset.FailedSOPSequence
    assert (refused.ReferencedSOPInstanceUID, refused.FailureReason) == ("1.2.3.9", status.INSTANCE_CONFLICT)
    assert refused[0x00000902].value == status.MEANINGS[status.INSTANCE_CONFLICT]
    (other,) = dataset.OtherFailuresSequence
    assert other.FailureReason == status.CANNOT_UNDERSTAND
    assert other[0x00000902].value == "not a DICOM file"


def test_sequences_without_items_are_absent() -> None:
    assert list(build([stored()], ROOT)[1]) == ["00081190", "00081199"]
    assert build([UNREADABLE], ROOT)[1]["00081190"] == {"vr": "UR"}


def test_keys_ascend_at_every_level() -> None:
    outcomes = [stored(warnings=(0xB000,)), failed(), UNREADABLE]
    random.shuffle(outcomes)
    pending = [build(outcomes, ROOT)[1]]
    while pending:
        dataset = pending.pop()
        assert list(dataset) == sorted(dataset)
        pending += [item for element in dataset.values() if element["vr"] == "SQ" for item in element["Value"]]


def test_an_instance_without_a_known_class_is_among_the_other_failures() -> None:
    outcome = StoreOutcome(None, "1.2.3.4", failure=status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS)
    assert list(build([outcome], ROOT)[1]) == ["00081190", "0008119A"]


def test_several_studies_have_no_common_url() -> None:
    _, several = build([stored(), stored("1.2.3.5", "1.3")], ROOT)
    assert several["00081190"] == {"vr": "UR"}
    _, one = build([stored(), failed()], ROOT)
    assert one["00081190"] == {"vr": "UR", "Value": ["http://h/dicom-web/studies/1.2"]}


def test_a_long_comment_fits_its_value_representation() -> None:
    _, document = build([failed(comment="x" * 200)], ROOT)
    assert document["00081198"]["Value"][0]["00000902"]["Value"] == ["x" * 64]


def test_json_and_xml_say_the_same() -> None:
    _, document = build([stored(), failed()], ROOT)
    assert [child.get("tag") for child in ElementTree.fromstring(encode_native_xml(document))] == list(document)


def test_thousands_of_failures_cost_linear_time() -> None:
    _, document = build([failed()] * 20_000, ROOT)
    assert len(document["00081198"]["Value"]) == 20_000


def test_an_attribute_that_was_left_out_is_named_with_the_sequences_around_it() -> None:
    note = AttributeNote(0x00080104, status.ELEMENTS_DISCARDED, "Not text", ((0x00400275, 2), (0x00400008, 1)))
    outcome = StoreOutcome(CT, "1.2.3.4", "1.2", "1.2.3").with_notes([note])
    code, document = build([outcome], ROOT)
    (item,) = document["00081199"]["Value"]
    (attribute,) = item["00741048"]["Value"]
    assert code == 202
    assert item["00081196"] == {"vr": "US", "Value": [status.ELEMENTS_DISCARDED]}
    assert attribute["00720026"] == {"vr": "AT", "Value": ["00080104"]}
    assert attribute["00720052"] == {"vr": "AT", "Value": ["00400275", "00400008"]}
    assert attribute["00741057"] == {"vr": "IS", "Value": [2, 1]}
    assert attribute["00000902"] == {"vr": "LO", "Value": ["Not text"]}


def test_attributes_of_a_refused_instance_are_named_too_and_give_no_warning_reason() -> None:
    outcome = failed().with_notes([AttributeNote(0x00100030, status.COERCED, "Not a date")])
    _, document = build([outcome], ROOT)
    (item,) = document["00081198"]["Value"]
    assert "00081196" not in item
    assert item["00741048"]["Value"][0]["00720026"]["Value"] == ["00100030"]
