"""What rules mean for an instance."""

from typing import Any

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence
from tests.factories import image, part10

from dicomweb_archive.dicom.editing.planning import EditPlan, plan_edit
from dicomweb_archive.dicom.editing.rules import EditRules
from dicomweb_archive.dicom.editing.unfit import Unfit, UnfitForEditError
from dicomweb_archive.dicom.editing.value_rules import is_value
from dicomweb_archive.dicom.element_text import shown_text
from dicomweb_archive.dicom.part10 import scan


def planned(dataset: Dataset, *rules: dict[str, Any]) -> EditPlan:
    texts = {tag: element.json for tag, element in scan(part10(dataset)).attributes().items()}
    return plan_edit(EditRules.from_json(list(rules)), texts)


def coded(*meanings: str) -> Dataset:
    items = []
    for number, meaning in enumerate(meanings):
        item = Dataset()
        item.CodeValue, item.CodeMeaning = str(number), meaning
        items.append(item)
    return image(ProcedureCodeSequence=Sequence(items))


def test_each_rule_sees_what_those_before_it_have_made() -> None:
    plan = planned(
        image(StudyDescription="one"),
        {"attribute": "00081030", "action": "map", "map": {"one": "two"}},
        {"attribute": "00081030", "action": "replace", "find": "w", "replacement": "ooo"},
        {"attribute": "00100020", "action": "set", "value": "X", "when": [{"attribute": "00081030", "is": ["tooooo"]}]},
    )
    assert plan.changes[0][:1] + plan.changes[0][3:] == ("00081030", "one", "toooo")
    back = planned(
        image(StudyDescription="one"),
        {"attribute": "00081030", "action": "set", "value": "two"},
        {"attribute": "00081030", "action": "set", "value": "one"},
    )
    assert back == EditPlan((), ())


def test_conditions_in_the_sequences_of_the_rule_are_about_the_same_item() -> None:
    plan = planned(
        coded("Head", "Neck", "Chest"),
        {
            "attribute": "00081032.00080104",
            "action": "set",
            "value": "Throat",
            "when": [{"attribute": "00081032.00080100", "is": ["1"]}, {"attribute": "00080060", "is_not": ["MR"]}],
        },
    )
    assert [(op.parents, op.text) for op in plan.operations] == [(((0x00081032, 1),), "Throat")]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"attribute": "00080060", "is": ["CT", "MR"]}, True),
        ({"attribute": "00080060", "is_not": ["CT"]}, False),
        ({"attribute": "00104000", "is_not": ["x"]}, True),
        ({"attribute": "00104000", "present": False}, True),
        ({"attribute": "00104000", "is": [""]}, False),
        ({"attribute": "00081030", "contains": "ROUT"}, True),
        ({"attribute": '0019"PHANTOM_01"02', "is": ["709"]}, True),
        ({"attribute": '0019"OTHER"02', "present": True}, False),
        ({"attribute": "7FE00010", "is": [""]}, False),
    ],
)
def test_conditions_hold_by_value_and_presence(condition: dict[str, Any], holds: bool) -> None:
    plan = planned(image(), {"attribute": "00100020", "action": "remove", "when": [condition]})
    assert bool(plan.operations) is holds


def test_long_values_are_named_as_the_inventory_shows_them() -> None:
    long = "word " * 200
    plan = planned(
        image(ImageComments=long), {"attribute": "00204000", "action": "map", "map": {shown_text(long.rstrip()): "x"}}
    )
    assert [op.text for op in plan.operations] == ["x"]


def test_private_blocks_are_reserved_where_there_is_room() -> None:
    rule = {"attribute": '0019"MINE"02', "action": "set", "value": "a", "vr": "LO"}
    plan = planned(image(), rule)
    assert [(op.tag, op.vr, op.text) for op in plan.operations] == [
        (0x00190011, "LO", "MINE"),
        (0x00191102, "LO", "a"),
    ]
    full = image()
    for block in range(0x10, 0x100):
        full.add_new((0x0019, block), "LO", f"TAKEN {block}")
    with pytest.raises(UnfitForEditError) as refused:
        planned(full, rule)
    assert refused.value.why is Unfit.NO_BLOCK


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"attribute": '0019"PHANTOM_01"23', "action": "set", "value": "not a number"}, Unfit.VALUE),
        ({"attribute": '0019"PHANTOM_01"02', "action": "replace", "find": "7", "replacement": "8"}, Unfit.BINARY),
        ({"attribute": '0019"PHANTOM_01"77', "action": "set", "value": "x"}, Unfit.NO_VR),
        ({"attribute": "00081032", "action": "set", "value": "x"}, Unfit.BINARY),
    ],
)
def test_instances_that_cannot_take_a_rule_are_unfit(rule: dict[str, Any], why: Unfit) -> None:
    with pytest.raises(UnfitForEditError) as refused:
        planned(image(), rule)
    assert refused.value.why is why


def test_what_is_inside_a_sequence_that_goes_is_not_told_apart() -> None:
    plan = planned(
        coded("Head"),
        {"attribute": "00081032.00080104", "action": "set", "value": "x"},
        {"attribute": "00081032", "action": "remove"},
    )
    assert [(change.path, change.kind) for change in plan.changes] == [("00081032", "removed")]


@pytest.mark.parametrize(
    ("vr", "good", "bad"),
    [
        ("DA", "20240229", "20230229"),
        ("TM", "235960.5", "24"),
        ("DT", "20240101120000.5+0100", "2024-01-01"),
        ("DT", "2024", "24"),
        ("AS", "030Y", "30Y"),
        ("CS", "A_B 1", "a"),
        ("IS", "-12", "1.5"),
        ("DS", "1e-5", "one"),
        ("PN", "A^B=C=D", "A=B=C=D"),
        ("LO", "x" * 64, "x" * 65),
        ("LT", "two\r\nlines", "\x00"),
        ("US", "7", "x"),
        ("UI", "1.2.3", "1..2"),
        ("OB", "", "x"),
    ],
)
def test_texts_are_values_of_their_vr(vr: str, good: str, bad: str) -> None:
    assert is_value(vr, good, 0x00100020) is (vr != "OB")
    assert not is_value(vr, bad, 0x00100020)
