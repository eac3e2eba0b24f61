"""Transitions of submissions: the whole table."""

import pytest

from dicomweb_archive.errors import TransitionError
from dicomweb_archive.index.curation.submissions import SubmissionState as State
from dicomweb_archive.services.submissions.transitions import (
    ACTORS,
    TRANSITIONS,
    Action,
    Actor,
    asked_for,
    next_state,
)

ALLOWED = {(state, action) for state, actions in TRANSITIONS.items() for action in actions}


def test_every_state_and_every_action_stands_in_the_tables() -> None:
    assert set(TRANSITIONS) == set(State)
    assert set(ACTORS) == set(Action) == {action for _, action in ALLOWED}


@pytest.mark.parametrize("state", State)
def test_what_a_state_does_not_know_is_refused_and_what_it_knows_is_named(state: State) -> None:
    for action in Action:
        if (state, action) in ALLOWED:
            assert next_state(state, action) is TRANSITIONS[state][action]
        else:
            with pytest.raises(TransitionError) as refused:
                next_state(state, action)
            assert refused.value.allowed == tuple(each.value for each in asked_for(state))


def test_a_submission_can_go_all_the_way_and_from_every_state_somebody_can_end_it_or_it_ends_itself() -> None:
    way = [
        (Action.SEAL, State.SEALED),
        (Action.BEGIN_CHECKS, State.CHECKING),
        (Action.PASS_CHECKS, State.IN_REVIEW),
        (Action.APPROVE, State.APPROVED),
        (Action.BEGIN_PUBLISHING, State.PUBLISHING),
        (Action.END_PUBLISHING, State.PUBLISHED),
    ]
    state = State.OPEN
    for action, expected in way:
        if state is not State.PUBLISHING:
            assert {Action.REJECT, Action.WITHDRAW, Action.EXPIRE} <= set(TRANSITIONS[state])
        state = next_state(state, action)
        assert state is expected
    assert not TRANSITIONS[state]


def test_only_open_submissions_are_published_by_nobody_but_the_archive() -> None:
    assert ACTORS[Action.BEGIN_PUBLISHING] is Actor.ARCHIVE
    into_publishing = {state for state, actions in TRANSITIONS.items() if State.PUBLISHING in actions.values()}
    assert into_publishing == {State.APPROVED}
