"""Catalogue: every check by its number and name, and the named sets in which they are run.

A check's version goes up when it would say something else of the same instances.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dicomweb_archive.checks.findings import Severity


@dataclass(frozen=True, slots=True)
class Check:
    """One check, as it is named in findings.

    Attributes:
        reads_files: it needs the stored files and not only what the index keeps of them.
    """

    number: int
    name: str
    version: int
    summary: str
    reads_files: bool = False


@dataclass(frozen=True, slots=True)
class CheckSet:
    """Checks that are run together.

    Attributes:
        lenient: names of those that warn in this set where they would block elsewhere.
    """

    name: str
    version: int
    summary: str
    checks: frozenset[str]
    lenient: frozenset[str] = frozenset()

    def severity_of(self, check: Check, severity: Severity) -> Severity:
        """Return how much a remark of a check weighs in this set."""
        is_lenient = severity is Severity.BLOCK and check.name in self.lenient
        return Severity.WARN if is_lenient else severity


PARSES: Final = Check(1, "parses", 1, "The file can be read without tolerating anything (PS3.5, PS3.10).", True)
IDENTIFIERS: Final = Check(
    2, "identifiers", 1, "UIDs are UIDs, and File Meta Information says the same (PS3.10 7.1).", True
)
ACCEPTED: Final = Check(3, "accepted", 1, "The collection accepts the SOP class and the transfer syntax.")
PIXEL_LENGTH: Final = Check(
    14, "pixel_length", 1, "Pixel data are as long, or of as many fragments, as the Image Pixel attributes say."
)
PREAMBLE: Final = Check(24, "preamble", 1, "The preamble was neither zero nor that of a TIFF, and is kept as zeros.")
CHARACTER_SET: Final = Check(25, "character_set", 1, "Text is in the character set that is declared (PS3.5 6.1).", True)

CHECKS: Final[Mapping[str, Check]] = MappingProxyType(
    {check.name: check for check in (PARSES, IDENTIFIERS, ACCEPTED, PIXEL_LENGTH, PREAMBLE, CHARACTER_SET)}
)
"""All checks by name."""

STRUCTURAL: Final = CheckSet(
    "structural",
    1,
    "Does it parse, are its identifiers sound, does it contradict what is there? What a hospital needs.",
    frozenset(CHECKS),
    # Images of a clinic must appear at once; what is odd about them is said and does not keep them back.
    lenient=frozenset({IDENTIFIERS.name, PIXEL_LENGTH.name}),
)

CHECK_SETS: Final[Mapping[str, CheckSet]] = MappingProxyType({each.name: each for each in (STRUCTURAL,)})
"""All sets by name."""
