"""What a store run says at its end, for people and as JSON Lines for programs."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.filesize import decimal

from dicomweb_archive.cli.client.answers import FileOutcome, Outcome
from dicomweb_archive.cli.client.terminal import printable

_NAMES_PER_REASON = 20
_TROUBLE = (Outcome.REFUSED, Outcome.UNREADABLE)
SENT = (Outcome.STORED, Outcome.ALREADY_THERE, Outcome.REFUSED)
_LISTED = (Outcome.REFUSED, Outcome.UNREADABLE, Outcome.SKIPPED)


@dataclass(slots=True)
class StoreReport:
    """Counts of outcomes, and per reason the first files that met it; bounded however many files there are.

    Attributes:
        earlier: words for files that were acknowledged in an earlier run.
    """

    counts: Counter[Outcome] = field(default_factory=Counter)
    stored_bytes: int = 0
    sent_bytes: int = 0
    started: float = field(default_factory=time.monotonic)
    earlier: str = "acknowledged in an earlier run and not sent (--no-resume sends them)"
    _reasons: dict[tuple[Outcome, str], list[str]] = field(default_factory=dict)
    _reason_counts: Counter[tuple[Outcome, str]] = field(default_factory=Counter)

    def add(self, outcome: FileOutcome) -> None:
        """Count one file's outcome."""
        self.counts[outcome.outcome] += 1
        if outcome.outcome in SENT:
            self.sent_bytes += outcome.source.size_bytes
        if outcome.outcome is Outcome.STORED:
            self.stored_bytes += outcome.source.size_bytes
        if outcome.outcome in _LISTED:
            key = (outcome.outcome, outcome.reason)
            self._reason_counts[key] += 1
            names = self._reasons.setdefault(key, [])
            if len(names) < _NAMES_PER_REASON:
                names.append(printable(outcome.source.name))

    @property
    def has_trouble(self) -> bool:
        """Whether a file was refused or could not be read."""
        return any(self.counts[outcome] for outcome in _TROUBLE)

    def summary(self) -> dict[str, Any]:
        """Give the counts for programs."""
        seconds = round(time.monotonic() - self.started, 3)
        counts = {outcome.value: self.counts[outcome] for outcome in Outcome}
        return {"summary": {**counts, "stored_bytes": self.stored_bytes, "seconds": seconds}}

    def lines(self) -> Iterator[str]:
        """Give the summary for people."""
        yield f"{self.counts[Outcome.STORED]:,} stored ({decimal(self.stored_bytes)})"
        for outcome, words in (
            (Outcome.ALREADY_THERE, "already there"),
            (Outcome.ACKNOWLEDGED_EARLIER, self.earlier),
            (Outcome.REFUSED, "refused"),
            (Outcome.UNREADABLE, "not readable"),
            (Outcome.SKIPPED, "skipped"),
        ):
            if self.counts[outcome]:
                yield f"{self.counts[outcome]:,} {words}"
                yield from self._reason_lines(outcome)
        seconds = max(time.monotonic() - self.started, 0.001)
        rate = f"{decimal(round(self.sent_bytes / seconds))}/s"
        yield f"{decimal(self.sent_bytes)} sent in {seconds:.1f} s, {rate}"

    def _reason_lines(self, outcome: Outcome) -> Iterator[str]:
        for key, names in self._reasons.items():
            if key[0] is not outcome:
                continue
            count = self._reason_counts[key]
            yield f"  {printable(key[1])}: {count:,}"
            yield from (f"    {name}" for name in names)
            if count > len(names):
                yield f"    … and {count - len(names):,} more (--json lists all)"


def outcome_record(outcome: FileOutcome) -> dict[str, Any]:
    """Give one file's outcome for programs, without empty fields."""
    record: dict[str, Any] = {"path": outcome.source.name, "outcome": outcome.outcome.value}
    if outcome.source.sop_instance_uid:
        record["sop_instance_uid"] = outcome.source.sop_instance_uid
    if outcome.reason:
        record["reason"] = outcome.reason
    if outcome.code is not None:
        record["failure_reason"] = outcome.code
    if outcome.retrieve_url:
        record["retrieve_url"] = outcome.retrieve_url
    return record
