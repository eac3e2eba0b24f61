"""The parameter `text` of a search, an extension of ours: words and phrases in quotes, looked for in any attribute."""

import re
import unicodedata
from typing import Final

from dicomweb_archive.dicom.free_text import Phrase, words_of
from dicomweb_archive.errors import InvalidParameterError

NAME: Final = "text"
MOST_WORDS: Final = 10
MOST_CHARACTERS: Final = 256
SHORTEST: Final = 2

LEFT_OUT: Final = "Words of one character in text have not been looked for."

_ACCEPTED: Final = (
    f"1 to {MOST_WORDS} words of at least {SHORTEST} letters or digits, {MOST_CHARACTERS} characters in all, "
    "without control characters, quotation marks in pairs"
)
_PIECE: Final = re.compile(r'"([^"]*)"|([^"]+)')


def parse_text(value: str) -> tuple[tuple[Phrase, ...], bool]:
    """Read words and phrases, each once; tells too whether words were too short to be looked for.

    Raises:
        InvalidParameterError: there is nothing to look for, or too much, or what is no text.
    """
    controls = any(unicodedata.category(character) == "Cc" for character in value)
    if controls or len(value) > MOST_CHARACTERS or value.count('"') % 2:
        raise InvalidParameterError(NAME, accepted=_ACCEPTED)
    phrases = dict.fromkeys(phrase for found in _PIECE.finditer(value) for phrase in _phrases(*found.groups()))
    wanted = tuple(phrase for phrase in phrases if phrase.length >= SHORTEST)
    if not 1 <= sum(len(phrase.words) for phrase in wanted) <= MOST_WORDS:
        raise InvalidParameterError(NAME, accepted=_ACCEPTED)
    return wanted, len(wanted) < len(phrases)


def _phrases(quoted: str | None, plain: str | None) -> list[Phrase]:
    if quoted is None:
        return [Phrase((word,)) for word in words_of(plain or "")]
    words = words_of(quoted)
    return [Phrase(words, whole=True)] if words else []
