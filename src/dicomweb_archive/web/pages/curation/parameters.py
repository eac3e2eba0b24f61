"""Parameters of pages: each known by its name and bounded, for what is misspelt would show something else."""

from collections.abc import Collection
from typing import Final

from starlette.requests import Request

from dicomweb_archive.errors import InvalidParameterError, InvalidRequestError
from dicomweb_archive.wire.resources import is_uid

_LONGEST: Final = 1024
_MOST_OFFSET: Final = 1_000_000


def require_known(request: Request, names: Collection[str]) -> None:
    """Refuse parameters that a page does not have, and any that comes twice.

    Raises:
        InvalidRequestError: there is one.
    """
    asked = [name for name, _ in request.query_params.multi_items()]
    if len(asked) != len(set(asked)) or not set(asked) <= set(names):
        message = f"this page takes the parameters {', '.join(names)}, each once"
        raise InvalidRequestError(message)


def text_of(request: Request, name: str, *, at_most: int = _LONGEST) -> str:
    """Return the text of a parameter, nothing where it is missing.

    Raises:
        InvalidParameterError: it is too long, or holds the character NUL.
    """
    text = request.query_params.get(name, "").strip()
    if len(text) > at_most or "\0" in text:
        raise InvalidParameterError(name, accepted=f"a text of at most {at_most} characters")
    return text


def choice_of(request: Request, name: str, choices: Collection[str], default: str = "") -> str:
    """Return which of some values a parameter has.

    Raises:
        InvalidParameterError: it has another.
    """
    value = request.query_params.get(name, "") or default
    if value and value not in choices:
        raise InvalidParameterError(name, accepted=", ".join(choices))
    return value


def number_of(request: Request, name: str, *, at_most: int = _MOST_OFFSET) -> int:
    """Return a whole number, 0 where it is missing.

    Raises:
        InvalidParameterError: it is none, or too large.
    """
    text = request.query_params.get(name, "") or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text) <= at_most):
        raise InvalidParameterError(name, accepted=f"a number up to {at_most}")
    return int(text)


def uid_of(request: Request, name: str) -> str:
    """Return a UID, nothing where it is missing.

    Raises:
        InvalidParameterError: it is none.
    """
    text = request.query_params.get(name, "")
    if text and not is_uid(text):
        raise InvalidParameterError(name, accepted="a UID")
    return text
