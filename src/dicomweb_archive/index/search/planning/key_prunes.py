"""Key prunes: what the dictionary knows of a key, and how the key narrows the segments."""

from dataclasses import dataclass, field
from enum import StrEnum


class Prune(StrEnum):
    """How the segments of one key are found."""

    ALL_TERMS = "all_terms"
    """`terms @>`: one value, or each group of a name."""
    ANY_TERM = "any_term"
    """`terms &&`: a short list."""
    NOTHING = "nothing"
    """No term tells: an attribute that is not there has none."""
    DICTIONARY = "dictionary"
    """Too many terms for a list: a look-up for each row of the dictionary."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the dictionary knows of one key.

    Attributes:
        hashes: the terms that match; not all of them when `listed` is false and the key is no UID list.
        listed: they are few enough for one statement to carry them.
        terms: how many terms match, as far as counted.
        segments: estimate of the segments that hold one of them.
        zones: segments whose zone of this path overlaps, as far as counted.
        varying: estimate of those segments in which the attribute varies, whatever its value.
    """

    path_id: int
    hashes: tuple[int, ...]
    listed: bool
    terms: int
    segments: int
    zones: int
    varying: int = 0

    @property
    def nothing(self) -> bool:
        """Whether no segment can hold the key."""
        return self.terms == 0 and self.zones == 0


@dataclass(frozen=True, slots=True)
class KeyPrune:
    """How one key narrows the segments; `zones` when some segments keep this path as a zone."""

    kind: Prune
    zones: bool
    hashes: tuple[int, ...] = field(default=(), compare=False)
    path_id: int = field(default=0, compare=False)
