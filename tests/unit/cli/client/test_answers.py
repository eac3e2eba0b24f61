"""Reading Store Instances Responses of many servers."""

import json
from pathlib import Path
from typing import Any

import pytest

from dicomweb_archive.cli.client.answers import Outcome, describe_failure, judge, parse_answer
from dicomweb_archive.cli.client.sources import Source
from dicomweb_archive.dicom.status import INSTANCE_CONFLICT, StoreOutcome
from dicomweb_archive.wire.resources import ServiceRoot
from dicomweb_archive.wire.store_response import build

CT = "1.2.840.10008.5.1.4.1.1.2"


def _source(uid: str | None) -> Source:
    return Source(f"{uid}.dcm", Path(f"{uid}.dcm"), 10, 0, sop_instance_uid=uid)


def _item(uid: str, code: int | str | None = None, url: str | None = None) -> dict[str, Any]:
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    if code is not None:
        item["00081197"] = {"vr": "US", "Value": [code]}
    if url is not None:
        item["00081190"] = {"vr": "UR", "Value": [url]}
    return item


def _body(**sequences: list[dict[str, Any]]) -> bytes:
    tags = {"stored": "00081199", "failed": "00081198", "other": "0008119A"}
    return json.dumps({tags[name]: {"vr": "SQ", "Value": items} for name, items in sequences.items()}).encode()


def _judged(status: int, body: bytes, *uids: str | None) -> tuple[dict[str, str], list[str]]:
    outcomes, unanswered = judge([_source(uid) for uid in uids], parse_answer(status, body))
    return (
        {item.source.name: item.outcome.value + (f": {item.reason}" if item.reason else "") for item in outcomes},
        [source.name for source in unanswered],
    )


def test_stored_and_failed_items_are_told_apart() -> None:
    body = _body(stored=[_item("1.1", url="http://x/studies/1")], failed=[_item("1.2", 0xC122)])
    outcomes, unanswered = _judged(202, body, "1.1", "1.2")
    assert outcomes == {"1.1.dcm": "stored", "1.2.dcm": "refused: Transfer syntax not supported (C122)"}
    assert unanswered == []


def test_the_answer_may_be_a_list_and_codes_may_be_text() -> None:
    body = json.dumps([json.loads(_body(failed=[_item("1.2", "272")]))]).encode()
    outcomes, _ = _judged(409, body, "1.2")
    assert outcomes == {"1.2.dcm": "refused: Processing failure (0110)"}


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b"null", b'{"00081199":{"vr":"SQ"}}'])
def test_a_plain_success_without_details_is_success(body: bytes) -> None:
    outcomes, unanswered = _judged(200, body, "1.1", None)
    assert set(outcomes.values()) == {"stored"}
    assert unanswered == []


def test_files_that_the_answer_does_not_name_are_asked_for_again() -> None:
    body = _body(stored=[_item("1.1")], other=[{"00081197": {"vr": "US", "Value": [0xC000]}}])
    outcomes, unanswered = _judged(202, body, "1.1", None, "1.3")
    assert outcomes == {"1.1.dcm": "stored"}
    assert unanswered == ["None.dcm", "1.3.dcm"]


def test_a_failure_that_names_its_part_needs_no_second_question() -> None:
    failure = {"00081197": {"vr": "US", "Value": [0xC001]}, "00000902": {"vr": "LO", "Value": ["part 2: cut short"]}}
    outcomes, unanswered = _judged(202, _body(stored=[_item("1.1")], other=[failure]), "1.1", None)
    assert outcomes == {"1.1.dcm": "stored", "None.dcm": "refused: cut short (C001)"}
    assert unanswered == []


def test_a_file_sent_alone_gets_the_only_reason_there_is() -> None:
    body = _body(other=[{"00081197": {"vr": "US", "Value": [0xC000]}}])
    assert _judged(409, body, None) == ({"None.dcm": "refused: Not a readable DICOM instance (C000)"}, [])


def test_a_file_sent_alone_and_stored_under_a_uid_we_did_not_see_is_stored() -> None:
    assert _judged(200, _body(stored=[_item("9.9")]), "1.1") == ({"1.1.dcm": "stored"}, [])


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b"", "the server answered 400"),
        (413, b'{"title": "Too large"}', "the server answered 413: Too large"),
        (500, b'{"detail": "oops", "title": "Error"}', "the server answered 500: oops"),
    ],
)
def test_a_refused_request_refuses_a_file_sent_alone(status: int, body: bytes, reason: str) -> None:
    assert _judged(status, body, "1.1") == ({"1.1.dcm": f"refused: {reason}"}, [])


def test_a_refused_request_of_many_is_taken_apart() -> None:
    assert _judged(400, b"", "1.1", "1.2") == ({}, ["1.1.dcm", "1.2.dcm"])


def test_this_archive_says_when_the_bytes_were_there_before() -> None:
    body = json.dumps(build([StoreOutcome(CT, "1.1", "1.2", "1.3", already_stored=True)], ServiceRoot("http://x"))[1])
    assert _judged(200, body.encode(), "1.1") == ({"1.1.dcm": "already_there"}, [])


def test_this_archive_says_why_it_refuses() -> None:
    refused = StoreOutcome(CT, "1.1", failure=INSTANCE_CONFLICT, comment="other bytes are kept")
    body = json.dumps(build([refused], ServiceRoot("http://x"))[1])
    assert _judged(409, body.encode(), "1.1") == ({"1.1.dcm": "refused: other bytes are kept (A902)"}, [])


def test_the_retrieve_url_is_kept() -> None:
    body = _body(stored=[_item("1.1", url="http://x/studies/1/series/2/instances/1.1")])
    (outcome,), _ = judge([_source("1.1")], parse_answer(200, body))
    assert outcome.outcome is Outcome.STORED
    assert outcome.retrieve_url == "http://x/studies/1/series/2/instances/1.1"


def test_codes_of_other_servers_have_words() -> None:
    assert describe_failure(0x0111, "") == "the server already holds an instance with this UID (0111)"
    assert describe_failure(45070, "") == "the server already holds an instance with this UID (B00E)"
    assert describe_failure(0xC456, "") == "Not a readable DICOM instance (C456)"
    assert describe_failure(0xA701, "disk full") == "disk full (A701)"
