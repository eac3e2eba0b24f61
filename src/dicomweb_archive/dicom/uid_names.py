"""Names of well-known UIDs: SOP classes and transfer syntaxes as people call them (PS3.6 Annex A)."""

from enum import StrEnum
from functools import cache, lru_cache
from typing import Final

from dicomweb_archive.dicom.dictionary import UID_NAMES

_LONGEST: Final = 64
_DIGITS: Final = frozenset("0123456789")


class UidType(StrEnum):
    """What a UID names; the texts are those of PS3.6 Table A-1."""

    SOP_CLASS = "SOP Class"
    TRANSFER_SYNTAX = "Transfer Syntax"


def uid_of(text: str, kind: UidType) -> str | None:
    """Read a UID, or the keyword of one of this kind; `None` where it is neither.

    A UID that is not in the dictionary may be a private or a newer one, so it counts; one of another kind does not.
    """
    known = UID_NAMES.get(text)
    if known is not None:
        return text if known[1] == kind else None
    return text if _is_uid(text) else _by_keyword(kind).get(text)


@lru_cache(maxsize=1024)
def uid_name(uid: str) -> str | None:
    """Return the name of a well-known UID."""
    known = UID_NAMES.get(uid)
    return None if known is None else known[0]


@cache
def _by_keyword(kind: UidType) -> dict[str, str]:
    return {entry[4]: uid for uid, entry in UID_NAMES.items() if entry[1] == kind and entry[4]}


def _is_uid(text: str) -> bool:
    """Tell whether a text is a UID that others may write down (PS3.5 9.1: no component begins with a zero)."""
    components = text.split(".")
    return len(text) <= _LONGEST and len(components) > 1 and all(map(_is_component, components))


def _is_component(text: str) -> bool:
    return text == "0" or (bool(text) and _DIGITS.issuperset(text) and text[0] != "0")
