"""Whatever data sets hold, an examination comes to its end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pydicom_files import bundled_paths

from dicomweb_archive.checks.catalogue import PUBLIC_RELEASE
from dicomweb_archive.checks.content import SeriesPart, StoredFile
from dicomweb_archive.checks.examination import Examination
from dicomweb_archive.checks.structural import InstanceJudge
from dicomweb_archive.dicom.instance import Element, PixelData, Value
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.errors import InvalidInstanceError

TAGS = (
    0x00080005, 0x00080008, 0x00080020, 0x00080060, 0x0008103E, 0x00081032, 0x00090010, 0x00091001, 0x00100010,
    0x00100020, 0x00100030, 0x00101000, 0x00101010, 0x00120062, 0x00120064, 0x00180015, 0x00200013, 0x00200032,
    0x00200037, 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280100, 0x00280301,
    0x00280302, 0x00280303, 0x60003000, 0x7FE00010,
)  # fmt: skip
TEXTS = (
    "",
    " ",
    "YES",
    "NO",
    "CT",
    "19340130",
    "99999999",
    "1e999",
    "nan",
    "-1",
    "090Y",
    "²34Y",
    "٣٣٣٣٣٣٣٣",
    "Ω.^=",
    "HEAD",
)

scalars = st.one_of(st.none(), st.sampled_from(TEXTS), st.text(max_size=12), st.integers(), st.floats())
values: st.SearchStrategy[tuple[Value, ...]] = st.lists(scalars, max_size=7).map(tuple)
plain = st.builds(
    Element, st.sampled_from(["LO", "PN", "DA", "CS", "DS", "US", "UN", "SQ"]), st.binary(max_size=4), values
)
items = st.dictionaries(st.sampled_from(TAGS), plain, max_size=4)
elements = st.one_of(
    plain, st.builds(Element, st.just("SQ"), st.binary(max_size=4), st.lists(items, max_size=2).map(tuple))
)
pixels = st.one_of(
    st.none(),
    st.builds(
        PixelData, st.just(0x7FE00010), st.just("OW"), st.just(100), st.integers(0, 2**40), st.booleans(),
        st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=3).map(tuple),
    ),
)  # fmt: skip


@st.composite
def parts(draw: st.DrawFn) -> SeriesPart:
    count = draw(st.integers(1, 3))
    columns = st.one_of(elements, st.lists(st.one_of(st.none(), elements), min_size=count, max_size=count))
    files = [
        StoredFile(f"1.{number}", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", draw(pixels))
        for number in range(count)
    ]
    held = draw(st.dictionaries(st.sampled_from(TAGS), columns, max_size=12))
    return SeriesPart("1", draw(st.sampled_from(["1.1", "1.2"])), files, dict(sorted(held.items())))


@settings(max_examples=20, deadline=None)
@given(st.lists(parts(), max_size=2))
def test_an_examination_of_anything_ends_with_findings(given_parts: list[SeriesPart]) -> None:
    examination = Examination(PUBLIC_RELEASE)
    for part in given_parts:
        examination.add(part)
    assert all(found.message and found.instances > 0 for found in examination.finish())


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_may_stand_in_any_attribute(text: str) -> None:
    pixel_data = PixelData(0x7FE00010, "OW", 100, 8)
    held = {tag: Element("LO", text.encode(), (text,)) for tag in TAGS}
    examination = Examination(PUBLIC_RELEASE)
    examination.add(SeriesPart("1", "1.1", [StoredFile("1.2", "1.3", "1.2.840.10008.1.2.1", pixel_data)], held))
    assert examination.finish()


def test_files_of_all_kinds_are_judged() -> None:
    judge = InstanceJudge(PUBLIC_RELEASE)
    judged = 0
    for path in bundled_paths():
        try:
            scanned = scan(path.read_bytes())
        except InvalidInstanceError:
            continue
        kind = scanned.sop_class_uid, scanned.transfer_syntax_uid
        file = StoredFile(scanned.sop_instance_uid, *kind, scanned.pixel_data)
        about = scanned.study_instance_uid, scanned.series_instance_uid
        part = SeriesPart(*about, [file], scanned.attributes())
        examination = Examination(PUBLIC_RELEASE)
        examination.add(part)
        examination.take(judge.judge(scanned))
        examination.finish()
        judged += 1
    assert judged > 50
