"""Who may do what."""

import pytest

from dicomweb_archive.errors import ForbiddenError, UnauthenticatedError
from dicomweb_archive.services.access import (
    ANONYMOUS,
    KEY_HOLDER,
    AccessPolicy,
    Principal,
    PrincipalKind,
    Role,
    require,
    require_everywhere,
    with_included,
)

LOCKED = AccessPolicy(is_open=False)
CLOSED = AccessPolicy(is_open=False, anonymous_read=False)


@pytest.mark.parametrize("role", Role)
def test_an_open_archive_lets_everybody_do_everything(role: Role) -> None:
    require(AccessPolicy().anonymous(), role)
    require(AccessPolicy().anonymous(), role, 3)


def test_where_keys_are_asked_for_the_anonymous_may_only_read() -> None:
    require(LOCKED.anonymous(), Role.READER)
    for role in (Role.SUBMITTER, Role.MANAGER):
        with pytest.raises(UnauthenticatedError):
            require(LOCKED.anonymous(), role)


def test_the_anonymous_hold_a_role_in_no_collection() -> None:
    assert not ANONYMOUS.has(Role.READER, 1)


def test_reading_can_need_a_key_too() -> None:
    with pytest.raises(UnauthenticatedError):
        require(CLOSED.anonymous(), Role.READER)


@pytest.mark.parametrize("role", Role)
def test_the_holder_of_the_static_key_may_do_everything(role: Role) -> None:
    require(KEY_HOLDER, role)
    require(KEY_HOLDER, role, 3)


def test_what_concerns_all_needs_the_role_in_all_collections() -> None:
    everywhere, here = LOCKED.holder("a", {Role.MANAGER}, None), LOCKED.holder("b", {Role.MANAGER}, {3})
    for collection in (None, 3):
        require(everywhere, Role.MANAGER, collection)
        require(here, Role.MANAGER, collection)
    require_everywhere(everywhere, Role.MANAGER)
    with pytest.raises(ForbiddenError, match="in this collection"):
        require(here, Role.MANAGER, 4)
    with pytest.raises(ForbiddenError, match="in every collection"):
        require_everywhere(here, Role.MANAGER)
    with pytest.raises(UnauthenticatedError):
        require_everywhere(LOCKED.anonymous(), Role.MANAGER)


def test_a_known_principal_without_the_role_is_forbidden() -> None:
    reader = Principal("someone", PrincipalKind.KEY_HOLDER, frozenset({Role.READER}))
    with pytest.raises(ForbiddenError):
        require(reader, Role.SUBMITTER)


def test_only_managers_of_all_collections_see_studies_under_embargo() -> None:
    assert not ANONYMOUS.sees.see_embargoed
    assert not LOCKED.holder("a", {Role.CURATOR}, None).sees.see_embargoed
    assert not LOCKED.holder("a", {Role.MANAGER}, {3}).sees.see_embargoed
    assert LOCKED.holder("a", {Role.MANAGER}, None).sees.see_embargoed
    assert KEY_HOLDER.sees.see_embargoed


def test_a_curator_may_store_and_read_but_not_manage() -> None:
    assert with_included({Role.CURATOR}) == {Role.READER, Role.SUBMITTER, Role.CURATOR}


def test_a_submitter_is_no_reader() -> None:
    assert with_included({Role.SUBMITTER}) == {Role.SUBMITTER}


def test_an_administrator_may_do_everything() -> None:
    assert with_included({Role.ADMIN}) == set(Role)


def test_roles_count_in_the_collections_of_the_principal_only() -> None:
    curator = Principal("someone", PrincipalKind.KEY_HOLDER, with_included({Role.CURATOR}), frozenset({3}))
    assert curator.has(Role.SUBMITTER, 3)
    assert not curator.has(Role.SUBMITTER, 4)
    assert not curator.has(Role.MANAGER, 3)


def test_roles_without_collections_count_in_all() -> None:
    assert KEY_HOLDER.has(Role.ADMIN, 7)
