"""Oddities: what is said of attributes that were stored as they came, though they are not as they should be."""

from functools import lru_cache
from types import MappingProxyType
from typing import Final

from dicomweb_archive.dicom.status import SOP_CLASS_MISMATCH_WARNING, AttributeNote

# What the scanner says of an attribute (`ScannedInstance.odd_attributes`), in words. What it says of the encoding as
# a whole is no attribute's, and what it cuts for metadata is kept whole.
_SAID: Final = MappingProxyType(
    {
        "character_set_missing": "Text is not ASCII, and no character set is declared",
        "not_a_number": "Not a number",
        "not_finite": "A number is not finite",
        "odd_length": "Odd length",
        "out_of_order": "Not in ascending order of tags",
        "text_not_ascii": "A value that must be ASCII is not",
        "text_not_decodable": "Text does not fit the declared character set",
        "unknown_character_set": "The declared character set is not known",
        "unknown_value_not_a_sequence": "Unknown representation and undefined length, and no sequence",
        "unknown_vr": "The value representation is not known",
        "value_length_odd": "The length is no multiple of what one number takes",
    }
)


# Series have the same oddities in each instance.
@lru_cache(maxsize=256)
def notes_of(odd_attributes: tuple[tuple[int, str], ...]) -> tuple[AttributeNote, ...]:
    """Return what is to be said of attributes that were stored as they came (PS3.18 I.2.1: B007)."""
    return tuple(
        AttributeNote(tag, SOP_CLASS_MISMATCH_WARNING, _SAID[code]) for tag, code in odd_attributes if code in _SAID
    )
