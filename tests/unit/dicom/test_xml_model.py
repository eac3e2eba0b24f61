"""DICOM JSON becomes well-formed Native DICOM Model documents (PS3.19 A.1)."""

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb_archive.dicom.xml_model import encode_native_xml

NAMESPACE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"


def attribute(dataset: dict[str, Any] | bytes, tag: str) -> ElementTree.Element:
    root = ElementTree.fromstring(encode_native_xml(dataset))
    (found,) = [child for child in root if child.get("tag") == tag]
    return found


def values(element: ElementTree.Element) -> list[tuple[str | None, str | None]]:
    return [(value.get("number"), value.text) for value in element.findall(f"{NAMESPACE}Value")]


def test_the_root_preserves_space() -> None:
    root = ElementTree.fromstring(encode_native_xml({}))
    assert root.tag == f"{NAMESPACE}NativeDicomModel"
    assert root.get("{http://www.w3.org/XML/1998/namespace}space") == "preserve"
    assert len(root) == 0


def test_values_are_numbered_and_empty_ones_keep_their_place() -> None:
    found = attribute({"00080008": {"vr": "CS", "Value": ["ORIGINAL", None, " A&B<C> "]}}, "00080008")
    assert (found.get("vr"), found.get("keyword")) == ("CS", "ImageType")
    assert values(found) == [("1", "ORIGINAL"), ("2", None), ("3", " A&B<C> ")]


def test_an_attribute_without_value_has_no_children() -> None:
    assert len(attribute({"00080050": {"vr": "SH"}}, "00080050")) == 0


def test_numbers_of_json_text_keep_their_digits() -> None:
    text = b'{"00101030":{"vr":"DS","Value":[72.50,1e2]},"00280010":{"vr":"US","Value":[512]}}'
    assert values(attribute(text, "00101030")) == [("1", "72.50"), ("2", "1e2")]
    assert values(attribute(text, "00280010")) == [("1", "512")]
    assert values(attribute({"00101030": {"vr": "DS", "Value": [72.5]}}, "00101030")) == [("1", "72.5")]


def test_a_name_is_split_into_groups_and_components() -> None:
    found = attribute(
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Do<e^John^^Dr", "Phonetic": "ドー"}, None]}}, "00100010"
    )
    first, second = found
    assert (first.tag, first.get("number")) == (f"{NAMESPACE}PersonName", "1")
    groups = {
        group.tag.removeprefix(NAMESPACE): {part.tag.removeprefix(NAMESPACE): part.text for part in group}
        for group in first
    }
    assert groups == {
        "Alphabetic": {"FamilyName": "Do<e", "GivenName": "John", "NamePrefix": "Dr"},
        "Phonetic": {"FamilyName": "ドー"},
    }
    assert (second.get("number"), len(second)) == ("2", 0)


def test_items_are_nested_and_numbered() -> None:
    found = attribute({"00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["A"]}}, {}]}}, "00400275")
    assert [(item.tag, item.get("number"), len(item)) for item in found] == [
        (f"{NAMESPACE}Item", "1", 1),
        (f"{NAMESPACE}Item", "2", 0),
    ]
    assert found[0][0].get("keyword") == "ScheduledProcedureStepID"


def test_a_private_attribute_names_its_creator_instead_of_its_block() -> None:
    dataset = {
        "00290011": {"vr": "LO", "Value": ['A"CME']},
        "00291102": {"vr": "LO", "Value": ["x"]},
        "00291202": {"vr": "LO", "Value": ["without a creator"]},
    }
    root = ElementTree.fromstring(encode_native_xml(dataset))
    assert [(child.get("tag"), child.get("privateCreator"), child.get("keyword")) for child in root] == [
        ("00290011", None, None),
        ("00290002", 'A"CME', None),
        ("00290002", None, None),
    ]


def test_bulk_and_binary_values_are_not_values() -> None:
    bulk = attribute({"7FE00010": {"vr": "OW", "BulkDataURI": "http://h/a?b&c"}}, "7FE00010")
    assert bulk[0].tag == f"{NAMESPACE}BulkData"
    assert bulk[0].get("uri") == "http://h/a?b&c"
    inline = attribute({"00420011": {"vr": "OB", "InlineBinary": "AAE="}}, "00420011")
    assert (inline[0].tag, inline[0].text) == (f"{NAMESPACE}InlineBinary", "AAE=")


def test_group_lengths_are_left_out() -> None:
    assert len(ElementTree.fromstring(encode_native_xml({"00080000": {"vr": "UL", "Value": [4]}}))) == 0


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a\0b\x1bc", "a\ufffdb\ufffdc"),
        ("a\ud800b", "a\ufffdb"),
        ("a\uffffb", "a\ufffdb"),
        ("two\r\nlines\tand tab", "two\r\nlines\tand tab"),
        ("]]>", "]]>"),
        ("<!ENTITY x>&x;", "<!ENTITY x>&x;"),
    ],
)
def test_what_xml_cannot_hold_is_replaced_and_the_rest_survives(text: str, read: str) -> None:
    assert values(attribute({"00104000": {"vr": "LT", "Value": [text]}}, "00104000")) == [("1", read)]


@given(st.text(min_size=1))
def test_any_text_gives_a_well_formed_document(text: str) -> None:
    dataset = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": text}]},
        "00104000": {"vr": "LT", "Value": [text]},
        "00290010": {"vr": "LO", "Value": [text]},
        "00291001": {"vr": text, "BulkDataURI": text},
    }
    assert len(ElementTree.fromstring(encode_native_xml(dataset))) == 4
