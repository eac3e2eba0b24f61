"""Reason codes lie in the ranges of PS3.18 I.2 and can be said in words."""

import pytest

from dicomweb_archive.dicom import status


def test_every_code_has_a_meaning_of_its_own() -> None:
    codes = {value for name, value in vars(status).items() if name.isupper() and isinstance(value, int)}
    assert codes == set(status.MEANINGS)


@pytest.mark.parametrize(
    ("code", "same_as"),
    [
        (0xA7FF, status.OUT_OF_RESOURCES),
        (0xA9FE, status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS),
        (0xC123, status.CANNOT_UNDERSTAND),
        (0x0111, status.PROCESSING_FAILURE),
    ],
)
def test_an_unknown_code_is_read_by_its_range(code: int, same_as: int) -> None:
    assert status.meaning_of(code) == status.MEANINGS[same_as]


def test_an_outcome_without_failure_is_stored() -> None:
    assert status.StoreOutcome(sop_instance_uid="1.2").is_stored
    assert not status.StoreOutcome(failure=status.TRUNCATED).is_stored
