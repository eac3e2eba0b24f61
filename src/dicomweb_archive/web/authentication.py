"""Credentials of a request -> Principal."""

from starlette.requests import Request

from dicomweb_archive.errors import UnauthenticatedError
from dicomweb_archive.services.access import AccessPolicy, Principal


def principal_of(request: Request, policy: AccessPolicy) -> Principal:
    """Tell who calls from `Authorization: Bearer KEY` (RFC 6750 2.1).

    Wrong credentials are refused even where none are needed, or a typing error would pass unnoticed.

    Raises:
        UnauthenticatedError: another scheme, or a key that is not known.
    """
    header = request.headers.get("authorization")
    if header is None:
        return policy.anonymous()
    scheme, _, key = header.partition(" ")
    if scheme.lower() != "bearer":
        message = "only the Bearer scheme is known; send `Authorization: Bearer KEY`"
        raise UnauthenticatedError(message)
    # Header bytes reach us decoded as Latin-1.
    return policy.identify(key.strip().encode("latin-1"))
