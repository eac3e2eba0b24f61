"""Structured reports in words, and as the pages that are written of them."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import BasicTextSRStorage, ComprehensiveSRStorage, CTImageStorage, KeyObjectSelectionDocumentStorage
from tests.factories import identified
from tests.pydicom_files import bundled, read

from dicomweb_archive.dicom.report import ContentItem, Report, is_report, read_report
from dicomweb_archive.wire.report_pages import HTML, PLAIN, write_report

NASTY = "<script>alert(1)</script>&\"'\u202e\x1b[31m"


def made(**values: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def code(meaning: str, value: str = "121071", scheme: str = "DCM") -> list[Dataset]:
    return [made(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def node(kind: str, name: str = "Finding", relationship: str = "CONTAINS", **values: Any) -> Dataset:
    return made(RelationshipType=relationship, ValueType=kind, ConceptNameCodeSequence=code(name), **values)


def measured(number: str, unit: str, scheme: str = "UCUM", meaning: str = "meaning") -> list[Dataset]:
    return [made(NumericValue=number, MeasurementUnitsCodeSequence=code(meaning, unit, scheme))]


def image_reference(**values: Any) -> list[Dataset]:
    return [made(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID="1.2.3", **values)]


def document(*items: Dataset, **overrides: Any) -> Dataset:
    dataset = identified(sop_class=ComprehensiveSRStorage)
    dataset.update(made(ConceptNameCodeSequence=code("Chest report"), CompletionFlag="COMPLETE", **overrides))
    dataset.ContentSequence = list(items)
    return dataset


VALUES = {
    "text": (node("TEXT", TextValue="No mass.\r\nNo fluid."), "No mass.\nNo fluid."),
    "code": (node("CODE", ConceptCodeSequence=code("Mass")), "Mass"),
    "code without meaning": (node("CODE", ConceptCodeSequence=[made(CodeValue="M-1")]), "M-1"),
    "length": (node("NUM", MeasuredValueSequence=measured("12.50", "mm")), "12.50 mm"),
    "number": (node("NUM", MeasuredValueSequence=measured("3", "1")), "3"),
    "count": (node("NUM", MeasuredValueSequence=measured("72", "{beats}/min", meaning="beats a minute")),
              "72 beats a minute"),
    "no number": (node("NUM", MeasuredValueSequence=[], NumericValueQualifierCodeSequence=code("Not a number")),
                  "Not a number"),
    "neither": (node("NUM"), "no value"),
    "date": (node("DATE", Date="20240229"), "2024-02-29"),
    "time": (node("TIME", Time="101530.5"), "10:15:30"),
    "moment": (node("DATETIME", DateTime="20240229101530.000000+0100"), "2024-02-29 10:15:30 +0100"),
    "name": (node("PNAME", PersonName="Doe^Jane^^Dr"), "Doe, Jane, Dr"),
    "UID": (node("UIDREF", UID="1.2.3"), "1.2.3"),
    "image": (node("IMAGE", ReferencedSOPSequence=image_reference(ReferencedFrameNumber=[1, 7])),
              "CT Image Storage 1.2.3 frame 1, 7"),
    "graphic": (node("SCOORD", GraphicType="POLYLINE", GraphicData=[1.0, 2.0, 3.0, 4.0]), "polyline of 2 points"),
    "graphic in space": (node("SCOORD3D", GraphicType="POINT", GraphicData=[1.0, 2.0, 3.0]), "point of 1 points"),
    "moments": (node("TCOORD", TemporalRangeType="SEGMENT", ReferencedTimeOffsets=["1.5", "2"]), "segment 1.5, 2"),
    "reference": (made(RelationshipType="CONTAINS", ReferencedContentItemIdentifier=[1, 2, 1]), "see item 1.2.1"),
    "unknown kind": (node("TABLE"), "[TABLE: not shown]"),
    "no kind": (made(RelationshipType="CONTAINS"), "[no value type: not shown]"),
    "container": (node("CONTAINER"), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_an_item_says_its_value_in_words(name: str) -> None:
    item, said = VALUES[name]
    (read_item,) = read_report(document(item)).items
    assert read_item.value == said


def test_a_report_has_its_title_whom_it_is_about_and_its_state() -> None:
    observer = made(VerifyingObserverName="Read^Er", VerificationDateTime="20240201120000")
    report = read_report(document(VerificationFlag="VERIFIED", VerifyingObserverSequence=[observer]))
    facts = dict(report.facts)
    assert report.title == "Chest report"
    assert facts["Patient"] == "Doe, Jane"
    assert facts["Birth date"] == "1970-01-02"
    assert facts["Completion"] == "complete"
    assert facts["Verification"] == "verified, Read, Er 2024-02-01 12:00:00"
    assert "Institution" not in facts


def test_what_a_statement_rests_on_is_said_and_nothing_is_lost_on_the_way_down() -> None:
    evidence = node("IMAGE", relationship="INFERRED FROM", ReferencedSOPSequence=image_reference())
    finding = node("CODE", ConceptCodeSequence=code("Mass"), ContentSequence=[evidence])
    report = read_report(document(node("CONTAINER", "Findings", ContentSequence=[finding])))
    lines = write_report(report, PLAIN).decode().splitlines()
    assert lines[-3:] == [
        "1.1 Findings",
        "  1.1.1 Finding: Mass",
        "    1.1.1.1 (inferred from) Finding: CT Image Storage 1.2.3",
    ]


def test_reports_are_known_by_their_sop_class() -> None:
    assert all(map(is_report, (BasicTextSRStorage, ComprehensiveSRStorage, KeyObjectSelectionDocumentStorage)))
    assert not any(map(is_report, (CTImageStorage, "1.2.840.10008.5.1.4.1.1.881", "")))


class Reader(HTMLParser):
    """Collects what a browser would show, and which elements it would make."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.elements = "", set[str]()
        self.feed(page)
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert all(name in ("charset", "scope", "align") for name, _ in attrs)
        self.elements.add(tag)
        self.text += "\n"


OURS = {"html", "head", "meta", "title", "body", "h1", "table", "tr", "th", "td", "ol", "li", "b", "br"}


def test_nothing_that_a_report_says_becomes_markup_or_steers_a_terminal() -> None:
    hostile = node("TEXT", NASTY, TextValue=NASTY, ContentSequence=[node("PNAME", PersonName=NASTY)])
    report = read_report(document(hostile, InstitutionName=NASTY, VerificationFlag=NASTY))
    page = Reader(write_report(report, HTML).decode())
    assert page.elements <= OURS
    assert page.text.count("<script>alert(1)</script>&\"'") >= 3
    for written in (page.text, write_report(report, PLAIN).decode()):
        assert not re.search("[\u202e\x1b]", written)


TEXTS = st.text(max_size=12)


@settings(max_examples=40)
@given(TEXTS, TEXTS, TEXTS)
def test_any_text_is_written_without_markup_of_its_own(name: str, value: str, relationship: str) -> None:
    item = ContentItem(relationship, name, value, (ContentItem("", value, name),))
    report = Report(name, ((name, value),), (item,))
    assert Reader(write_report(report, HTML).decode()).elements <= OURS
    assert write_report(report, PLAIN).decode()


def said(item: Dataset) -> Iterator[str]:
    """Yield what the items below one say in words: their names, codes and texts."""
    for each in item.get("ContentSequence", []):
        for keyword in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
            yield from (code.CodeMeaning for code in each.get(keyword, []))
        yield from filter(None, [each.get("TextValue")])
        yield from said(each)


@pytest.mark.parametrize("name", ["reportsi.dcm", "reportsi_with_empty_number_tags.dcm", "test-SR.dcm"])
def test_every_text_of_a_real_report_is_on_its_page(name: str) -> None:
    dataset = read(bundled(name))
    page = " ".join(Reader(write_report(read_report(dataset), HTML).decode()).text.split())
    texts = [" ".join(text.split()) for text in said(dataset)]
    assert len(texts) > 5
    assert [text for text in texts if text not in page] == []


def test_what_breaks_the_module_is_left_out_and_the_rest_is_told() -> None:
    broken = document(node("TEXT", TextValue="still here"))
    del broken.ConceptNameCodeSequence
    broken.add_new(0x0040A043, "LO", "no sequence")
    broken.PatientBirthDate = ""
    broken.add_new(0x0040A073, "OB", b"\x00\x01")
    report = read_report(broken)
    assert report.title == "Structured report"
    assert [item.value for item in report.items] == ["still here"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_value_that_cannot_be_read_says_so_and_the_rest_is_told() -> None:
    image = image_reference()
    image[0][0x00081160] = RawDataElement(Tag(0x00081160), "IS", 4, b"inf ", 0, False, True)
    report = read_report(document(node("IMAGE", ReferencedSOPSequence=image), node("TEXT", TextValue="still here")))
    assert [item.value for item in report.items] == ["CT Image Storage 1.2.3 frame [not readable]", "still here"]
