"""Page tokens: sealed, of one archive and one search."""

import base64
from dataclasses import replace

import pytest
from tests.searching import key, path

from dicomweb_archive.dicom.matching_keys import WildCard
from dicomweb_archive.dicom.query import Counting, Level, OrderKey, SearchQuery
from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.page_tokens import LONGEST_TOKEN, PageTokens

TOKENS = PageTokens(b"secret of an archive")
QUERY = SearchQuery(Level.STUDY, (key("PatientName", WildCard("Doe*")),), order=(OrderKey(path("PatientName")),))
LAST = ("doe^jane\U0010ffff", 63_800_000_000.25, 4711, float("inf"))


def test_what_was_sealed_is_opened_again():
    assert TOKENS.open(QUERY, TOKENS.seal(QUERY, LAST)) == LAST


def test_a_token_tells_nobody_else_what_it_holds():
    token = TOKENS.seal(QUERY, LAST)
    assert b"doe" not in base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).lower()
    assert token.replace("-", "").replace("_", "").isalnum()


OTHER_SEARCHES = {
    "another level": replace(QUERY, level=Level.SERIES),
    "another value": replace(QUERY, keys=(key("PatientName", WildCard("Roe*")),)),
    "another order": replace(QUERY, order=(OrderKey(path("PatientName"), descending=True),)),
    "another study": replace(QUERY, study_instance_uid="1.2"),
}


@pytest.mark.parametrize("other", OTHER_SEARCHES.values(), ids=OTHER_SEARCHES.keys())
def test_a_token_of_another_search_is_refused_by_name(other: SearchQuery):
    with pytest.raises(InvalidParameterError, match="page_token"):
        TOKENS.open(other, TOKENS.seal(QUERY, LAST))


def test_the_next_page_may_have_another_size_and_other_fields():
    other = replace(QUERY, limit=7, include_all=True, counting=Counting.NONE)
    assert TOKENS.open(other, TOKENS.seal(QUERY, LAST)) == LAST


def test_a_token_of_another_archive_is_refused():
    with pytest.raises(InvalidParameterError, match="page_token"):
        PageTokens(b"another secret").open(QUERY, TOKENS.seal(QUERY, LAST))


def test_every_altered_and_every_cut_token_is_refused():
    token = TOKENS.seal(QUERY, LAST)
    altered = {token[:n] + ("B" if token[n] == "A" else "A") + token[n + 1 :] for n in range(len(token) - 1)}
    for forged in altered | {token[:n] for n in range(len(token))}:
        with pytest.raises(InvalidParameterError):
            TOKENS.open(QUERY, forged)


@pytest.mark.parametrize("garbage", ["", "x", "====", "ä" * 20, "a b", "A" * (LONGEST_TOKEN + 1), "%00", "\ud800"])
def test_garbage_is_refused_without_being_repeated(garbage: str):
    with pytest.raises(InvalidParameterError) as raised:
        TOKENS.open(QUERY, garbage)
    assert str(raised.value).startswith("page_token")
