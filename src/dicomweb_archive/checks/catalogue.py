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


PARSES: Final = Check(1, "parses", 1, "Nothing had to be tolerated to read the file (PS3.5, PS3.10).", True)
IDENTIFIERS: Final = Check(
    2, "identifiers", 1, "UIDs are UIDs, and File Meta Information says the same (PS3.10 7.1).", True
)
ACCEPTED: Final = Check(3, "accepted", 1, "The collection accepts the SOP class and the transfer syntax.")
REQUIRED: Final = Check(4, "required_attributes", 1, "Attributes of type 1 and 2 of the common modules are there.")
IOD: Final = Check(5, "iod", 1, "The instance keeps to its IOD, as dciodvfy judges it where it is installed.", True)
ALREADY_ARCHIVED: Final = Check(6, "already_archived", 1, "The archive has the instance already, with the same bytes.")
CONFLICT: Final = Check(7, "conflict", 1, "The SOP Instance UID is not known with other bytes.")
ELSEWHERE: Final = Check(8, "identifier_elsewhere", 1, "The SOP Instance UID is not known in another series or study.")
SPLIT_SERIES: Final = Check(9, "series_in_two_studies", 1, "The Series Instance UID is not known in another study.")
ONE_PATIENT: Final = Check(10, "one_patient", 1, "A study has one patient: one identifier, name and date of birth.")
STUDY_AGREES: Final = Check(11, "study_agrees", 1, "The instances of a study agree about it.")
DUPLICATE_PIXELS: Final = Check(12, "duplicate_pixels", 1, "No two instances have the same pixel data.", True)
GEOMETRY: Final = Check(13, "geometry", 1, "Slices have places, one orientation and numbers, without gaps.")
PIXEL_LENGTH: Final = Check(
    14, "pixel_length", 1, "Pixel data are as long, or of as many fragments, as the Image Pixel attributes say."
)
IDENTITY: Final = Check(15, "identity_in_header", 1, "Names and identifiers of the patient are in no other text.")
PATTERNS: Final = Check(
    16, "text_patterns", 1, "No text looks like an address, a number, a date or a title, and no one else is named."
)
ALLOWED: Final = Check(17, "allowed_attributes", 1, "The collection allows the attribute.")
PRIVATE: Final = Check(18, "private_elements", 2, "Private attributes are known to be safe (PS3.15 E.3.10).")
BURNED_IN: Final = Check(19, "burned_in", 1, "Pictures are not known, nor likely, to have text burned in.")
FACE: Final = Check(21, "recognizable_face", 1, "No face can be recognized or rendered.")
DOCUMENTS: Final = Check(22, "documents", 1, "There are no documents or reports whose free text has to be read.")
DEIDENTIFICATION: Final = Check(23, "deidentification_record", 1, "De-identification is recorded and not contradicted.")
PREAMBLE: Final = Check(24, "preamble", 1, "The preamble was zero or that of a TIFF; any other is kept as zeros.")
CHARACTER_SET: Final = Check(25, "character_set", 1, "Text is in the character set that is declared (PS3.5 6.1).", True)
AGE: Final = Check(26, "age_over_89", 1, "No age over 89 years is told.")
GRAPHICS: Final = Check(27, "graphics", 1, "There are no overlays, curves or graphic annotations.")
MANIFEST: Final = Check(28, "manifest", 1, "What was announced has come, and nothing else.")

_ALL: Final = (
    PARSES, IDENTIFIERS, ACCEPTED, REQUIRED, IOD, ALREADY_ARCHIVED, CONFLICT, ELSEWHERE, SPLIT_SERIES, ONE_PATIENT,
    STUDY_AGREES, DUPLICATE_PIXELS, GEOMETRY, PIXEL_LENGTH, IDENTITY, PATTERNS, ALLOWED, PRIVATE, BURNED_IN, FACE,
    DOCUMENTS, DEIDENTIFICATION, PREAMBLE, CHARACTER_SET, AGE, GRAPHICS, MANIFEST,
)  # fmt: skip

CHECKS: Final[Mapping[str, Check]] = MappingProxyType({check.name: check for check in _ALL})
"""All checks by name, in the order of their numbers."""


def _names(*checks: Check) -> frozenset[str]:
    return frozenset(check.name for check in checks)


STRUCTURAL: Final = CheckSet(
    "structural",
    1,
    "Does it parse, are its identifiers sound, does it contradict what is there? What a hospital needs.",
    _names(
        PARSES, IDENTIFIERS, ACCEPTED, ALREADY_ARCHIVED, CONFLICT, ELSEWHERE, SPLIT_SERIES, ONE_PATIENT,
        STUDY_AGREES, PIXEL_LENGTH, PREAMBLE, CHARACTER_SET, MANIFEST,
    ),
    # Images of a clinic must appear at once; what is odd about them is said and does not keep them back.
    lenient=_names(IDENTIFIERS, PIXEL_LENGTH),
)  # fmt: skip
PUBLIC_RELEASE: Final = CheckSet(
    "public_release",
    1,
    "May everybody see it? All checks: identity in headers and pixels, evidence of de-identification, integrity.",
    frozenset(CHECKS),
)

CHECK_SETS: Final[Mapping[str, CheckSet]] = MappingProxyType({each.name: each for each in (STRUCTURAL, PUBLIC_RELEASE)})
"""All sets by name."""
