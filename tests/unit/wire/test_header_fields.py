"""Media types with parameters, as clients really send them."""

import pytest

from dicomweb_archive.wire.header_fields import parse_media_type, quote, split_list


@pytest.mark.parametrize(
    ("text", "type_", "parameters"),
    [
        ("application/dicom+json", "application/dicom+json", {}),
        (
            'Multipart/Related; TYPE="application/dicom" ; boundary=a',
            "multipart/related",
            {"type": "application/dicom", "boundary": "a"},
        ),
        (
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            "multipart/related",
            {"type": "application/octet-stream", "transfer-syntax": "*"},
        ),
        (r'a/b; c="x\"y\\z"', "a/b", {"c": r"x\"y\\z".replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")}),
        ("*/*;q=0.8", "*/*", {"q": "0.8"}),
        ("a/b;;c=d;", "a/b", {"c": "d"}),
    ],
)
def test_a_media_type_is_read(text: str, type_: str, parameters: dict[str, str]) -> None:
    assert parse_media_type(text) == (type_, parameters)


@pytest.mark.parametrize(
    "text", ["", "text", "a/b c", "a/b; c", "a/b; =d", 'a/b; c="d', "a/b; c=d; C=e", "a/b; c=\x07", "a/b; c=", ";a=b"]
)
def test_another_grammar_is_no_media_type(text: str) -> None:
    assert parse_media_type(text) is None


def test_commas_in_quotes_do_not_split() -> None:
    assert [piece.strip() for piece in split_list('a/b; c="x,y", d/e,, ', at_most=9)] == ['a/b; c="x,y"', "d/e"]


def test_a_list_is_cut_at_its_bound_and_at_an_open_quote() -> None:
    assert list(split_list("a,b,c", at_most=2)) == ["a", "b"]
    assert list(split_list('a,b"c,d', at_most=9)) == ["a"]


def test_a_long_hostile_value_costs_linear_time() -> None:
    assert len(list(split_list('"' * 60_001, at_most=64))) == 0
    assert parse_media_type("a/b" + ";" * 60_000) is None
    assert parse_media_type('a/b; c="' + "\\" * 60_000) is None


def test_quoting_escapes_what_would_end_the_string() -> None:
    assert quote('a"b\\c') == r'"a\"b\\c"'


def test_there_are_at_most_32_parameters_empty_ones_too() -> None:
    assert parse_media_type("a/b" + ";" * 32) is not None
    assert parse_media_type("a/b" + ";" * 33) is None
    assert parse_media_type("a/b" + "".join(f"; a{number}=1" for number in range(33))) is None
