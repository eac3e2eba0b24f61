"""Tags, keywords and value representations: the data dictionary (PS3.6) as cheap look-ups."""

import re
from functools import lru_cache

from dicomweb_archive.dicom.dictionary import TAGS_BY_KEYWORD, private_vr, public_entry

SPECIFIC_CHARACTER_SET = 0x00080005
SOP_CLASS_UID = 0x00080016
SOP_INSTANCE_UID = 0x00080018
STUDY_INSTANCE_UID = 0x0020000D
SERIES_INSTANCE_UID = 0x0020000E
PIXEL_REPRESENTATION = 0x00280103
LUT_DESCRIPTOR = 0x00283002
FLOAT_PIXEL_DATA = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00009
PIXEL_DATA = 0x7FE00010
EXTENDED_OFFSET_TABLE = 0x7FE00001
EXTENDED_OFFSET_TABLE_LENGTHS = 0x7FE00002
DATA_SET_TRAILING_PADDING = 0xFFFCFFFC
ITEM = 0xFFFEE000
ITEM_DELIMITATION = 0xFFFEE00D
SEQUENCE_DELIMITATION = 0xFFFEE0DD

_EIGHT_HEX_DIGITS = re.compile(r"[0-9A-Fa-f]{8}")

# What an ambiguous entry of the dictionary means when nothing else is known of the data set.
_PLAIN_VR = {"OB or OW": "OW", "US or SS": "US", "US or OW": "OW", "US or SS or OW": "US"}


@lru_cache(maxsize=16_384)
def dictionary_entry(tag: int) -> str | None:
    """Return the value representation as the dictionary has it, which may be ``"US or SS"`` (PS3.6 6).

    Repeating groups are known, private elements and unknown tags are `None`; a private creator is LO
    (PS3.5 7.8.1), a group length UL (PS3.5 7.2).
    """
    if tag & 0xFFFF == 0:
        return "UL"
    if is_private(tag):
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else None
    entry = public_entry(tag)
    return None if entry is None or entry.vr == "NONE" else entry.vr


@lru_cache(maxsize=16_384)
def private_entry(tag: int, creator: str) -> str | None:
    """Return the value representation of a private element that is publicly known, else `None` (PS3.5 7.8.1)."""
    return private_vr(tag, creator)


def vr_of(tag: int) -> str | None:
    """Return the one value representation to assume for a tag (PS3.6), `None` when it is unknown.

    Where the dictionary leaves a choice it is OW for pixels and tables, US for numbers.
    """
    entry = dictionary_entry(tag)
    return entry if entry is None or len(entry) == 2 else _PLAIN_VR[entry]


@lru_cache(maxsize=16_384)
def may_have_several_values(tag: int) -> bool:
    """Tell whether the dictionary gives an attribute a value multiplicity above 1 (PS3.6 6)."""
    entry = public_entry(tag)
    return entry is not None and entry.vm != "1"


@lru_cache(maxsize=16_384)
def keyword_of(tag: int) -> str | None:
    """Return the keyword of a tag (PS3.6), `None` for private and unknown ones."""
    entry = public_entry(tag)
    return None if entry is None else entry.keyword or None


@lru_cache(maxsize=16_384)
def name_of(tag: int) -> str | None:
    """Return the name of a tag (PS3.6), `None` for private and unknown ones."""
    entry = public_entry(tag)
    return None if entry is None else entry.name or None


@lru_cache(maxsize=16_384)
def is_single_valued(tag: int) -> bool:
    """Tell whether an attribute has one value at most (value multiplicity 1 in PS3.6)."""
    entry = public_entry(tag)
    return entry is not None and entry.vm == "1"


def tag_of(keyword: str) -> int | None:
    """Return the tag that a keyword of PS3.6 names, `None` when it names none."""
    # Retired entries have an empty keyword, which names nothing.
    return TAGS_BY_KEYWORD.get(keyword) if keyword else None


def is_private(tag: int) -> bool:
    """Tell whether a tag belongs to a private, odd group (PS3.5 7.8)."""
    return bool(tag & 0x10000)


def is_private_creator(tag: int) -> bool:
    """Tell whether a tag reserves a private block (PS3.5 7.8.1)."""
    return bool(tag & 0x10000) and 0x10 <= tag & 0xFFFF <= 0xFF


def parse_tag(text: str) -> int:
    """Read eight hexadecimal digits or a keyword as a tag (PS3.18 8.3.4).

    Raises:
        ValueError: it is neither; the message does not repeat the text.
    """
    if _EIGHT_HEX_DIGITS.fullmatch(text):
        return int(text, 16)
    tag = tag_of(text)
    if tag is None:
        raise ValueError("neither eight hexadecimal digits nor a known keyword")
    return tag


def format_tag(tag: int) -> str:
    """Write a tag as eight upper-case hexadecimal digits (PS3.18 F.2.2)."""
    return f"{tag:08X}"


def keyword_like(text: str) -> str | None:
    """Return the keyword that a text spells but for upper and lower case, `None` when there is none."""
    return _keywords_by_lower_case().get(text.lower())


@lru_cache(maxsize=1)
def _keywords_by_lower_case() -> dict[str, str]:
    return {keyword.lower(): keyword for keyword in TAGS_BY_KEYWORD}
