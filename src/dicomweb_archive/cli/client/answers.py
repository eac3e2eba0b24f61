"""Store Instances Responses of any server, read leniently (PS3.18 10.5.3, annex I).

Servers differ: some answer 200 without a word, some 409 for what is partly stored, some name an instance in no
sequence at all. What cannot be told from an answer is said so (`unanswered`), and the caller asks again.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dicomweb_archive.cli.client.sources import Source
from dicomweb_archive.dicom.status import ALREADY_STORED, meaning_of

_COMMENT = "00000902"
_PART_COMMENT = re.compile(r"part ([0-9]{1,9}): ")
"""How this archive tells which part of a request failed when no UID could be read of it."""
_DUPLICATE = "the server already holds an instance with this UID"
_WORDS_OF_OTHERS = {
    0x0000: "no reason given",
    0x0111: _DUPLICATE,
    0x0117: "Invalid SOP Instance UID",
    0xB00E: _DUPLICATE,
}
"""Codes that other servers use and this archive does not."""


class Outcome(StrEnum):
    """What became of one file."""

    STORED = "stored"
    ALREADY_THERE = "already_there"
    REFUSED = "refused"
    SKIPPED = "skipped"
    ACKNOWLEDGED_EARLIER = "acknowledged_earlier"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """One file, what became of it, and why.

    Attributes:
        reason: for people; empty when it was stored.
        code: Failure Reason (0008,1197), when the server gave one.
        retrieve_url: where the server says it lies, when it says so.
    """

    source: Source
    outcome: Outcome
    reason: str = ""
    code: int | None = None
    retrieve_url: str | None = None


@dataclass(frozen=True, slots=True)
class _Stored:
    retrieve_url: str | None
    already_there: bool


@dataclass(slots=True)
class Answer:
    """A Store Instances Response as far as it could be read."""

    status: int
    told: bool = False
    stored: dict[str, _Stored] = field(default_factory=dict)
    failed: dict[str, tuple[int, str]] = field(default_factory=dict)
    other_failures: list[tuple[int, str]] = field(default_factory=list)
    problem: str = ""


def parse_answer(status: int, body: bytes) -> Answer:
    """Read the body of a Store answer; what is no DICOM JSON leaves the answer untold."""
    answer = Answer(status)
    try:
        decoded = json.loads(body)
    except ValueError:
        return answer
    data_set = decoded[0] if isinstance(decoded, list) and decoded else decoded
    if not isinstance(data_set, dict):
        return answer
    answer.problem = _problem_text(data_set)
    for item in _items(data_set, "00081199"):
        answer.stored[_text(item, "00081155")] = _Stored(_text(item, "00081190") or None, _is_repeat(item))
    for item in _items(data_set, "00081198"):
        answer.failed[_text(item, "00081155")] = (_number(item, "00081197"), _text(item, _COMMENT))
    for item in _items(data_set, "0008119A"):
        answer.other_failures.append((_number(item, "00081197"), _text(item, _COMMENT)))
    answer.told = bool(answer.stored or answer.failed or answer.other_failures)
    return answer


def judge(batch: Sequence[Source], answer: Answer) -> tuple[list[FileOutcome], list[Source]]:
    """Tell what became of each file of a request, and of which files the answer does not tell."""
    outcomes: list[FileOutcome] = []
    unanswered: list[Source] = []
    numbered = _failures_by_part(answer)
    for number, source in enumerate(batch, start=1):
        outcome = _named_outcome(source, answer)
        if outcome is None and number in numbered:
            outcome = _refused(source, *numbered[number])
        outcome = outcome or _implied_outcome(source, answer, alone=len(batch) == 1)
        if outcome is None:
            unanswered.append(source)
        else:
            outcomes.append(outcome)
    return outcomes, unanswered


def describe_failure(code: int, comment: str) -> str:
    """Put a Failure Reason into words: the server's own, else the standard's (PS3.18 I.2.2)."""
    words = _PART_COMMENT.sub("", comment, count=1) or _WORDS_OF_OTHERS.get(code) or meaning_of(code)
    return f"{words} ({code:04X})"


def _named_outcome(source: Source, answer: Answer) -> FileOutcome | None:
    uid = source.sop_instance_uid
    if uid is None:
        return None
    if uid in answer.failed:
        return _refused(source, *answer.failed[uid])
    if uid in answer.stored:
        return _stored_outcome(source, answer.stored[uid])
    return None


def _failures_by_part(answer: Answer) -> dict[int, tuple[int, str]]:
    found = ((_PART_COMMENT.match(comment), code, comment) for code, comment in answer.other_failures)
    return {int(match[1]): (code, comment) for match, code, comment in found if match}


def _refused(source: Source, code: int, comment: str) -> FileOutcome:
    return FileOutcome(source, Outcome.REFUSED, describe_failure(code, comment), code)


def _implied_outcome(source: Source, answer: Answer, *, alone: bool) -> FileOutcome | None:
    """What holds for a file that the answer does not name."""
    if not answer.told and answer.status == 200:
        return FileOutcome(source, Outcome.STORED)
    if not alone:
        return None
    failures = [*answer.failed.values(), *answer.other_failures]
    if failures:
        return _refused(source, *failures[0])
    if answer.status in (200, 202):
        stored = next(iter(answer.stored.values()), _Stored(None, already_there=False))
        return _stored_outcome(source, stored)
    words = f": {answer.problem}" if answer.problem else ""
    return FileOutcome(source, Outcome.REFUSED, f"the server answered {answer.status}{words}")


def _stored_outcome(source: Source, stored: _Stored) -> FileOutcome:
    outcome = Outcome.ALREADY_THERE if stored.already_there else Outcome.STORED
    return FileOutcome(source, outcome, retrieve_url=stored.retrieve_url)


def _items(data_set: Mapping[str, Any], tag: str) -> Iterator[Mapping[str, Any]]:
    for item in _values(data_set, tag):
        if isinstance(item, dict):
            yield item


def _text(data_set: Mapping[str, Any], tag: str) -> str:
    value = next(iter(_values(data_set, tag)), None)
    return value if isinstance(value, str) else ""


def _number(data_set: Mapping[str, Any], tag: str) -> int:
    value = next(iter(_values(data_set, tag)), None)
    # Some servers write the code as text.
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) else 0


def _values(data_set: Mapping[str, Any], tag: str) -> Sequence[Any]:
    element = data_set.get(tag) or data_set.get(tag.lower())
    value = element.get("Value") if isinstance(element, dict) else None
    return value if isinstance(value, list) else []


def _problem_text(data_set: Mapping[str, Any]) -> str:
    """Find the words of a problem document (RFC 9457) or a like error body."""
    for name in ("detail", "title", "Details", "Message"):
        value = data_set.get(name)
        if isinstance(value, str):
            return value[:200]
    return ""


def _is_repeat(item: Mapping[str, Any]) -> bool:
    return _text(item, _COMMENT) == ALREADY_STORED
