"""What a search says of itself in `Warning: 299` headers; names of parameters, never values."""

from dataclasses import dataclass, field
from typing import Final

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.attribute_paths import harmless
from dicomweb_archive.wire.search_limits import SearchLimits

_MOST_WARNINGS: Final = 10

LONG_TEXTS: Final = (
    "Of long texts wild cards match the first 512 characters; those of more than 1024 bytes may not be searched at all."
)
AS_WRITTEN: Final = (
    "TimezoneOffsetFromUTC was not applied to times in sequences and to dates that make no interval with a time."
)
SEVERAL_VALUES: Final = (
    "A value with a backslash stands for several, which match nothing here without multiplevaluematching=true."
)
OF_OTHER_LEVELS: Final = "Fields that are known of single series or instances only have been left out of this answer."
FUZZY: Final = (
    "Fuzzy matching of person names has been performed: each word of a key was looked for at the beginning of the "
    "words of a name, in any order and component group, without regard to case, accents and width, and with Latin, "
    "Cyrillic and Greek letters made alike."
)
NOT_FUZZY: Final = "Only literal matching has been performed for a person name with wild cards or without letters."


@dataclass(slots=True)
class Warnings:
    """The warnings about one search, in the order in which they came up."""

    limits: SearchLimits
    texts: list[str] = field(default_factory=list)

    def ignored(self, name: str, what: str) -> None:
        """Say that a parameter or field is not supported.

        Raises:
            InvalidParameterError: the archive is set to refuse such parameters.
        """
        text = warn_ignored(name, self.limits) if what == "parameter" else _ignored(name, what)
        if len(self.texts) >= _MOST_WARNINGS:
            text = "Further parameters or fields are not supported and have been ignored."
        if text not in self.texts:
            self.texts.append(text)


def warn_ignored(name: str, limits: SearchLimits) -> str:
    """Return the warning about a parameter that is not supported (PS3.18 8.3).

    Raises:
        InvalidParameterError: the archive is set to refuse it.
    """
    if limits.refuse_unsupported:
        raise InvalidParameterError(harmless(name) or "a parameter", accepted="only what is supported")
    return _ignored(name, "parameter")


def _ignored(name: str, what: str) -> str:
    named = f"The {what} {name}" if harmless(name) else f"A {what}"
    return f"{named} is not supported and has been ignored."
