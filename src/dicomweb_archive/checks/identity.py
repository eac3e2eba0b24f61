"""Checks of text that may say who somebody is: identifiers elsewhere than at their place, and patterns."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from dicomweb_archive.checks.content import Placed, SeriesPart, first_text, texts_of
from dicomweb_archive.checks.findings import Remark, Severity
from dicomweb_archive.dicom.name_words import without_accents

_PATIENT_NAME: Final = 0x00100010
_BIRTH_DATE: Final = 0x00100030
_STUDY_DATE: Final = 0x00080020
_PATIENT_AGE: Final = 0x00101010
_NAMES: Final = frozenset({_PATIENT_NAME, 0x00101001, 0x00101005, 0x00101060, 0x00102297})
_IDS: Final = frozenset({0x00100020, 0x00101000})
# Where identifiers belong, and those that trials give instead of them (PS3.3 C.7.1.3).
_HOMES: Final = _NAMES | _IDS | {_BIRTH_DATE, 0x00120040, 0x00120042}

_FREE_TEXT_VRS: Final = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
_SEARCHED_VRS: Final = _FREE_TEXT_VRS | {"AE", "PN", "UR"}
_DATE_VRS: Final = frozenset({"DA", "DT"})

_SHORTEST_NAME: Final = 3
_SHORTEST_ID: Final = 4
_SHORTEST_NUMBER: Final = 6
_SHORTEST_UNSPACED: Final = 2
_LONGEST_IDENTIFIER: Final = 256
_MOST_IDENTIFIERS: Final = 256
_WORD: Final = re.compile(r"[^\W_]+")
# Letters or digits alone: `MRN123456` and `Doe2` are each two of them.
_RUN: Final = re.compile(r"[^\W\d_]+|\d+")
_FIRST_UNSPACED: Final = "\u2e80"
"""From here on are the scripts of East Asia, which put no blanks between words."""

# Bounded repetitions only: the texts are hostile, and up to 64 KiB long.
_PATTERNS: Final[Mapping[str, re.Pattern[str]]] = {
    "text looks as if it held an e-mail address": re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}\.\w"),
    "text looks as if it held a social security number": re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"),
    "text looks as if it held a telephone number": re.compile(
        r"(?<![\w.-])(?:(?:\+\d{1,3}[ /-]?(?:\(\d{1,4}\)|\d{1,4})|\(\d{2,5}\)|\d{3}|0\d{3,4})[ /-]\d{3,4}[ -]?\d{3,4}"
        r"|\d{3}\.\d{3}\.\d{4})(?![\w-]|\.\w)"
    ),
    "text looks as if it held a date": re.compile(
        r"(?<!\d)(?:(?:19|20)\d\d([-/.])(?:0?[1-9]|1[0-2])\1(?:[0-2]?\d|3[01])"
        r"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
        r"|(?:[0-2]?\d|3[01])([-/.])(?:[0-2]?\d|3[01])\2(?:19|20)\d\d"
        r"|(?:[0-2]?\d|3[01])[ .-]{1,2}(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}[ .,-]{1,2}"
        r"(?:19|20)\d\d)(?!\d)"
        r"|(?<!\w)(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-zA-Z]{0,6}\.? [0-3]?\d,? (?:19|20)\d\d(?!\d)"
    ),
    "text looks as if it named a person by a title": re.compile(
        r"(?<!\w)(?:(?:Dr|Prof|Mr|Mrs|Ms|Miss|Herr|Frau|Mme)(?:\. ?|[ ^])[^\W\d_]"
        # In capitals DR and MR are modalities as well.
        r"|(?:DR|MR|MRS|MS)\. ?[^\W\d_]|(?:PROF\.?|HERR|FRAU|dr\.?) [^\W\d_]|M\.D\.|Ph\.?D(?!\w))|(?<=[ ,^])MD(?!\w)"
    ),
}


class _Identifiers:
    """What tells who the patient is, as it is looked for in text.

    Words are looked up in a set and the rest by plain search: an alternation over text of hostile length would hold
    everybody up.
    """

    def __init__(self, part: SeriesPart) -> None:
        self.dates: set[str] = set()
        self._words: set[str] = set()
        self._runs: set[str] = set()
        self._phrases: set[str] = set()
        self._unspaced: set[str] = set()
        for found in part.placed():
            for text in texts_of(found.element):
                known = len(self._words) + len(self._phrases) + len(self._unspaced)
                if known < _MOST_IDENTIFIERS and len(text) <= _LONGEST_IDENTIFIER:
                    self._learn(found.tag, text)

    def __bool__(self) -> bool:
        return bool(self._words or self._phrases or self._unspaced)

    def are_in(self, text: str) -> bool:
        """Tell whether one of them stands in a text, with nothing but its end or punctuation around it."""
        folded = without_accents(text)
        if not self._words.isdisjoint(_WORD.findall(folded)) or not self._runs.isdisjoint(_RUN.findall(folded)):
            return True
        if any(part in folded for part in self._unspaced):
            return True
        near = [phrase for phrase in self._phrases if phrase in folded]
        return any(re.search(rf"(?<![^\W_]){re.escape(phrase)}(?![^\W_])", folded) for phrase in near)

    def _learn(self, tag: int, text: str) -> None:
        if tag in _NAMES:
            for group in without_accents(text).split("="):
                self._learn_name(_WORD.findall(group))
        elif tag in _IDS and len(text) >= _SHORTEST_ID:
            folded = without_accents(text)
            (self._words if _WORD.fullmatch(folded) else self._phrases).add(folded)
            if folded.isdigit() and len(folded) >= _SHORTEST_NUMBER:
                self._runs.add(folded)
        elif tag == _BIRTH_DATE and _is_date(text):
            year, month, day = text[:4], text[4:6], text[6:]
            self.dates.add(text)
            self._words.add(text)
            self._phrases.update(mark.join((year, month, day)) for mark in "-./")
            self._phrases.update(
                mark.join(parts) for mark in "-./" for parts in ((day, month, year), (month, day, year))
            )

    def _learn_name(self, words: list[str]) -> None:
        """Learn the words of a name, and its first two written as one."""
        glued = ["".join(words[:2]), "".join(words[1::-1])] if len(words) > 1 else []
        for word in (*words, *glued):
            if word[0] >= _FIRST_UNSPACED:
                self._unspaced.update([word] if len(word) >= _SHORTEST_UNSPACED else [])
            elif len(word) >= _SHORTEST_NAME:
                self._words.add(word)
                self._runs.update([word] if word.isalpha() else [])


def check_identity(part: SeriesPart) -> Iterator[Remark]:
    """Look for the patient's names, identifiers and date of birth in all other text."""
    identifiers = _Identifiers(part)
    if not identifiers:
        return
    for found in part.placed():
        if found.tag in _HOMES:
            continue
        texts = texts_of(found.element)
        if found.element.vr in _SEARCHED_VRS and any(map(identifiers.are_in, texts)):
            yield _remark(Severity.BLOCK, "text holds a name or an identifier of the patient", found)
        elif found.element.vr in _DATE_VRS and any(text[:8] in identifiers.dates for text in texts):
            yield _remark(Severity.BLOCK, "the patient's date of birth stands in another attribute", found)


def check_patterns(part: SeriesPart) -> Iterator[Remark]:
    """Look for what is written like an address, a number, a date or a title, and for names of persons."""
    for found in part.placed():
        if found.tag in _HOMES:
            continue
        texts = texts_of(found.element)
        if found.element.vr == "PN" and texts:
            yield _remark(Severity.WARN, "an attribute names a person", found)
        elif found.element.vr in _FREE_TEXT_VRS:
            for message, pattern in _PATTERNS.items():
                if any(pattern.search(text) for text in texts):
                    yield _remark(Severity.WARN, message, found)


def check_age(part: SeriesPart) -> Iterator[Remark]:
    """Find ages over 89 years, which tell few people apart (45 CFR 164.514(b)(2)(i)(C))."""
    message = "an age over 89 years is told"
    for found in part.placed():
        if found.tag == _PATIENT_AGE and any(_years(text) > 89 for text in texts_of(found.element)):
            yield _remark(Severity.WARN, message, found)
    born, seen = first_text(part.occurrences(_BIRTH_DATE)), first_text(part.occurrences(_STUDY_DATE))
    # Whole years from the first date to the second, by comparing month and day as text.
    if _is_date(born) and _is_date(seen):
        years = int(seen[:4]) - int(born[:4]) - (seen[4:] < born[4:])
        if years > 89:
            yield Remark(Severity.WARN, message, f"{_BIRTH_DATE:08X}", len(part.files))


def _years(age: str) -> int:
    number, unit = age[:3], age[3:4]
    return int(number) if unit == "Y" and number.isascii() and number.isdigit() else 0


def _is_date(text: str) -> bool:
    # Other digits than these are digits to Python too, and no numbers.
    return len(text) == 8 and text.isascii() and text.isdigit()


def _remark(severity: Severity, message: str, found: Placed) -> Remark:
    return Remark(severity, message, found.path, found.instances, found.sop_instance_uid)
