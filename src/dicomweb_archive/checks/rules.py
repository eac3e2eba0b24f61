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

SAFE_PRIVATE: Final = frozenset(
    {
        '0019"GEMS_ACQU_01"23', '0019"GEMS_ACQU_01"24', '0019"GEMS_ACQU_01"27', '0019"GEMS_ACQU_01"9E',
        '0019"SIEMENS MR HEADER"0C', '0019"SIEMENS MR HEADER"0D', '0019"SIEMENS MR HEADER"0E',
        '0019"SIEMENS MR HEADER"27',
        '0043"GEMS_PARM_01"6F',
        '00E1"ELSCINT1"21', '01E1"ELSCINT1"26',
        '2001"Philips Imaging DD 001"03', '2001"Philips Imaging DD 001"04',
        '2005"Philips MR Imaging DD 001"0D', '2005"Philips MR Imaging DD 001"0E',
        '7053"Philips PET Private Group"00', '7053"Philips PET Private Group"09',
    }
)  # fmt: skip
"""Private attributes that are numbers of the machine: some of those of PS3.15 Table E.3.10-1."""
