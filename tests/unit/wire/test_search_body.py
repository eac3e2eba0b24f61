"""The body of a search by POST becomes the pairs that a query string would have given."""

import time

import orjson
import pytest

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.errors import InvalidParameterError, InvalidRequestError
from dicomweb_archive.wire.search_body import read_search_body
from dicomweb_archive.wire.search_limits import SearchLimits
from dicomweb_archive.wire.search_parameters import parse_search

LIMITS = SearchLimits()
KVP = {"op": ">", "args": [{"property": "KVP"}, 100]}


def pairs(body: object) -> dict[str, str]:
    return dict(read_search_body(orjson.dumps(body), LIMITS))


def test_members_are_parameters() -> None:
    body = {
        "PatientID": "P1",
        "KVP": 120,
        "StudyInstanceUID": ["1.2", "1.3"],
        "includefield": ["StudyDescription", "00100020"],
        "limit": 5,
        "fuzzymatching": True,
        "filter": "KVP > 100",
    }
    assert pairs(body) == {
        "PatientID": "P1",
        "KVP": "120",
        "StudyInstanceUID": "1.2\\1.3",
        "includefield": "StudyDescription,00100020",
        "limit": "5",
        "fuzzymatching": "true",
        "filter": "KVP > 100",
    }


def test_a_filter_may_be_an_object() -> None:
    found = pairs({"filter": KVP})
    assert found["filter-lang"] == "cql2-json"
    asked = parse_search(list(found.items()), Level.STUDY)
    assert asked.query.filter == parse_search([("filter", "KVP > 100")], Level.STUDY).query.filter
    with pytest.raises(InvalidParameterError, match="filter-lang"):
        pairs({"filter": KVP, "filter-lang": "cql2-text"})


@pytest.mark.parametrize("raw", [b"", b"[]", b"1", b"null", b"{", b'{"a":"\xff"}', b'{"a":"\\ud800"}'])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="JSON object"):
        read_search_body(raw, LIMITS)


@pytest.mark.parametrize(
    "body",
    [
        {"PatientID": None},
        {"PatientID": {"a": 1}},
        {"PatientID": [["x"]]},
        {"PatientID": "a\0b"},
        {"Patient\0ID": "a"},
        {str(number): "" for number in range(201)},
    ],
    ids=lambda body: str(body)[:20],
)
def test_what_is_no_parameter_is_refused(body: object) -> None:
    with pytest.raises(InvalidParameterError):
        pairs(body)


def test_deep_bodies_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(InvalidParameterError, match="within each other"):
        read_search_body(b'{"a":' * 30_000, LIMITS)


def test_a_text_that_never_ends_is_refused_at_once() -> None:
    raw = b'"' + b'\\"' * 30_000
    begun = time.process_time()
    with pytest.raises(InvalidRequestError):
        read_search_body(raw, LIMITS)
    # A pass from each quote to the end takes a minute.
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    "raw", [b'{"PatientID":"A","Patient\\u0049D":"B"}', b'{"filter":{"op":"and","PatientID":1,"PatientID":2}}']
)
def test_a_member_given_twice_is_refused_by_its_name(raw: bytes) -> None:
    with pytest.raises(InvalidParameterError, match="PatientID"):
        read_search_body(raw, LIMITS)
