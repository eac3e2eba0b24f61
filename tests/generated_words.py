"""Generates words near those of stored instances: fuzzy names and free text."""

import random
import re
import unicodedata
from typing import Any

from tests.reference_words import SEARCHED_VRS

ALSO = {
    "müller": "Mueller", "jörg": "Joerg", "mueller": "Müller", "łukasz": "Lukasz", "ørsted": "Oersted", "grün": "GRUEN",
    "παπαδόπουλος": "Papadopoulos", "νίκος": "Nikos", "иванов": "Ivanov", "иван": "Ivan", "やまだ": "ヤマダ",
    "o'hara": "ohara", "o'brien-smith": "smith",
}  # fmt: skip
"""Other ways to write generated names."""

_WORDS = re.compile(r"[^\W_]+")


def fuzzy_near(chance: random.Random, name: str) -> str | None:
    """Draw some words of a name in some order, cut or written otherwise; None when it has none."""
    words = [word for word in re.split(r"[\s^=]+", name) if _WORDS.search(word)]
    if not words:
        return None
    drawn = [_as_typed(chance, word) for word in chance.sample(words, chance.choice([1, 1, min(2, len(words))]))]
    return chance.choice([" ", "^", ", "]).join(drawn) + chance.choice(["", "", "*", "^"])


def _as_typed(chance: random.Random, word: str) -> str:
    if word.lower() in ALSO and chance.random() < 0.4:
        return ALSO[word.lower()]
    bare = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
    cut = chance.randrange(1, len(word) + 1)
    first, rest = _WORDS.findall(word)[:1], word[:cut]
    return chance.choice([word, rest if _WORDS.search(rest) else word, word.upper(), bare, "".join(first), f"?{word}"])


def text_near(chance: random.Random, attributes: dict[int, tuple[str, list[Any]]]) -> str | None:
    """Draw words of texts of an instance, and at times a phrase; None when there are none."""
    texts = [" ".join(_WORDS.findall(text)) for text in _texts(attributes)]
    texts = [text for text in texts if 1 < len(text) <= 64]
    if not texts:
        return None
    pieces = []
    for _ in range(chance.choice([1, 1, 2, 3])):
        words = chance.choice(texts).split()
        begin = chance.randrange(len(words))
        if chance.random() < 0.3:
            pieces.append('"' + " ".join(words[begin : begin + 3]) + '"')
        else:
            word = words[begin]
            pieces.append(chance.choice([word, word[:-1], word.upper(), word[:2], word + "x", word[1:]]))
    if sum(len("".join(_WORDS.findall(piece))) > 1 for piece in pieces) == 0:
        return None
    return chance.choice([" ", ", ", " - "]).join(pieces)


def _texts(attributes: dict[int, tuple[str, list[Any]]]) -> list[str]:
    found = []
    for vr, values in attributes.values():
        for value in values:
            if vr == "SQ":
                found += _texts(value)
            elif vr in SEARCHED_VRS:
                found += str(value).split("=") if vr == "PN" else [str(value)]
    return found
