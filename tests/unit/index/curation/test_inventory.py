"""The element inventory, held against what pydicom reads in the same files."""

from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import pytest
from pydicom import DataElement, Dataset, dcmread
from tests.factories import ct_series, image, mr_series, part10
from tests.stored import segment_of

from dicomweb_archive.dicom.element_text import LONGEST_TEXT
from dicomweb_archive.index.curation.element_values import is_path, values_of
from dicomweb_archive.index.curation.inventory import InventoryCount, PathTally
from dicomweb_archive.index.segments.building import build_segment
from dicomweb_archive.index.segments.document import Document, decode_document

SERIES = (
    ct_series(5, study=1),
    ct_series(3, study=1, series=2, BodyPartExamined="HEAD", PatientComments=""),
    mr_series(2, study=2, BodyPartExamined="KNEE"),
)


def documents(files: Sequence[bytes], size: int) -> Iterator[tuple[Document, int]]:
    for start in range(0, len(files), size):
        piece = files[start : start + size]
        yield decode_document(build_segment(segment_of(piece), b"secret").document), len(piece)


def counted(*series: Sequence[bytes], size: int = 100, **options: Any) -> InventoryCount:
    count = InventoryCount(**options)
    for number, files in enumerate(series):
        for document, instances in documents(files, size):
            count.add(document, instances, number)
    count.finish()
    return count


def values_at(tally: PathTally) -> dict[str | None, tuple[int, int]]:
    return {text: (value.instances, value.series) for text, value in tally.values.items()}


def read_by_pydicom(*series: Sequence[bytes]) -> dict[str, dict[str | None, tuple[int, int]]]:
    """Count standard elements the slow way."""
    instances: Counter[tuple[str, str | None]] = Counter()
    in_series: Counter[tuple[str, str | None]] = Counter()
    for files in series:
        found = [set(_pairs(dcmread(BytesIO(data)))) for data in files]
        for pairs in found:
            instances.update(pairs)
        in_series.update(set().union(*found))
    result: dict[str, dict[str | None, tuple[int, int]]] = {}
    for (path, text), number in instances.items():
        result.setdefault(path, {})[text] = (number, in_series[path, text])
    return result


def _pairs(dataset: Dataset, prefix: str = "") -> Iterator[tuple[str, str | None]]:
    for element in dataset:
        path = f"{prefix}{element.tag:08X}"
        if element.tag.is_private:
            continue
        if element.VR == "SQ":
            for item in element.value:
                yield from _pairs(item, f"{path}.")
        else:
            yield path, _text(element)


def _text(element: DataElement) -> str | None:
    if element.VR == "OW":
        return None
    if element.value is None or element.value == "":
        return ""
    values = element.value if element.VM > 1 else [element.value]
    return "\\".join(str(value) for value in values)


@pytest.mark.parametrize("size", [1, 2, 100], ids=["alone", "in-pairs", "together"])
def test_values_are_those_that_pydicom_reads_however_they_came(size: int) -> None:
    count = counted(*SERIES, size=size)
    found = {path: values_at(tally) for path, tally in count.paths.items()}
    expected = read_by_pydicom(*SERIES)
    # JSON says that all text is UTF-8 (PS3.18 F.2.2).
    expected.pop("00080005")
    assert {path: found[path] for path in expected} == expected
    assert (count.instances, count.series) == (10, 3)
    assert (count.paths["00180015"].instances, count.paths["00180015"].series) == (5, 2)


def test_private_elements_are_found_by_their_creator_in_whichever_block() -> None:
    elsewhere = image(study=3)
    del elsewhere[0x00190010], elsewhere[0x00191002], elsewhere[0x00191023]
    for name in ("OTHER", "PHANTOM_01"):
        elsewhere.private_block(0x0019, name, create=True).add_new(0x02, "SL", 709)
    count = counted(ct_series(1), [part10(elsewhere)])
    assert values_at(count.paths['0019"PHANTOM_01"02']) == {"709": (2, 2)}
    assert values_at(count.paths['0019"OTHER"02']) == {"709": (1, 1)}
    only = counted(ct_series(1), [part10(elsewhere)], only='0019"PHANTOM_01"02')
    assert {path: values_at(tally) for path, tally in only.paths.items()} == {'0019"PHANTOM_01"02': {"709": (2, 2)}}


def test_a_nested_value_counts_once_an_instance() -> None:
    code = Dataset()
    code.CodeValue = "T-1"
    twice = image(ProcedureCodeSequence=[code, code])
    count = counted([part10(twice)], only="00081032.00080100")
    assert values_at(count.paths["00081032.00080100"]) == {"T-1": (1, 1)}
    assert list(count.paths) == ["00081032.00080100"]


def test_more_values_than_are_told_apart_are_said() -> None:
    count = counted(ct_series(5), most_values=3)
    tally = count.paths["00200013"]
    assert (len(tally.values), tally.is_cut, tally.instances) == (3, True, 5)
    assert not count.paths["00080060"].is_cut


def test_the_most_frequent_values_come_first() -> None:
    count = counted(ct_series(3, PatientName="B^B"), ct_series(1, series=2, PatientName="A^A"))
    names = count.paths["00100010"]
    assert [text for text, _ in names.most_frequent(5)] == ["B^B", "A^A"]
    assert [text for text, _ in names.most_frequent(1, 1)] == ["A^A"]


def test_long_values_stay_distinct_and_short_enough() -> None:
    found = {
        values_of("00104000", b'{"vr":"LT","Value":["' + b"x" * 600 + end + b'"]}').values[0] for end in (b"1", b"2")
    }
    assert len(found) == 2
    assert all(len(text) < LONGEST_TEXT + 30 for _, text in found if text is not None)


def test_numbers_keep_their_digits_and_binary_values_are_not_shown() -> None:
    assert values_of("00180050", b'{"vr":"DS","Value":[1.500,2]}').values == (("00180050", "1.500\\2"),)
    assert values_of("00282000", b'{"vr":"OB","InlineBinary":"AAA="}').values == (("00282000", None),)
    assert values_of("7FE00010", b'{"vr":"OW","BulkDataURI":"\x1a7FE00010"}').values == (("7FE00010", None),)
    names = b'{"vr":"PN","Value":[{"Alphabetic":"A","Phonetic":"C"},null]}'
    assert values_of("00100010", names).values == (("00100010", "A==C\\"),)


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("00100010", True),
        ("00081032.00080100", True),
        ('0019"A "x". B"02', True),
        ("PatientName", False),
        ("", False),
        ("00100010.", False),
        ("0010001", False),
        ("00100010'; drop", False),
    ],
)
def test_only_names_of_the_index_are_paths(name: str, sound: bool) -> None:
    assert is_path(name) is sound


def test_values_of_all_paths_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicomweb_archive.index.curation.inventory.MOST_VALUES_OF_ALL", 40)
    count = counted(*SERIES)
    assert sum(len(tally.values) for tally in count.paths.values()) == count.values == 40
    assert any(tally.is_cut for tally in count.paths.values())
    # What is not told apart is counted still.
    assert count.paths["00080018"].instances == 10
