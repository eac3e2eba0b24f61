"""States, actions, reasons and events of submissions in the words of the pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dicomweb_archive.checks.findings import Finding
from dicomweb_archive.dicom.held_attributes import held_attribute
from dicomweb_archive.errors import InvalidParameterError, InvalidRequestError
from dicomweb_archive.index.curation.submissions import SubmissionState as S
from dicomweb_archive.index.curation.trail import TrailEntry
from dicomweb_archive.services.submissions.transitions import NEEDS_REASON, Action, Reason

PUBLISH: Final = "publish"
"""Beside the actions that change a state by themselves: what begins the job that publishes."""

STATES: Final[Mapping[S, tuple[str, str]]] = MappingProxyType(
    {
        S.OPEN: ("Open", ""),
        S.SEALED: ("Sealed", ""),
        S.CHECKING: ("Being checked", ""),
        S.FAILED_CHECKS: ("Failed its checks", "bad"),
        S.IN_REVIEW: ("In review", "warn"),
        S.CHANGES_REQUESTED: ("Changes requested", "warn"),
        S.APPROVED: ("Approved", "good"),
        S.PUBLISHING: ("Being published", "good"),
        S.PUBLISHED: ("Published", "good"),
        S.REJECTED: ("Rejected", "bad"),
        S.WITHDRAWN: ("Withdrawn", ""),
        S.EXPIRED: ("Expired", ""),
    }
)
"""What a state is called, and its tone."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that may be done with a submission now.

    Attributes:
        key: of the keyboard.
        done: what is said when it was done.
        takes_reason: whether the trail has a place for one.
    """

    value: str
    label: str
    hint: str
    key: str
    done: str
    needs_reason: bool = False
    takes_reason: bool = True

    def read_reason(self, text: str) -> Reason | None:
        """Return the reason that a form gives for it.

        Raises:
            InvalidParameterError: it is none.
            InvalidRequestError: one is missing, or would be lost.
        """
        if text not in set(Reason) | {""}:
            raise InvalidParameterError("reason", accepted=", ".join(Reason))
        if self.needs_reason and not text:
            raise InvalidRequestError(f"a reason is needed to {self.label.lower()}")
        if text and not self.takes_reason:
            raise InvalidRequestError(f"no reason is kept to {self.label.lower()}; say it in words")
        return Reason(text) if text else None


def _choice(action: Action, label: str, hint: str, key: str, done: str) -> tuple[str, Choice]:
    return action.value, Choice(action.value, label, hint, key, done, action in NEEDS_REASON)


CHOICES: Final[Mapping[str, Choice]] = MappingProxyType(
    dict(
        [
            (
                PUBLISH,
                Choice(
                    PUBLISH, "Publish", "each study appears whole", "p", "It is being published.", takes_reason=False
                ),
            ),
            _choice(Action.APPROVE, "Approve", "so that it can be published", "a", "It is approved."),
            _choice(
                Action.REQUEST_CHANGES, "Request changes", "its sender may store again", "c", "Changes are requested."
            ),
            _choice(Action.REJECT, "Reject", "for good", "x", "It is rejected."),
            _choice(Action.REVIEW, "Take into review", "whatever the checks say", "r", "It is in review."),
            _choice(Action.RECONSIDER, "Take the approval back", "it is in review again", "r", "It is in review."),
            _choice(Action.SEAL, "Seal", "nothing more will come; it is checked", "s", "It is sealed."),
            _choice(Action.REOPEN, "Reopen", "so that more can be stored", "o", "It is open."),
            _choice(Action.WITHDRAW, "Withdraw", "its sender takes it back, for good", "w", "It is withdrawn."),
        ]
    )
)
"""Everything that people do with submissions, in the order of the pages."""

REASONS: Final[Mapping[Reason, str]] = MappingProxyType(
    {each: each.value.replace("_", " ").capitalize() for each in Reason}
    | {
        Reason.PHI_IN_HEADER: "Identity in the header",
        Reason.PHI_IN_PIXELS: "Identity in the pixels",
    }
)

JOBS: Final = MappingProxyType(
    {
        "publish-submission": "Publishing",
        "run-checks": "Running checks",
        "apply-edit": "Editing",
        "decide-submissions": "Deciding",
        "decide-conflicts": "Deciding on conflicts",
    }
)
"""What jobs are called while they run."""

_KINDS: Final = MappingProxyType(
    {
        "instances_stored": "Instances stored",
        "study_deleted": "Study deleted",
        "series_deleted": "Series deleted",
        "instance_deleted": "Instance deleted",
        "study_published": "Study published",
        "study_withdrawn": "Study withdrawn",
        "purged": "Purged",
        "submission_opened": "Opened",
        "submission_described": "Described anew",
        "submission_commented": "Comment",
        "submission_manifest_set": "Manifest announced",
        "edit_begun": "Edit begun",
        "edit_ended": "Edit ended",
        "conflict_kept": "Conflict kept",
        "conflicts_decided": "Conflicts decided",
        "checks_run": "Checks run",
        "finding_waived": "Finding waived",
        "waiver_revoked": "Waiver taken back",
        "values_approved": "Values approved",
        "value_approvals_revoked": "Approval of values taken back",
    }
)
_COUNTED: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "studies": ("study", "studies"),
        "instances": ("instance", "instances"),
        "conflicts": ("conflict", "conflicts"),
        "attributes": ("attribute", "attributes"),
        "values": ("value", "values"),
        "block": ("blocks", "block"),
        "warn": ("warns", "warn"),
        "info": ("informs", "inform"),
    }
)
_NAMED: Final = ("check_set", "check")


@dataclass(frozen=True, slots=True)
class Happening:
    """An event as the pages tell it."""

    entry: TrailEntry
    title: str
    facts: str


def attribute_of(found: Finding) -> str:
    """Name the attribute that a finding is about, as people know it; nothing when it is about none."""
    if not found.path:
        return ""
    attribute = held_attribute(found.path)
    return attribute.keyword or attribute.path


def tell(entry: TrailEntry) -> Happening:
    """Tell an event in words; of what it says those things alone that people ask for."""
    detail = entry.detail
    if entry.kind == "submission_state_changed":
        state = S(str(detail["to"]))
        reason = REASONS.get(Reason(detail["reason"]), "") if detail.get("reason") in set(Reason) else ""
        return Happening(entry, STATES[state][0], reason)
    facts = [
        f"{count} {one if count == 1 else many}"
        for name, (one, many) in _COUNTED.items()
        if isinstance(count := detail.get(name), int) and count
    ]
    facts += [str(detail[name]).replace("_", " ") for name in _NAMED if isinstance(detail.get(name), str)]
    return Happening(entry, _KINDS.get(entry.kind, entry.kind.replace("_", " ").capitalize()), ", ".join(facts))
