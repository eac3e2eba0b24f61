"""includefield on metadata: which attributes are wanted."""

import pytest

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.metadata_fields import ALWAYS, format_metadata_fields, parse_metadata_fields


def fields(*values: str) -> frozenset[int] | None:
    return parse_metadata_fields([("accept", "x"), *(("includefield", value) for value in values)])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(["PatientName"], {0x00100010}, id="keyword"),
        pytest.param(["00100010"], {0x00100010}, id="tag"),
        pytest.param(["PatientName,0020000e", "Rows"], {0x00100010, 0x00280010}, id="several and commas"),
        pytest.param(["RequestAttributesSequence.ScheduledProcedureStepID"], {0x00400275}, id="path"),
        pytest.param(["00291020"], {0x00291020, 0x00290010}, id="private with its creator"),
        pytest.param(["00290010"], {0x00290010}, id="creator"),
    ],
)
def test_fields_of_metadata_are_read_from_all_their_forms(values: list[str], expected: set[int]) -> None:
    assert fields(*values) == ALWAYS | expected


@pytest.mark.parametrize("values", [[], ["all"], ["PatientName,all"]])
def test_without_fields_or_with_all_everything_is_wanted(values: list[str]) -> None:
    assert fields(*values) is None


@pytest.mark.parametrize(
    "value",
    ["", "Smith", "PatientName,", "00100", "PatientName.Rows", "00020010", "00100000", "all,Smith", "Rows," * 501],
)
def test_a_field_that_is_no_attribute_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(InvalidParameterError, match="includefield") as caught:
        fields(value)
    assert "Smith" not in str(caught.value)


def test_the_same_fields_are_always_written_alike() -> None:
    assert format_metadata_fields({0x0020000D, 0x00080018}) == "00080018,0020000D"
