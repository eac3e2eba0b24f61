"""Rules of edits as requests write them."""

from typing import Any

import pytest

from dicomweb_archive.dicom.editing.rules import EditRules
from dicomweb_archive.errors import ArchiveError, ConflictError, InvalidParameterError
from dicomweb_archive.wire.edit_rules import read_rules


@pytest.mark.parametrize(
    ("rule", "refusal", "named"),
    [
        (
            {"attribute": "StudyInstanceUID", "action": "set", "value": "1.2"},
            InvalidParameterError,
            "rules[0].attribute",
        ),
        ({"attribute": "FrameOfReferenceUID", "action": "set", "value": "1.2"}, ConflictError, "UID"),
        (
            {"attribute": '0019"PHANTOM_01"02', "action": "set", "value": "1.2", "vr": "UI"},
            InvalidParameterError,
            "rules[0].vr",
        ),
        ({"attribute": "Rows", "action": "remove"}, InvalidParameterError, "rules[0].attribute"),
        ({"attribute": "PixelData", "action": "remove"}, InvalidParameterError, "rules[0].attribute"),
        ({"attribute": "StudyDate", "action": "set", "value": "Jane Doe"}, InvalidParameterError, "rules[0].value"),
        ({"attribute": "Jane Doe", "action": "remove"}, InvalidParameterError, "rules[0].attribute"),
        ({"attribute": "00191002", "action": "remove"}, InvalidParameterError, "private"),
        (
            {"attribute": "ProcedureCodeSequence", "action": "set", "value": "x"},
            InvalidParameterError,
            "rules[0].attribute",
        ),
        ({"attribute": "PatientID", "action": "map"}, InvalidParameterError, "rules[0].map"),
        ({"attribute": "PatientID", "action": "remove", "value": "Jane"}, InvalidParameterError, "rules[0].value"),
        ({"attribute": "Rows.PatientID", "action": "remove"}, InvalidParameterError, "path"),
        (
            {"attribute": "PatientID", "action": "remove", "when": [{"attribute": "Modality"}]},
            InvalidParameterError,
            "rules[0].when[0]",
        ),
        (
            {"attribute": "PatientID", "action": "replace", "find": "", "replacement": "Jane"},
            InvalidParameterError,
            "rules[0].find",
        ),
    ],
)
def test_rules_that_nothing_could_take_are_refused_without_an_echo(
    rule: dict[str, Any], refusal: type[ArchiveError], named: str
) -> None:
    with pytest.raises(refusal) as refused:
        read_rules([rule])
    assert (named in str(refused.value), "Jane" in str(refused.value)) == (True, False)


def test_rules_are_kept_as_they_were_read() -> None:
    rules = read_rules(
        [
            {"attribute": "PatientName", "action": "set", "value": "A^B"},
            {"attribute": '0019"PHANTOM_01"02', "action": "set", "value": "1", "vr": "SL"},
            {"attribute": "00191002", "creators": {"00190010": "PHANTOM_01"}, "action": "remove"},
            {
                "attribute": "ProcedureCodeSequence.CodeMeaning",
                "action": "replace",
                "find": "a",
                "replacement": "",
                "when": [
                    {"attribute": "ProcedureCodeSequence.CodeValue", "is_not": ["1"]},
                    {"attribute": "Modality", "contains": "C"},
                    {"attribute": "00080080", "present": False},
                ],
            },
            {"attribute": "StudyDate", "action": "map", "map": {"": "20200101", "x": None}},
        ]
    )
    assert EditRules.from_json(rules.to_json()) == rules
    assert [said["attribute"] for said in rules.to_json()] == [
        "00100010", '0019"PHANTOM_01"02', '0019"PHANTOM_01"02', "00081032.00080104", "00080020",
    ]  # fmt: skip
