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
    visibility_of,
)


@pytest.mark.parametrize("role", Role)
def test_without_a_key_everybody_may_do_everything(role: Role) -> None:
    require(AccessPolicy().anonymous(), role)


def test_with_a_key_the_anonymous_may_only_read() -> None:
    anonymous = AccessPolicy("secret").anonymous()
    require(anonymous, Role.READER)
    for role in (Role.WRITER, Role.MANAGER):
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
        require(reader, Role.WRITER)


def test_only_managers_see_studies_under_embargo() -> None:
    assert not visibility_of(ANONYMOUS).see_embargoed
    assert visibility_of(KEY_HOLDER).see_embargoed
