"""Character sets: names as the standard's examples encode them (PS3.5 Annexes H to K)."""

import pytest

from dicomweb_archive.dicom.character_sets import DEFAULT, character_set

EXAMPLES = [
    pytest.param(("ISO_IR 100",), b"Buc^J\xe9r\xf4me", "Buc^Jérôme", id="latin-1"),
    pytest.param(("ISO_IR 144",), b"\xbb\xee\xda\x63\x65\xdc\xd1\x79\x70\xd3 ", None, id="cyrillic"),
    pytest.param(("ISO_IR 126",), b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος", id="greek"),
    pytest.param(("ISO_IR 127",), b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار", id="arabic"),
    pytest.param(("ISO_IR 138",), b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה", id="hebrew"),
    pytest.param(("ISO_IR 13",), b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ", id="katakana"),
    pytest.param(
        (None, "ISO 2022 IR 87"),
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        id="japanese",
    ),
    pytest.param(
        ("ISO 2022 IR 13", "ISO 2022 IR 87"),
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
        id="japanese-katakana",
    ),
    pytest.param(
        (None, "ISO 2022 IR 149"),
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
        "Hong^Gildong=洪^吉洞",
        id="korean",
    ),
    pytest.param(
        (None, "ISO 2022 IR 58"),
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab",
        "Zhang^XiaoDong=张^小东",
        id="gb2312",
    ),
    pytest.param(("GB18030",), b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东", id="gb18030"),
    pytest.param(("ISO_IR 192",), "王^小東".encode(), "王^小東", id="utf-8"),
    pytest.param(
        ("ISO 2022 IR 100", "ISO 2022 IR 144", "ISO 2022 IR 126"),
        b"Dionysios=\x1b-F\xc4\xe9=\x1b-L\xbb\xee",
        "Dionysios=Δι=Лю",
        id="several-single-byte-sets",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("terms", "raw", "text"), EXAMPLES)
def test_names_are_decoded(terms: tuple[str | None, ...], raw: bytes, text: str | None) -> None:
    charset = character_set(terms)
    assert charset.known
    decoded, clean = charset.decode(raw, name=True)
    assert clean
    assert text is None or decoded == text


def test_a_backslash_byte_inside_a_character_is_no_separator() -> None:
    # 0x5C is the second byte of a GB18030 character and of a JIS X 0208 one.
    assert character_set(("GB18030",)).decode(b"\x81\x5c\\b")[0].split("\\") == ["乗", "b"]
    text, clean = character_set((None, "ISO 2022 IR 87")).decode(b"\x1b$B0\\\x1b(B\\b")
    assert clean
    assert len(text.split("\\")) == 2


@pytest.mark.parametrize("term", ["ISO_IR 100", "ISO IR 100", "ISO-IR 100", "iso_ir_100", "ISO_IR100"])
def test_sloppy_terms_are_known(term: str) -> None:
    assert character_set((term,)) == character_set(("ISO_IR 100",))


def test_unknown_terms_leave_what_is_known() -> None:
    assert not character_set(("KLINGON",)).known
    assert character_set(("KLINGON", "ISO_IR 192")).codec == "utf_8"
    assert character_set(()) is character_set((None,)) is DEFAULT


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"\xed\xa0\x80", b"\xc3"])
def test_bad_bytes_are_replaced_and_said(raw: bytes) -> None:
    text, clean = character_set(("ISO_IR 192",)).decode(raw)
    assert not clean
    assert "\ufffd" in text


@pytest.mark.parametrize("raw", [b"a\x1b", b"a\x1b$", b"a\x1b$)Zb", b"\x1b\x1b\x1b", b"\x1b$B1"])
def test_unfinished_escape_sequences_never_fail(raw: bytes) -> None:
    text, clean = character_set((None, "ISO 2022 IR 87")).decode(raw)
    assert not clean
    assert text.encode()
