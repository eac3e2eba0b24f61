"""Names of paths in the index, told in the words of a search."""

import pytest

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.held_attributes import held_attribute, path_steps

CASES = [
    ((PathStep(0x00100010),), "00100010", "PatientName", "Patient's Name", {}),
    (
        (PathStep(0x00321064), PathStep(0x00080100)),
        "00321064.00080100",
        "RequestedProcedureCodeSequence.CodeValue",
        "Code Value",
        {},
    ),
    ((PathStep(0x00190002, "PHANTOM_01"),), "00191002", None, None, {"00190010": "PHANTOM_01"}),
    (
        (PathStep(0x00290010, 'A."B".00190023'), PathStep(0x00290011, "C"), PathStep(0x00290012, 'A."B".00190023')),
        "00291010.00291111.00291012",
        None,
        None,
        {"00290010": 'A."B".00190023', "00290011": "C"},
    ),
    ((PathStep(0x00190010),), "00190010", None, None, {}),
]


@pytest.mark.parametrize(("steps", "path", "keyword", "name", "creators"), CASES, ids=[case[1] for case in CASES])
def test_a_path_of_the_index_reads_as_a_search_writes_it(
    steps: tuple[PathStep, ...], path: str, keyword: str | None, name: str | None, creators: dict[str, str]
) -> None:
    stored = str(AttributePath(steps, "UN"))
    assert tuple(path_steps(stored)) == steps
    told = held_attribute(stored)
    assert (told.path, told.keyword, told.name, dict(told.creators)) == (path, keyword, name, creators)
    assert told.private_creator == steps[-1].private_creator


def test_attributes_are_found_by_any_of_their_names() -> None:
    nested = held_attribute("00321064.00080100")
    assert nested.contains("codevalue")
    assert nested.contains("CODE VALUE")
    assert nested.contains("1064.0008")
    assert not nested.contains("meaning")
    assert nested.starts_with("0032")
    assert nested.starts_with("requestedprocedure")
    assert not nested.starts_with("CodeValue")
    assert held_attribute('0019"PHANTOM_01"02').contains("phantom")
