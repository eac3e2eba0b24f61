"""Specific Character Set (0008,0005): from bytes to text (PS3.3 C.12.1.1.2, PS3.5 6.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

# Defined terms without their separators (vendors write "ISO IR 100", "ISO-IR 100", "ISO_IR_100"), and the
# codec of what they put into G0 and G1. Python's shift_jis covers both halves of JIS X 0201.
_CODECS = {
    "": "latin_1",
    "ISOIR6": "latin_1",
    "ISOIR13": "shift_jis",
    "ISOIR58": "gb2312",
    "ISOIR87": "latin_1",
    "ISOIR100": "latin_1",
    "ISOIR101": "iso8859_2",
    "ISOIR109": "iso8859_3",
    "ISOIR110": "iso8859_4",
    "ISOIR126": "iso8859_7",
    "ISOIR127": "iso8859_6",
    "ISOIR138": "iso8859_8",
    "ISOIR144": "iso8859_5",
    "ISOIR148": "iso8859_9",
    "ISOIR149": "euc_kr",
    "ISOIR159": "latin_1",
    "ISOIR166": "tis_620",
    "ISOIR203": "iso8859_15",
    "ISOIR192": "utf_8",
    "GB18030": "gb18030",
    "GBK": "gbk",
}

# Escape sequences (PS3.3 Tables C.12-3, C.12-4) without their ESC: which half they designate, and the codec.
# A G0 set of two bytes a character is decoded by a codec that wants the escape sequence itself.
_DESIGNATIONS = {
    b"(B": (0, "latin_1"),
    b"(J": (0, "shift_jis"),
    b"$B": (0, "iso2022_jp"),
    b"$(D": (0, "iso2022_jp_2"),
    b")I": (1, "shift_jis"),
    b"-A": (1, "latin_1"),
    b"-B": (1, "iso8859_2"),
    b"-C": (1, "iso8859_3"),
    b"-D": (1, "iso8859_4"),
    b"-F": (1, "iso8859_7"),
    b"-G": (1, "iso8859_6"),
    b"-H": (1, "iso8859_8"),
    b"-L": (1, "iso8859_5"),
    b"-M": (1, "iso8859_9"),
    b"-T": (1, "tis_620"),
    b"-b": (1, "iso8859_15"),
    b"$)C": (1, "euc_kr"),
    b"$)A": (1, "gb2312"),
}
_DOUBLE = {"iso2022_jp": b"\x1b$B", "iso2022_jp_2": b"\x1b$(D"}
_HALVES = re.compile(rb"[\x00-\x7f]+|[\x80-\xff]+")
# After these the initial sets are active again (PS3.5 6.1.2.5.3); in a name also after ^ and =.
_TEXT_DELIMITER = re.compile(rb"([\t\n\f\r\\])")
_NAME_DELIMITER = re.compile(rb"([\t\n\f\r\\^=])")
_CONTROL_DELIMITER = re.compile(rb"([\t\n\f\r])")


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """How the text of one data set or item is to be read.

    Attributes:
        codec: Python's codec for text without escape sequences.
        extended: code extensions (ISO 2022) may occur.
        known: every value of (0008,0005) is a defined term.
        declared: (0008,0005) has a value; without one only ASCII is legal (PS3.5 6.1.2.1).
    """

    codec: str = "latin_1"
    extended: bool = False
    known: bool = True
    declared: bool = False

    def decode(self, raw: bytes, *, name: bool = False) -> tuple[str, bool]:
        """Decode text, not yet split at backslashes; the second result is false when bytes were replaced.

        Backslash bytes inside a two-byte character are part of it, so splitting comes after decoding
        (PS3.5 6.1.2.4: "05/12" in GB18030, GBK and JIS X 0208).
        """
        if self.extended and b"\x1b" in raw:
            return _decode_extended(raw, self.codec, _NAME_DELIMITER if name else _TEXT_DELIMITER)
        try:
            return raw.decode(self.codec), True
        except UnicodeDecodeError:
            return raw.decode(self.codec, "replace"), False


DEFAULT = CharacterSet()


@lru_cache(maxsize=256)
def character_set(terms: Sequence[str | None]) -> CharacterSet:
    """Return how to read text under these values of (0008,0005), a tuple (PS3.3 C.12.1.1.2).

    Unknown terms are passed over; what remains decides, Latin-1 when nothing does, as bytes are then at
    least kept apart.
    """
    if not any(terms):
        return DEFAULT
    names = [_plain_name(term or "") for term in terms]
    known = [name for name in names if name in _CODECS]
    return CharacterSet(
        codec=_CODECS[known[0]] if known else "latin_1",
        extended=len(terms) > 1 or (terms[0] or "").upper().startswith("ISO 2022"),
        known=len(known) == len(names),
        declared=True,
    )


def _plain_name(term: str) -> str:
    name = re.sub(r"[^A-Z0-9]", "", term.upper()).replace("ISO2022", "ISO").replace("ISOIR", "IR")
    name = name.removeprefix("ISO")
    return f"ISO{name}" if name.startswith("IR") else {"58": "ISOIR58", "UTF8": "ISOIR192"}.get(name, name)


def _decode_extended(raw: bytes, initial: str, delimiter: re.Pattern[bytes]) -> tuple[str, bool]:
    """Decode text with code extension: each escape sequence designates G0 or G1 (PS3.5 6.1.2.5)."""
    first, *pieces = raw.split(b"\x1b")
    sets = [initial, initial]
    text = [_decode_run(first, sets, initial, delimiter)]
    clean = True
    for piece in pieces:
        length = 3 if piece[:2] in (b"$(", b"$)") else 2
        designation = _DESIGNATIONS.get(piece[:length])
        if designation is None:
            # Unknown or unfinished: the bytes stay visible.
            clean = False
            text.append("\x1b" + _decode_run(piece, sets, initial, delimiter))
            continue
        sets[designation[0]] = designation[1]
        text.append(_decode_run(piece[length:], sets, initial, delimiter))
    joined = "".join(text)
    return joined, clean and "\ufffd" not in joined


def _decode_run(run: bytes, sets: list[str], initial: str, delimiter: re.Pattern[bytes]) -> str:
    """Decode bytes without escape sequences under the active sets, which delimiters reset."""
    text = []
    # Inside a two-byte set 5/12, 5/14 and 3/13 are halves of characters, control characters are not.
    for part in (_CONTROL_DELIMITER if sets[0] in _DOUBLE else delimiter).split(run):
        if len(part) == 1 and delimiter.fullmatch(part) and sets[0] not in _DOUBLE:
            text.append(part.decode("ascii"))
            sets[:] = [initial, initial]
            continue
        text.append("".join(_decode_half(half, sets) for half in _HALVES.findall(part)))
        if part in b"\t\n\f\r" and part:
            sets[:] = [initial, initial]
    return "".join(text)


def _decode_half(half: bytes, sets: list[str]) -> str:
    codec = sets[1] if half[0] >= 0x80 else sets[0]
    # Outside a two-byte G0 the lower half is ASCII in every set (JIS X 0201 differs in two glyphs only).
    return (_DOUBLE.get(codec, b"") + half).decode(codec, "replace")
