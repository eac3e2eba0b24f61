"""Words of person names: what fuzzy matching compares (PS3.18 8.3.4.2).

A word is what stands between delimiters, blanks, hyphens, apostrophes and other punctuation, without case, accents
and width. Latin, Cyrillic and Greek letters become ASCII, katakana hiragana; words of other scripts stay as they
are. A word has up to two spellings, because letters are written in Latin in more than one way (`Müller`, `Mueller`,
`Muller`; `Хабаров`, `Khabarov`, `Habarov`).

The spellings stand in the index, so a change of these tables needs a migration that fills it anew. That is also why
the tables are ours and not a library's, whose next release might spell differently.
"""

import re
import unicodedata
from functools import lru_cache
from types import MappingProxyType
from typing import Final

KEY_WORDS: Final = 16
"""Most words of one search value."""

KEY_CHARACTERS: Final = 1024
"""Longest search value: folding one of many kilobytes, of letters that stand for sentences, would hold others up."""

ACCEPTED_KEY: Final = f"at most {KEY_WORDS} words, {KEY_CHARACTERS} characters in all, for fuzzy matching"

STORED_WORDS: Final = 64
"""Most spellings that are kept of one stored name; what comes later in the name is not found by fuzzy matching."""

WORD_CHARACTERS: Final = 64
"""Spellings are cut to this length, on both sides of a comparison."""

_STARS_AFTER_WORD: Final = re.compile(r"\*+(?=[^\w*?]|\Z)")

_JOINTS: Final = "-'’‘ʹʻʼʽʾʿ‐‑‒–—"
"""Hyphens and apostrophes: `O'Brien` is found as `Brien` and as `OBrien`."""


def _table(pairs: str) -> dict[str, str]:
    return {letter: spelling for letter, _, spelling in (pair.partition("=") for pair in pairs.split())}


_LATIN: Final = _table("æ=ae œ=oe ø=o ł=l đ=d ð=d þ=th ħ=h ı=i ŋ=ng ŧ=t ə=a ɛ=e ɔ=o ƙ=k ɓ=b ɗ=d ɖ=d ƴ=i ĸ=k")
# Without й, ё, ї and ў: they are и, е, і and у with an accent.
_CYRILLIC: Final = _table(
    "а=a б=b в=v г=g д=d е=e ж=zh з=z и=i к=k л=l м=m н=n о=o п=p р=r с=s т=t у=u ф=f х=kh ц=ts ч=ch "
    "ш=sh щ=shch ы=i э=e ю=iu я=ia ґ=g є=ie і=i ђ=dj ј=j љ=lj њ=nj ћ=c џ=dz ѕ=dz қ=k ғ=g ң=n ө=o ұ=u "
    "ү=u һ=h ә=a ѣ=e ѳ=f ѵ=i ъ= ь="
)
_GREEK: Final = _table(
    "α=a β=v γ=g δ=d ε=e ζ=z η=i θ=th ι=i κ=k λ=l μ=m ν=n ξ=x ο=o π=p ρ=r σ=s ς=s τ=t υ=i φ=f χ=ch ψ=ps ω=o"
)
_KATAKANA: Final = MappingProxyType({letter: chr(letter - 0x60) for letter in range(0x30A1, 0x30F7)})
# `y` and `i` are one letter: Yuri, Iurii and Yuriy are ways to write Юрий.
_PLAIN: Final = MappingProxyType(str.maketrans({**_LATIN, **_CYRILLIC, **_GREEK, "y": "i"}))
# The scholarly way, which is also that of the Slavic languages with Latin letters, without its accents.
_OTHER: Final = MappingProxyType(dict(_PLAIN) | str.maketrans(_table("ж=z х=h ц=c ч=c ш=s щ=sc ђ=d đ=dj")))
_GREEK_PAIRS: Final = MappingProxyType(
    {"ου": "ou", "αυ": "av", "ευ": "ev", "ηυ": "iv", "γγ": "ng", "γκ": "gk", "γξ": "nx", "γχ": "nch", "μπ": "b"}
)
_GREEK_PAIR: Final = re.compile("|".join(_GREEK_PAIRS))
_J: Final = "\ue000"
# Not after a vowel or q (Bauer, Quentin) and not at the end (Joe, Sue), where it is no umlaut.
_UMLAUT: Final = re.compile(r"(?<![aeiouq])(?:([aou])e|(a)a)(?=[b-df-hj-np-tv-z])")


def without_accents(text: str) -> str:
    """Fold case and width, and leave accents out."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    # Put together again, so that `?` stands for a syllable of Hangul and not for a letter of it.
    return unicodedata.normalize("NFC", "".join(c for c in folded if not unicodedata.combining(c)))


def stored_words(name: str) -> tuple[str, ...]:
    """Return every spelling of every word of a stored name, or of its form in the index, each once."""
    words = dict.fromkeys(
        spelling
        for parts in _chunks(name)
        for word in (*parts, *(["".join(parts)] if len(parts) > 1 else []))
        for spelling in _spellings(word)
    )
    return tuple(words)[:STORED_WORDS]


def key_words(value: str) -> tuple[tuple[str, ...], ...]:
    """Return the spellings of each word of a search value."""
    spellings = (_spellings(word) for parts in _chunks(value) for word in parts)
    return tuple(dict.fromkeys(filter(None, spellings)))


def fuzzy_words(value: str) -> tuple[tuple[str, ...], ...] | None:
    """Read the words of a fuzzy key; none where wild cards, or the lack of letters, ask for literal matching.

    `None` is given for a key beyond the limits.

    A word stands for its beginning, so an asterisk after one says nothing more.
    """
    plain = _STARS_AFTER_WORD.sub("", value)
    if "*" in plain or "?" in plain:
        return ()
    words = key_words(plain) if len(plain) <= KEY_CHARACTERS else None
    return words if words is not None and len(words) <= KEY_WORDS else None


def words_match(wanted: tuple[tuple[str, ...], ...], stored: frozenset[str]) -> bool:
    """Tell whether a spelling of each wanted word begins a stored one."""
    return all(any(word.startswith(spellings) for word in stored) for spellings in wanted)


def _chunks(text: str) -> list[list[str]]:
    """Split at blanks and punctuation, then each piece at hyphens and apostrophes."""
    folded = without_accents(text)
    if not folded.isascii():
        folded = folded.translate(_KATAKANA)
    pieces = "".join(map(_delimited, folded)).split()
    return [parts for piece in pieces if (parts := [part for part in piece.split("-") if part])]


@lru_cache(maxsize=4096)
def _delimited(character: str) -> str:
    """Give a letter, digit or mark as it is, a hyphen for what joins, a blank for what separates."""
    if character in _JOINTS:
        return "-"
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    return " " if category[0] in "PSZ" or category == "Cc" else character


@lru_cache(maxsize=16_384)
def _spellings(word: str) -> tuple[str, ...]:
    """Write one folded word in up to two ways; the first changes letter by letter, so that it keeps beginnings."""
    plain = word.translate(_PLAIN)
    other = word if word.isascii() else _GREEK_PAIR.sub(lambda pair: _GREEK_PAIRS[pair[0]], word)
    # A j becomes the i that it stands for only behind umlauts: no vowel goes before that of Joerg.
    other = other.replace("j", _J).translate(_OTHER)
    other = _UMLAUT.sub(r"\1\2", other).replace(_J, "i").replace("ph", "f").replace("ii", "i")
    return tuple(dict.fromkeys(filter(None, (plain[:WORD_CHARACTERS], other[:WORD_CHARACTERS]))))
