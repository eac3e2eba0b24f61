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
    with_included,
)


@pytest.mark.parametrize("role", Role)
def test_without_a_key_everybody_may_do_everything(role: Role) -> None:
    require(AccessPolicy().anonymous(), role)


def test_with_a_key_the_anonymous_may_only_read() -> None:
    anonymous = AccessPolicy("secret").anonymous()
    require(anonymous, Role.READER)
    for role in (Role.SUBMITTER, Role.MANAGER):
        with pytest.raises(UnauthenticatedError):
            require(anonymous, role)


def test_reading_can_need_the_key_too() -> None:
    with pytest.raises(UnauthenticatedError):
        require(AccessPolicy("secret", anonymous_read=False).anonymous(), Role.READER)


@pytest.mark.parametrize("role", Role)
def test_the_holder_of_the_key_may_do_everything(role: Role) -> None:
    require(AccessPolicy("schlüssel").identify("schlüssel".encode()), role)


@pytest.mark.parametrize("key", [b"", b"Secret", b"secre", b"secret ", b"\xff\xfe", b"x" * 10_000])
def test_other_keys_are_refused_without_being_repeated(key: bytes) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        AccessPolicy("secret").identify(key)
    assert repr(key) not in str(caught.value)


def test_a_key_is_refused_where_none_is_set() -> None:
    with pytest.raises(UnauthenticatedError):
        AccessPolicy().identify(b"")


def test_a_known_principal_without_the_role_is_forbidden() -> None:
    reader = Principal("someone", PrincipalKind.KEY_HOLDER, frozenset({Role.READER}))
    with pytest.raises(ForbiddenError):
        require(reader, Role.SUBMITTER)


def test_only_managers_see_studies_under_embargo() -> None:
    assert not ANONYMOUS.sees.see_embargoed
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
