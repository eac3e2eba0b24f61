"""Tags: the dictionary's look-ups."""

import pytest

from dicomweb_archive.dicom import tags


@pytest.mark.parametrize(
    ("tag", "vr", "keyword"),
    [
        pytest.param(0x00100010, "PN", "PatientName", id="public"),
        pytest.param(0x60020010, "US", "OverlayRows", id="repeating-group"),
        pytest.param(0x00280106, "US", "SmallestImagePixelValue", id="ambiguous-number"),
        pytest.param(0x7FE00010, "OW", "PixelData", id="ambiguous-pixels"),
        pytest.param(0x00190010, "LO", None, id="private-creator"),
        pytest.param(0x00191002, None, None, id="private-element"),
        pytest.param(0x00080000, "UL", None, id="group-length"),
        pytest.param(0x0008FFFE, None, None, id="unknown"),
        pytest.param(0xFFFEE000, None, "Item", id="item"),
    ],
)
def test_the_dictionary_is_known(tag: int, vr: str | None, keyword: str | None) -> None:
    assert tags.vr_of(tag) == vr
    assert tags.keyword_of(tag) == keyword


@pytest.mark.parametrize("text", ["00100010", "PatientName"])
def test_hex_digits_and_keywords_name_the_same_tag(text: str) -> None:
    assert tags.parse_tag(text) == 0x00100010


@pytest.mark.parametrize("text", ["", "0010001", "0010,0010", "patientname", "Doe^Jane", "\u0661" * 8])
def test_anything_else_is_refused_without_an_echo(text: str) -> None:
    with pytest.raises(ValueError, match="neither") as refused:
        tags.parse_tag(text)
    assert not text or text not in str(refused.value)


def test_private_tags_are_told_apart() -> None:
    assert tags.is_private(0x00191002)
    assert not tags.is_private(0x00181002)
    assert tags.is_private_creator(0x00190010)
    assert not tags.is_private_creator(0x00191002)
    assert tags.format_tag(0x7FE00010) == "7FE00010"
    assert tags.tag_of("Rows") == 0x00280010
    assert tags.tag_of("NoSuchKeyword") is None
