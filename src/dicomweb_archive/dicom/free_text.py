"""Free text: words looked for in whatever attribute of an instance holds them.

An instance has a word when some value of an attribute of `TEXT_VRS`, at whatever depth and standard or private, has a
word that begins with it. Values are taken in the form of `dicom/comparable_values.py`, their first 512 characters; both
sides go through `folded`. A word is what stands between blanks and punctuation. Scripts that are
written without blanks begin a word anywhere.

The folded form stands under an index, so a change of these tables needs a migration that builds it anew.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dicomweb_archive.dicom.comparable_values import normalise
from dicomweb_archive.dicom.instance import Attributes, Element
from dicomweb_archive.dicom.name_words import without_accents

TEXT_VRS: Final = ("AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UN", "UR", "UT")
"""VRs whose values are texts; UN for private attributes that were held without their VR at first."""

SEARCHED_CHARACTERS: Final = 512
"""So much of a value is searched: what the dictionary keeps of it."""

# Everything of ASCII but letters and digits; all other separators fold to a blank.
_SEPARATORS: Final = r"[\x01-/:-@[-`{-\x7f]"
# No blanks between words: Thai to Khmer, kana, ideographs.
_UNDIVIDED: Final = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_BARRED: Final = dict(zip("øłđħŧıØŁĐĦŦ", "oldhtioldht", strict=True))
_FOLDED_BLOCKS: Final = ((0x41, 0x5B), (0x80, 0x590), (0x1E00, 0x2070), (0x3000, 0x3021), (0xFF01, 0xFF66))


def _fold(character: str) -> str:
    """Give one character for one, nothing for an accent that stands alone."""
    if character in _BARRED:
        return _BARRED[character]
    category = unicodedata.category(character)
    if category[0] in "PSZ" or category in ("Cc", "Cf"):
        return " "
    if "！" <= character <= "～":
        character = chr(ord(character) - 0xFEE0)
    apart = unicodedata.normalize("NFD", unicodedata.normalize("NFD", character).lower())
    bare = "".join(each for each in apart if unicodedata.category(each) != "Mn")
    return bare if len(bare) <= 1 else character


def _folding() -> tuple[str, str]:
    pairs = [(chr(code), _fold(chr(code))) for block in _FOLDED_BLOCKS for code in range(*block)]
    changed = [(before, after) for before, after in pairs if before != after]
    # What has no counterpart is left out by SQL's `translate` when it comes last.
    changed.sort(key=lambda pair: not pair[1])
    return "".join(before for before, _ in changed), "".join(after for _, after in changed)


FOLDED_FROM, FOLDED_TO = _folding()
"""What `folded` changes and to what, character by character; of the first those that stand behind go."""

_TABLE: Final[Mapping[int, str]] = {
    ord(before): FOLDED_TO[number : number + 1] for number, before in enumerate(FOLDED_FROM)
}
_WORD: Final = re.compile(r"[^\x01-/:-@\[-`{-\x7f]+")


def folded(text: str) -> str:
    """Fold case, accents and width letter by letter; every separator beyond ASCII becomes a blank."""
    return text.lower() if text.isascii() else text.translate(_TABLE)


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that follow each other in one value.

    Attributes:
        words: of each its spellings, of which one is enough.
        whole: the last word is a whole one, not the beginning of one.
    """

    words: tuple[tuple[str, ...], ...]
    whole: bool = False

    @property
    def length(self) -> int:
        """How many letters and digits it has at least."""
        return sum(min(map(len, spellings)) for spellings in self.words)

    @property
    def pattern(self) -> str:
        """The regular expression that finds it in a folded text, the same for Python and PostgreSQL."""
        words = ("|".join(spellings) if len(spellings) == 1 else f"({'|'.join(spellings)})" for spellings in self.words)
        begins = "" if _UNDIVIDED.match(self.words[0][0]) else f"(^|{_SEPARATORS})"
        return begins + f"{_SEPARATORS}+".join(words) + (f"({_SEPARATORS}|$)" if self.whole else "")


def words_of(text: str) -> tuple[tuple[str, ...], ...]:
    """Split a text into words, each with its spellings (`straße`, `strasse`)."""
    # One blank for each character that goes, so that places are the same.
    places = "".join(folded(character) or character for character in text)
    return tuple(filter(None, (_spellings(text[slice(*found.span())]) for found in _WORD.finditer(places))))


def _spellings(word: str) -> tuple[str, ...]:
    spellings = (folded(word), folded(without_accents(word)))
    return tuple(dict.fromkeys(each for each in spellings if _WORD.fullmatch(each)))


def text_matches(attributes: Attributes, text: tuple[Phrase, ...]) -> bool:
    """Tell whether one instance has all words and phrases; plain, slow, and the oracle of the SQL."""
    return texts_match(folded_texts(attributes), text)


def texts_match(values: Collection[str], text: tuple[Phrase, ...]) -> bool:
    """Tell whether the folded texts of one instance have all words and phrases."""
    return all(any(map(re.compile(phrase.pattern).search, values)) for phrase in text)


def folded_texts(attributes: Attributes) -> frozenset[str]:
    """Return all texts of one instance that are searched, folded."""
    return frozenset(map(folded, _texts(attributes)))


def _texts(attributes: Attributes) -> Iterator[str]:
    for element in attributes.values():
        yield from _texts_of(element)


def _texts_of(element: Element) -> Iterator[str]:
    for value in element.values:
        if isinstance(value, Mapping):
            yield from _texts(value)
        elif isinstance(value, str) and element.vr in TEXT_VRS and not element.is_bulk:
            yield from (form.text[:SEARCHED_CHARACTERS] for form in normalise(element.vr, value))
