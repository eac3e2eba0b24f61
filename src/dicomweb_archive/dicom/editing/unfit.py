"""Why an instance is left as it is by an edit that is meant for it."""

from enum import StrEnum


class Unfit(StrEnum):
    """What keeps an instance from being edited."""

    VALUE = "value"
    """The value is none of the attribute's value representation (PS3.5 6.2)."""
    CHARACTER_SET = "character_set"
    """The text cannot be written in the character set of the data set, and this one not be changed."""
    BINARY = "binary"
    """The attribute is binary or a sequence there, which has no value that can be told as text."""
    UID = "uid"
    """The attribute has UIDs there, which are not edited."""
    NO_VR = "no_vr"
    """The value representation of a private attribute is not known."""
    NO_BLOCK = "no_block"
    """No private block is left for the creator."""
    STRUCTURE = "structure"
    """The data set cannot be rewritten so that everything else stays as it is."""
    TOO_LARGE = "too_large"
    """Its attributes are too large to be rewritten."""
    DAMAGED = "damaged"
    """What is stored is not what was."""
    CHANGED = "changed"
    """Its bytes are no longer those that the edit has left, so that it cannot be undone."""


class UnfitForEditError(Exception):
    """This instance cannot be edited and stays as it is; never leaves the services."""

    def __init__(self, why: Unfit) -> None:
        super().__init__(why.value)
        self.why = why
