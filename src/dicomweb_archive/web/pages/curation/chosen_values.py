"""Values of an attribute that are ticked on their page, as its forms send them."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.web.forms import Form

LARGEST_FORM: Final = 1_000_000
"""A page of values has far less, unless most of them are long: then fewer are chosen at once."""

# What is shown of a value has far less than a thousand characters, of up to four bytes, each byte as three.
_LONGEST: Final = 12_000


def chosen_texts(form: Form) -> Sequence[str]:
    """Return the values that are ticked, which come percent-encoded: a form by itself makes all line ends the same.

    Raises:
        InvalidParameterError: one is too long, or holds the character NUL.
    """
    texts = form.fields.get("old", ())
    # Blanks at the ends of a value are what may be wrong with it.
    values = [unquote(text) for text in texts]
    if any(len(text) > _LONGEST for text in texts) or any("\0" in value for value in values):
        raise InvalidParameterError("old", accepted="values as the page has them")
    return values


def chosen_values(form: Form) -> Sequence[str | None]:
    """Return the values that are ticked, and `None` for binary ones, which have a box of their own.

    Raises:
        InvalidParameterError: see `chosen_texts`.
    """
    binary = [None] if "binary" in form.fields else []
    return [*chosen_texts(form), *binary]
