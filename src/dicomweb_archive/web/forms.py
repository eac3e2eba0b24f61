"""Forms of our own pages: small bodies, read whole, that count from our own pages alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request

from dicomweb_archive.errors import (
    ForbiddenError,
    InvalidParameterError,
    InvalidRequestError,
    UnsupportedMediaTypeError,
)
from dicomweb_archive.web.authentication import is_from_own_page
from dicomweb_archive.web.bodies import whole_body
from dicomweb_archive.web.dependencies import get_services

_FORM: Final = "application/x-www-form-urlencoded"
_MAX_BYTES: Final = 8192
_MAX_FIELDS: Final = 8


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form; of several with one name the first counts where one is asked for."""

    fields: Mapping[str, Sequence[str]]

    def get(self, name: str) -> str:
        """Return what stands in a field, nothing where there is none."""
        return self.fields.get(name, ("",))[0]

    def holds(self, name: str, value: str) -> bool:
        """Tell whether one of the fields of a name has this value, such as that of a box that was ticked."""
        return value in self.fields.get(name, ())

    def text(self, name: str, *, at_most: int, trimmed: bool = True) -> str:
        """Return what somebody has written, with plain line ends and, unless it says otherwise, no blanks around it.

        Raises:
            InvalidParameterError: it is too long, or holds the character NUL.
        """
        text = self.get(name).replace("\r\n", "\n")
        if trimmed:
            text = text.strip()
        if len(text) > at_most or "\0" in text:
            raise InvalidParameterError(name, accepted=f"a text of at most {at_most} characters")
        return text

    def numbers(self, name: str) -> Sequence[int]:
        """Return the numbers of all fields of a name, such as those of what was ticked.

        Raises:
            InvalidParameterError: one of them is no number of ours.
        """
        texts = self.fields.get(name, ())
        if not all(text.isascii() and text.isdecimal() and len(text) < 19 for text in texts):
            raise InvalidParameterError(name, accepted="numbers, as the page has them")
        return [int(text) for text in texts]


def require_own_page(request: Request) -> None:
    """Let only forms of our own pages pass: a page elsewhere may send one in the name of whoever looks at it (CSRF).

    Raises:
        ForbiddenError: nothing says that one of our pages has sent it, and no key does either.
    """
    if "authorization" not in request.headers and not is_from_own_page(request, get_services(request).addresses):
        raise ForbiddenError("this is done with the forms of the archive's own pages")


async def read_form(request: Request, *, at_most: int = _MAX_BYTES, fields: int = _MAX_FIELDS) -> Form:
    """Read a small form.

    Raises:
        UnsupportedMediaTypeError: it is none.
        RequestTooLargeError: it has more bytes than `at_most`.
        InvalidRequestError: it has more than so many fields.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise UnsupportedMediaTypeError("a form is expected here", supported=(_FORM,))
    body = await whole_body(request, at_most=at_most, what="form")
    try:
        return Form(parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=fields))
    except ValueError:
        raise InvalidRequestError("the form has too many fields") from None
