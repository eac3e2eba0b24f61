"""Files rewritten by edits, with pydicom as the oracle: what is not edited stays as it was, pixels byte for byte."""

import warnings
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from tests.factories import image, part10
from tests.pydicom_files import bundled, bundled_names, bundled_paths, read

from dicomweb_archive.dicom.editing.files import decode_raw, edit_file, encode_raw, restore_file
from dicomweb_archive.dicom.editing.planning import EditPlan, plan_edit
from dicomweb_archive.dicom.editing.rules import EditRules
from dicomweb_archive.dicom.editing.unfit import Unfit, UnfitForEditError
from dicomweb_archive.dicom.part10 import DEFLATED_SYNTAXES, scan
from dicomweb_archive.errors import InvalidInstanceError


def rules(*said: dict[str, Any]) -> EditRules:
    return EditRules.from_json(list(said))


def planned(data: bytes, of: EditRules) -> EditPlan:
    return plan_edit(of, {tag: element.json for tag, element in scan(data).attributes().items()})


def edited(data: bytes, of: EditRules) -> bytes:
    made = edit_file(data, planned(data, of).operations)
    return made.head + data[made.replaced :]


def elements(dataset: Dataset) -> dict[int, DataElement]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {int(element.tag): element for element in dataset if element.tag.element}


SOME = rules(
    {"attribute": "00100020", "action": "set", "value": "NEW-ID"},
    {"attribute": "00081030", "action": "set", "value": "Corrected"},
    {"attribute": "00080080", "action": "remove"},
    {"attribute": '0019"CORRECTED BY"02', "action": "set", "value": "12", "vr": "SL"},
)


# Files that a store refuses, so that there is nothing to edit.
REFUSED = {
    "JPEGLSNearLossless_08.dcm",
    "JPEGLSNearLossless_16.dcm",
    "MR_truncated.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jls_lossy_sample.dcm",
    "UN_sequence.dcm",
    "empty_charset_LEI.dcm",
    "meta_missing_tsyntax.dcm",
    "nested_priv_SQ.dcm",
    "no_meta_group_length.dcm",
    "priv_SQ.dcm",
    "rtplan_truncated.dcm",
}


@pytest.mark.parametrize("name", [name for name in bundled_names() if name not in REFUSED])
def test_nothing_but_what_is_edited_changes_and_all_of_it_can_be_undone(name: str) -> None:
    data = bundled(name)
    before = scan(data)
    plan = planned(data, SOME)
    made = edit_file(data, plan.operations)
    new = made.head + data[made.replaced :]
    after = scan(new)
    touched = {0x00100020, 0x00081030, 0x00080080} | {op.tag for op in plan.operations}
    assert {tag: each.json for tag, each in before.attributes().items() if tag not in touched} == {
        tag: each.json for tag, each in after.attributes().items() if tag not in touched
    }
    old, oracle = elements(read(data)), elements(read(new))
    assert {tag: each for tag, each in old.items() if tag not in touched} == {
        tag: each for tag, each in oracle.items() if tag not in touched
    }
    assert (oracle[0x00100020].value, oracle[0x00081030].value) == ("NEW-ID", "Corrected")
    assert 0x00080080 not in oracle
    assert list(oracle) == sorted(oracle)
    assert new[: new.find(b"DICM") + 4] == data[: data.find(b"DICM") + 4]
    undone = restore_file(new, decode_raw(encode_raw(made.old)))
    back = undone.head + new[undone.replaced :]
    if before.transfer_syntax_uid in DEFLATED_SYNTAXES:
        assert elements(read(back)) == old
    else:
        assert back == data


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, None])
@pytest.mark.parametrize("undefined", [True, False])
def test_nested_and_private_attributes_are_edited_in_every_encoding(syntax: str | None, undefined: bool) -> None:
    dataset = image()
    dataset["ProcedureCodeSequence"].is_undefined_length = undefined
    dataset.ProcedureCodeSequence[0].is_undefined_length_sequence_item = undefined
    data = part10(dataset) if syntax is None else part10(dataset, syntax)
    new = edited(
        data,
        rules(
            {
                "attribute": "00081032.00080104",
                "action": "replace",
                "find": "CT",
                "replacement": "Computed tomography of",
            },
            {"attribute": "00081032.00080102", "action": "map", "map": {"LN": "DCM", "X": "Y"}},
            {"attribute": "00081032.00080103", "action": "set", "value": "01"},
            {"attribute": '0019"PHANTOM_01"02', "action": "set", "value": "-5", "vr": "SL"},
            {
                "attribute": "00280010",
                "action": "set",
                "value": "77",
                "when": [{"attribute": "00080060", "is": ["MR"]}],
            },
            {"attribute": "00180050", "action": "map", "map": {"5.0": "2.50"}},
        ),
    )
    oracle = read(new)
    code = oracle.ProcedureCodeSequence[0]
    assert (code.CodeMeaning, code.CodingSchemeDesignator, code.CodingSchemeVersion, code.CodeValue) == (
        "Computed tomography of Head",
        "DCM",
        "01",
        "24725-4",
    )
    # Implicit VR does not tell what it is.
    assert oracle[0x0019, 0x1002].value in (-5, b"\xfb\xff\xff\xff")
    assert (oracle.Rows, str(oracle.SliceThickness)) == (16, "2.50")
    assert bytes(oracle.PixelData) == bytes(read(data).PixelData)


def test_elements_in_another_order_are_edited_where_they_are() -> None:
    data = part10(image(PatientName="Doe^Jane", StudyDescription="Head"))
    element = data[data.index(b"\x08\x00\x30\x10LO") :][:12]
    moved = data.replace(element, b"").replace(b"\x10\x00\x20\x00LO", element + b"\x10\x00\x20\x00LO")
    assert scan(moved).attributes()[0x00081030].json == scan(data).attributes()[0x00081030].json
    removed = edited(moved, rules({"attribute": "00081030", "action": "remove"}))
    assert removed == moved.replace(element, b"")
    changed = edited(moved, rules({"attribute": "00081030", "action": "set", "value": "Neck"}))
    assert changed == moved.replace(element, element.replace(b"Head", b"Neck"))


@pytest.mark.parametrize(
    "rule",
    [
        {"attribute": "00081030", "action": "remove"},
        {"attribute": "00081030", "action": "set", "value": "Neck"},
        {"attribute": "00081010", "action": "set", "value": "NEW"},
    ],
    ids=["removed", "changed", "added"],
)
def test_elements_in_another_order_come_back_where_they_were(rule: dict[str, Any]) -> None:
    data = part10(image(StudyDescription="Head"))
    element = data[data.index(b"\x08\x00\x30\x10LO") :][:12]
    end = b"\x10\x00\x20\x00LO"
    data = data.replace(element, b"").replace(end, element + end)
    made = edit_file(data, planned(data, rules(rule)).operations)
    new = made.head + data[made.replaced :]
    assert new != data
    undone = restore_file(new, decode_raw(encode_raw(made.old)))
    assert undone.head + new[undone.replaced :] == data
    redone = restore_file(data, decode_raw(encode_raw(undone.old)))
    assert redone.head + data[redone.replaced :] == new


def test_uids_of_private_attributes_are_not_edited() -> None:
    dataset = image()
    dataset.add_new(0x00190012, "LO", "NOBODY KNOWS")
    dataset.add_new(0x00191203, "UI", "1.2.3")
    for action in ({"action": "set", "value": "1.2.4"}, {"action": "map", "map": {"1.2.3": "1.2.4"}}):
        with pytest.raises(UnfitForEditError) as unfit:
            edited(part10(dataset), rules({"attribute": '0019"NOBODY KNOWS"03', **action}))
        assert unfit.value.why is Unfit.UID


def test_group_lengths_go_with_what_they_told() -> None:
    dataset = image()
    data = part10(dataset)
    at = data.index(b"\x10\x00\x10\x00PN")
    with_length = data[:at] + b"\x10\x00\x00\x00UL\x04\x00\x63\x00\x00\x00" + data[at:]
    operations = planned(with_length, rules({"attribute": "00100020", "action": "set", "value": "X"})).operations
    made = edit_file(with_length, operations)
    assert (0x0010, 0x0000) not in read(made.head + with_length[made.replaced :])
    undone = restore_file(made.head + with_length[made.replaced :], made.old)
    assert undone.head == with_length[: made.replaced]


def test_text_is_written_in_the_character_set_of_the_data_set() -> None:
    rule = rules({"attribute": "00100010", "action": "set", "value": "Müller^Änne"})
    latin = edited(part10(image(SpecificCharacterSet="ISO_IR 100", StudyDescription="Schädel")), rule)
    assert b"M\xfcller^\xc4nne" in latin
    assert (read(latin).PatientName, read(latin).StudyDescription) == ("Müller^Änne", "Schädel")
    # Nothing says otherwise, so that it may become UTF-8.
    plain = edited(part10(image(SpecificCharacterSet="ISO_IR 6")), rule)
    assert (read(plain).SpecificCharacterSet, read(plain).PatientName) == ("ISO_IR 192", "Müller^Änne")
    greek = part10(image(SpecificCharacterSet="ISO_IR 126", StudyDescription="Κρανίο"))
    with pytest.raises(UnfitForEditError) as refused:
        edited(greek, rule)
    assert refused.value.why is Unfit.CHARACTER_SET


@pytest.mark.parametrize("path", bundled_paths(), ids=lambda path: path.name)
def test_data_sets_of_all_character_sets_keep_their_text(path: Any) -> None:
    data = path.read_bytes()
    if path.parent.name != "charset_files":
        return
    try:
        before = scan(data)
    except InvalidInstanceError:
        return
    after = scan(edited(data, rules({"attribute": "00100020", "action": "set", "value": "PLAIN"})))
    assert {**before.attributes(), 0x00100020: None} == {**after.attributes(), 0x00100020: None}


def test_files_that_are_broken_are_unfit() -> None:
    data = part10(image())
    operations = planned(data, rules({"attribute": "00100020", "action": "remove"})).operations
    for broken in (data[:140], data[:-700][: data.index(b"\x20\x00\x0d\x00") + 20], b"DICM"):
        with pytest.raises(UnfitForEditError):
            edit_file(broken, operations)
