"""Transitions: what may be done with a submission in each state, by whom, and where it leads."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from dicomweb_archive.errors import TransitionError
from dicomweb_archive.index.curation.submissions import SubmissionState as S


class Action(StrEnum):
    """What can be done with a submission."""

    SEAL = "seal"
    """Say that it is complete."""
    REOPEN = "reopen"
    """Let it take instances again."""
    BEGIN_CHECKS = "begin-checks"
    PASS_CHECKS = "pass-checks"  # noqa: S105 - no password
    FAIL_CHECKS = "fail-checks"
    REVIEW = "review"
    """Take it into review by hand, whatever checks have said."""
    REQUEST_CHANGES = "request-changes"
    """Ask its submitter for something."""
    APPROVE = "approve"
    RECONSIDER = "reconsider"
    """Take an approval back."""
    BEGIN_PUBLISHING = "begin-publishing"
    END_PUBLISHING = "end-publishing"
    STOP_PUBLISHING = "stop-publishing"
    """Give up in the middle: it is approved still, and can be published again."""
    REJECT = "reject"
    WITHDRAW = "withdraw"
    """Take it back, by its submitter."""
    EXPIRE = "expire"


class Actor(StrEnum):
    """Whose action it is."""

    SUBMITTER = "submitter"
    """Who opened the submission, and curators of its collection."""
    CURATOR = "curator"
    ARCHIVE = "archive"
    """The archive itself: checks, publishing and time."""


ACTORS: Final[Mapping[Action, Actor]] = MappingProxyType(
    {
        Action.SEAL: Actor.SUBMITTER,
        Action.REOPEN: Actor.SUBMITTER,
        Action.WITHDRAW: Actor.SUBMITTER,
        Action.REVIEW: Actor.CURATOR,
        Action.REQUEST_CHANGES: Actor.CURATOR,
        Action.APPROVE: Actor.CURATOR,
        Action.RECONSIDER: Actor.CURATOR,
        Action.REJECT: Actor.CURATOR,
        Action.BEGIN_CHECKS: Actor.ARCHIVE,
        Action.PASS_CHECKS: Actor.ARCHIVE,
        Action.FAIL_CHECKS: Actor.ARCHIVE,
        Action.BEGIN_PUBLISHING: Actor.ARCHIVE,
        Action.END_PUBLISHING: Actor.ARCHIVE,
        Action.STOP_PUBLISHING: Actor.ARCHIVE,
        Action.EXPIRE: Actor.ARCHIVE,
    }
)

# Until it is being published a submission may end in these ways.
_ENDINGS: Final = {Action.REJECT: S.REJECTED, Action.WITHDRAW: S.WITHDRAWN, Action.EXPIRE: S.EXPIRED}

TRANSITIONS: Final[Mapping[S, Mapping[Action, S]]] = MappingProxyType(
    {
        S.OPEN: {Action.SEAL: S.SEALED, **_ENDINGS},
        S.SEALED: {Action.BEGIN_CHECKS: S.CHECKING, Action.REVIEW: S.IN_REVIEW, Action.REOPEN: S.OPEN, **_ENDINGS},
        S.CHECKING: {Action.PASS_CHECKS: S.IN_REVIEW, Action.FAIL_CHECKS: S.FAILED_CHECKS, **_ENDINGS},
        S.FAILED_CHECKS: {
            Action.BEGIN_CHECKS: S.CHECKING,
            Action.REVIEW: S.IN_REVIEW,
            Action.REOPEN: S.OPEN,
            **_ENDINGS,
        },
        S.IN_REVIEW: {
            Action.APPROVE: S.APPROVED,
            Action.REQUEST_CHANGES: S.CHANGES_REQUESTED,
            Action.BEGIN_CHECKS: S.CHECKING,
            **_ENDINGS,
        },
        S.CHANGES_REQUESTED: {Action.REOPEN: S.OPEN, **_ENDINGS},
        S.APPROVED: {Action.BEGIN_PUBLISHING: S.PUBLISHING, Action.RECONSIDER: S.IN_REVIEW, **_ENDINGS},
        S.PUBLISHING: {Action.END_PUBLISHING: S.PUBLISHED, Action.STOP_PUBLISHING: S.APPROVED},
        S.PUBLISHED: {},
        S.REJECTED: {},
        S.WITHDRAWN: {},
        # Nobody has decided anything, so a curator may.
        S.EXPIRED: {Action.REVIEW: S.IN_REVIEW},
    }
)


class Reason(StrEnum):
    """Why a curator decides against a submission; the first four are those of IOCM (CID 7011)."""

    QUALITY = "quality"
    PATIENT_SAFETY = "patient_safety"
    WRONG_WORKLIST = "wrong_worklist"
    RETENTION_EXPIRED = "retention_expired"
    WRONG_PATIENT = "wrong_patient"
    DUPLICATE = "duplicate"
    PHI_IN_HEADER = "phi_in_header"
    PHI_IN_PIXELS = "phi_in_pixels"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    NOT_IN_PROTOCOL = "not_in_protocol"
    CORRUPT = "corrupt"
    OTHER = "other"


NEEDS_REASON: Final = frozenset({Action.REJECT, Action.REQUEST_CHANGES})
"""Actions that tell a submitter no."""


def next_state(state: S, action: Action) -> S:
    """Return where an action leads.

    Raises:
        TransitionError: the state does not know it; the error names the actions that it knows.
    """
    known = TRANSITIONS[state]
    if action not in known:
        raise TransitionError(state.value, action.value, allowed=tuple(each.value for each in asked_for(state)))
    return known[action]


def asked_for(state: S) -> tuple[Action, ...]:
    """Return the actions of a state that people ask for, in the order of the table."""
    return tuple(action for action in TRANSITIONS[state] if ACTORS[action] is not Actor.ARCHIVE)
