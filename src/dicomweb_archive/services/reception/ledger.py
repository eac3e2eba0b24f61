"""Ledger: what a store request keeps, and what is said of each of its parts until the answer (PS3.18 10.5.3)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from dicomweb_archive.checks.findings import Finding, merge_findings
from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import Identity
from dicomweb_archive.dicom.status import AttributeNote, StoreOutcome
from dicomweb_archive.index.writing.register import Registration
from dicomweb_archive.services.destinations import WaitingRoom
from dicomweb_archive.services.outcomes import refused, repeated, set_aside, stored
from dicomweb_archive.services.settlement import Lane

# An answer is read by people where there is something to note, and held whole.
_MOST_NOTES: Final = 5_000

_OTHER_HOME = "the study has another home or was withdrawn"


class Kept(NamedTuple):
    """What has a UID: in this request, by the part at a position, or in the archive or submission before it."""

    digest: bytes
    lane: Lane
    position: int = -1


class Ledger:
    """What becomes of each part of one request; positions count its parts from 0.

    Attributes:
        kept: what this request keeps, by SOP Instance UID.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self._outcomes: list[StoreOutcome | None] = []
        # Further parts with a UID that this request keeps; what becomes of the first decides on them too.
        self._repeats: dict[str, list[int]] = {}
        # Positions of parts that wait, and why.
        self._waiting: dict[int, str] = {}
        # What was found in those that did not pass, by SOP Instance UID.
        self._found: dict[str, tuple[Finding, ...]] = {}
        # What is to be said of attributes of the part at a position.
        self._notes: dict[int, tuple[AttributeNote, ...]] = {}
        self._notes_left = _MOST_NOTES

    @property
    def is_empty(self) -> bool:
        """Whether no part has come yet."""
        return not self._outcomes

    @property
    def is_of_one(self) -> bool:
        """Whether one part has come."""
        return len(self._outcomes) == 1

    def begin_part(self, notes: tuple[AttributeNote, ...] = ()) -> int:
        """Enter a part that arrives, and return its position."""
        position = len(self._outcomes)
        self._outcomes.append(None)
        if notes:
            self.note(position, notes)
        return position

    def note(self, position: int, notes: Sequence[AttributeNote]) -> None:
        """Enter what is to be said of attributes of a part; when much has been said already, the first of it."""
        said = self._notes.get(position, ())
        known = {note.sequences[0][0] if note.sequences else note.tag for note in said}
        fresh = [note for note in notes if note.tag not in known]
        few = tuple(fresh if self._notes_left > 0 else fresh[:1])
        if few:
            self._notes_left -= len(few)
            self._notes[position] = said + few

    def enter(self, outcome: StoreOutcome) -> None:
        """Enter a part of which nothing but its outcome comes."""
        self._outcomes.append(outcome)

    def keep(self, position: int, scanned: ScannedInstance, digest: bytes, lane: Lane) -> None:
        """Say that a part is kept, the first one of its UID."""
        self.kept[scanned.sop_instance_uid] = Kept(digest, lane, position)
        self._outcomes[position] = stored(scanned)

    def fail(
        self, position: int, failure: int, identity: ScannedInstance | Identity | None = None, *, comment: str = ""
    ) -> None:
        """Say that a part is not kept, and why."""
        self._outcomes[position] = refused(position, failure, identity, comment=comment)

    def let_wait(self, position: int, scanned: ScannedInstance, findings: tuple[Finding, ...], why: str) -> None:
        """Say that a part waits, and what was found in it."""
        if findings:
            self._found[scanned.sop_instance_uid] = findings
        self._waiting[position] = why

    def say_repeated(self, position: int, scanned: ScannedInstance, known: Kept, *, same: bool) -> None:
        """Say what becomes of a part whose UID is taken."""
        if scanned.sop_instance_uid in self.kept:
            self._repeats.setdefault(scanned.sop_instance_uid, []).append(position)
        if known.lane is Lane.PUBLISHED:
            self._waiting.pop(position, None)
        self._outcomes[position] = repeated(stored(scanned), same=same)

    def say_published(self, position: int, scanned: ScannedInstance) -> None:
        """Say that a part is published already, whatever this request keeps of its UID."""
        self._waiting.pop(position, None)
        self._outcomes[position] = repeated(stored(scanned), same=True)

    def take_verdicts(self, registrations: Mapping[str, Registration], waiting: frozenset[str]) -> None:
        """Correct what was said of parts by what became of them; `waiting` names those that wait."""
        for sop_instance_uid, registration in registrations.items():
            # Another request may have stored the same UID since we looked.
            if registration is not Registration.STORED:
                self._judge_again(sop_instance_uid, same=registration is Registration.SAME)
        for sop_instance_uid in waiting:
            for position in self._positions(sop_instance_uid):
                self._waiting.setdefault(position, _OTHER_HOME)

    def findings(self, sop_instance_uids: Iterable[str]) -> list[Finding]:
        """Return what keeps these instances from being published, what is said of many in a series once."""
        return merge_findings(found for uid in sop_instance_uids for found in self._found.get(uid, ()))

    def outcomes(self, room: WaitingRoom) -> list[StoreOutcome]:
        """Return what became of each part; those that wait do so in this room."""
        complete = [outcome for outcome in self._outcomes if outcome is not None]
        assert len(complete) == len(self._outcomes)
        submission = room.submission
        if submission is not None and room.named is None:
            for position, why in self._waiting.items():
                if complete[position].is_stored:
                    complete[position] = set_aside(complete[position], submission.name, why)
        for position, notes in self._notes.items():
            complete[position] = complete[position].with_notes(notes)
        return complete

    def _judge_again(self, sop_instance_uid: str, *, same: bool) -> None:
        """Correct what was said of the parts that this request alone would have kept."""
        for position in self._positions(sop_instance_uid):
            outcome = self._outcomes[position]
            if outcome is not None and outcome.is_stored:
                self._outcomes[position] = repeated(outcome, same=same)

    def _positions(self, sop_instance_uid: str) -> tuple[int, ...]:
        return (self.kept[sop_instance_uid].position, *self._repeats.get(sop_instance_uid, ()))
