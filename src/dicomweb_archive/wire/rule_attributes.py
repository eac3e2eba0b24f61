"""Attributes in the rules of collections: keywords, tags and paths, and private ones by their creators."""

import re
from typing import Final

from dicomweb_archive.dicom.attribute_path import PathStep
from dicomweb_archive.dicom.tags import is_private, parse_tag, vr_of

LONGEST_ATTRIBUTE: Final = 200

ALL_ATTRIBUTES: Final = "*"
"""Stands for every attribute among those whose values have to be approved."""

_MOST_LEVELS: Final = 10
# As inventories and findings write it.
_PRIVATE: Final = re.compile(
    r'(?P<group>[0-9A-Fa-f]{4})"(?P<creator>[^"\\\x00-\x1f\x7f]{1,64})"(?P<element>[0-9A-Fa-f]{2})'
)


def parse_rule_attribute(text: str) -> str:
    """Read a standard attribute, or a path of them, and write it as findings do: tags joined by dots.

    Raises:
        ValueError: it is none.
    """
    members = text.split(".")
    if len(members) > _MOST_LEVELS:
        message = "more levels than a path may have"
        raise ValueError(message)
    tags = [parse_tag(member) for member in members]
    if any(is_private(tag) for tag in tags) or any((vr_of(tag) or "SQ") != "SQ" for tag in tags[:-1]):
        message = "no path of standard attributes, joined by dots, of which all but the last are sequences"
        raise ValueError(message)
    return ".".join(f"{tag:08X}" for tag in tags)


def parse_private_attribute(text: str) -> str:
    """Read a private attribute, `0019"CREATOR"0C`: its group, its creator, and its element within the block.

    Raises:
        ValueError: it is none.
    """
    found = _PRIVATE.fullmatch(text)
    group = 0 if found is None else int(found["group"], 16)
    if found is None or not group % 2 or not found["creator"].strip():
        message = 'a private attribute is written as its group, creator and element: 0019"CREATOR"0C'
        raise ValueError(message)
    return str(PathStep(group << 16 | int(found["element"], 16), found["creator"].strip()))


def parse_decided_attribute(text: str) -> str:
    """Read an attribute whose values have to be approved: a standard one, a private one, or `*` for all.

    Raises:
        ValueError: it is none.
    """
    if text == ALL_ATTRIBUTES:
        return text
    return parse_private_attribute(text) if '"' in text else parse_rule_attribute(text)
