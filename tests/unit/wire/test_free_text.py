"""The parameter `text`: words, phrases, and what is refused."""

import pytest

from dicomweb_archive.dicom.free_text import Phrase
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.free_text import LEFT_OUT, parse_text
from dicomweb_archive.wire.page_tokens import PageTokens
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.search_parameters import parse_search


def test_words_and_phrases_are_read_once_each() -> None:
    ct, phrase = Phrase((("ct",),)), Phrase((("with",), ("contrast",)), whole=True)
    assert parse_text('CT "with contrast" ct, CT') == ((ct, phrase), False)


def test_words_of_one_character_are_left_out() -> None:
    assert parse_text("T 1 ax") == ((Phrase((("ax",),)),), True)
    search = parse_search([("text", "O'Brien")], Level.STUDY)
    assert search.warnings == (LEFT_OUT,)
    assert search.query.text == (Phrase((("brien",),)),)
    assert not parse_search([("text", '"T 1"')], Level.STUDY).warnings


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b c",
        "-*?%",
        '""',
        '"open',
        "tab\there",
        "nul\x01l",
        "x" * 257,
        " ".join(f"word{n}" for n in range(11)),
        "\u0301",
    ],
)
def test_text_that_cannot_be_looked_for_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidParameterError, match=r"^text cannot be understood") as refused:
        parse_text(text)
    assert refused.value.parameter == "text"
    assert "word1" not in str(refused.value)


def test_a_plus_is_a_blank_in_text_as_browsers_write_it() -> None:
    assert split_query(b"text=chest+ct&PatientID=a+b") == [("text", "chest ct"), ("PatientID", "a+b")]


def test_a_page_token_is_of_one_text() -> None:
    tokens = PageTokens(b"secret")
    query = SearchQuery(Level.STUDY, text=parse_text("chest")[0])
    token = tokens.seal(query, (1.0, 2))
    assert tokens.open(query, token) == (1.0, 2)
    with pytest.raises(InvalidParameterError):
        tokens.open(SearchQuery(Level.STUDY, text=parse_text("head")[0]), token)
