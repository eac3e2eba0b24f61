"""Native DICOM Model documents that cost more than they may are refused before they do."""

import pytest

from dicomweb_archive.dicom import xml_reader
from dicomweb_archive.dicom.xml_reader import read_native_xml
from dicomweb_archive.errors import InvalidInstanceError


def document(content: bytes) -> bytes:
    return b"<NativeDicomModel>%b</NativeDicomModel>" % content


def test_tags_are_counted_whatever_their_names_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_reader, "_MOST_TAGS", 50)
    assert read_native_xml(document(b"<a/>" * 49)) == {}
    with pytest.raises(InvalidInstanceError, match="too many tags"):
        read_native_xml(document(b"<a/>" * 50))


def test_a_tag_without_end_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_reader, "_LONGEST_TAG", 40_000)
    monkeypatch.setattr(xml_reader, "_PIECE_BYTES", 1000)
    attributes = b" ".join(b'a%d="&gt;"' % number for number in range(20_000))
    with pytest.raises(InvalidInstanceError, match="a tag is too long"):
        read_native_xml(document(b"<a %b/>" % attributes))


def test_a_long_value_is_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_reader, "_LONGEST_TAG", 40_000)
    monkeypatch.setattr(xml_reader, "_PIECE_BYTES", 1000)
    text = "l\u00e4nger" * 50_000
    value = f'<DicomAttribute tag="00204000" vr="LT"><Value number="1">{text}</Value></DicomAttribute>'
    assert read_native_xml(document(value.encode())) == {"00204000": {"vr": "LT", "Value": [text]}}
