"""The slow and obvious words: fuzzy person names (PS3.18 8.3.4.2) and free text, as docs/conformance.md says them.

Written from those words, and from nothing of the implementation. Of letters it knows those that generated names have.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

LETTERS = str.maketrans(
    dict(zip("øłиван", "olivan", strict=True))
    | dict(zip("о", "o", strict=True))
    | dict(zip("παδουλσνικ", "padoilsnik", strict=True))
    | dict(zip("ヤマダタロウ", "やまだたろう", strict=True))
    # Yuri, Iurii and Yuriy are one name.
    | {"y": "i"}
)
UMLAUTS = {"mueller": "muller", "joerg": "jorg", "gruen": "grun", "oersted": "orsted"}
"""What is written with two letters, and with one."""

SEARCHED_VRS = ("AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
UNDIVIDED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
JOINTS = "-'’"


def _bare(text: str) -> str:
    """Leave out case, width and accents."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", "".join(letter for letter in apart if not unicodedata.combining(letter)))


# --- fuzzy names ---------------------------------------------------------------------------------------------------


def fuzzy_test(text: str, values: Iterable[Any]) -> bool | None:
    """Tell whether each word of a key begins a word of the values; None where only literal matching is meant."""
    wanted = fuzzy_words(text)
    if not wanted:
        return None
    words = {word for value in values for word in _words_of_name(str(value))}
    return all(any(_begins(one, word) for word in words) for one in wanted)


def fuzzy_words(text: str) -> list[str]:
    """Return the words of a fuzzy key; none where wild cards stand elsewhere than behind a word, or no letters do."""
    plain = re.sub(r"\*+(?=[^\w*?]|\Z)", "", text)
    return [] if re.search(r"[*?]", plain) else [part for word in _pieces(plain) for part in word]


def _words_of_name(name: str) -> Iterator[str]:
    for parts in _pieces(name):
        yield from (*parts, "".join(parts))


def _pieces(name: str) -> list[list[str]]:
    """Split a name at everything but letters, and each piece at hyphens and apostrophes."""
    pieces = re.findall(rf"(?:[^\W_]|[{JOINTS}])+", _bare(name))
    return [parts for piece in pieces if (parts := re.findall(r"[^\W_]+", piece))]


def _begins(beginning: str, word: str) -> bool:
    return any(whole.startswith(part) for whole in _spelt(word) for part in _spelt(beginning))


def _spelt(word: str) -> set[str]:
    found = {word.translate(LETTERS), word.replace("ου", "ou").translate(LETTERS)}
    for two, one in UMLAUTS.items():
        if two.startswith(word) and len(word) > two.index("e") + 1:
            found.add(one[: len(word) - 1])
    # As scholars write it: Jurij.
    return found | {spelling.replace("j", "i") for spelling in found}


# --- free text -----------------------------------------------------------------------------------------------------


def has_text(attributes: dict[int, tuple[str, list[Any]]], asked: str) -> bool:
    """Tell whether a data set has every word and phrase, in whatever attribute."""
    values = [_letters(value) for value in _texts(attributes)]
    pieces = [(phrase, True) if phrase else (plain, False) for phrase, plain in re.findall(r'"([^"]*)"|([^"]+)', asked)]
    for piece, is_phrase in pieces:
        words = re.findall(r"[^\W_]+", piece)
        phrases = [words] if is_phrase else [[word] for word in words]
        for phrase in phrases:
            if sum(map(len, phrase)) > 1 and not any(_stands_in(phrase, value, whole=is_phrase) for value in values):
                return False
    return True


def _texts(attributes: dict[int, tuple[str, list[Any]]]) -> Iterator[str]:
    for vr, values in attributes.values():
        for value in values:
            if vr == "SQ":
                yield from _texts(value)
            elif vr in SEARCHED_VRS:
                # Each component group of a name is a text of its own.
                yield from str(value).split("=") if vr == "PN" else (str(value),)


def _letters(text: str) -> str:
    """Leave out case, width and accents, one letter for one."""
    return "".join(_letter(letter) for letter in text)


def _letter(letter: str) -> str:
    plain = {"ø": "o", "ł": "l", "Ø": "o", "Ł": "l"}.get(letter)
    apart = unicodedata.normalize("NFKD", letter).lower()
    return plain or "".join(part for part in apart if unicodedata.category(part) != "Mn")


def _stands_in(phrase: list[str], text: str, *, whole: bool) -> bool:
    words = r"[\W_]+".join(
        "(?:" + "|".join({re.escape(_letters(word)), re.escape(_letters(_bare(word)))}) + ")" for word in phrase
    )
    begins = "" if UNDIVIDED.match(phrase[0]) else r"(?<![^\W_])"
    return re.search(begins + words + (r"(?![^\W_])" if whole else ""), text) is not None
