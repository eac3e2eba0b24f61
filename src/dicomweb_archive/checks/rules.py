"""Rules: what a collection wants of the instances in it, as far as checks ask for it."""

from dataclasses import dataclass
from typing import Final

from dicomweb_archive.dicom.acceptance import AcceptanceRules

EVERYTHING: Final = AcceptanceRules()


@dataclass(frozen=True, slots=True)
class Rules:
    """What checks have to know of a collection.

    Attributes:
        allowed_paths: attributes that may be there, as paths or as the tag alone; `None`: any.
        safe_private: private attributes known to hold nothing of a person, as paths, besides those of the standard.
    """

    accepted: AcceptanceRules = EVERYTHING
    allowed_paths: frozenset[str] | None = None
    safe_private: frozenset[str] = frozenset()


NO_RULES: Final = Rules()
