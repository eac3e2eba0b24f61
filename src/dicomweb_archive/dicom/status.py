"""What became of each instance of a store request: outcomes and their reason codes.

Failure Reason (0008,1197) and Warning Reason (0008,1196) are numbers. PS3.18 I.2 fixes a few and ranges;
further codes of our own lie inside these ranges (A9xx data set does not match, Cxxx cannot understand), so
that a client that only knows the ranges still reads them rightly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

PROCESSING_FAILURE: Final = 0x0110
"""Something on our side went wrong; sending again may help (PS3.18 I.2.2)."""

SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
"""The SOP class is not one that the archive stores, e.g. a DICOMDIR (PS3.18 I.2.2)."""

NOT_AUTHORISED: Final = 0x0124
"""The principal may not store this instance (PS3.7 C.4.4)."""

OUT_OF_RESOURCES: Final = 0xA700
"""The archive is full or beyond a limit (PS3.18 I.2.2, A7xx)."""

DATA_SET_DOES_NOT_MATCH_SOP_CLASS: Final = 0xA900
"""An identifier or another attribute that every instance needs is missing or unusable (A9xx)."""

STUDY_UID_MISMATCH: Final = 0xA901
"""Ours: the instance does not belong to the study that the request's URL names (PS3.18 10.5.1)."""

INSTANCE_CONFLICT: Final = 0xA902
"""Ours: the archive, or an earlier part, has this SOP Instance UID with other bytes; those are kept."""

HOSTILE_IDENTIFIER: Final = 0xA904
"""Ours: an identifier is not a UID (PS3.5 9.1), e.g. it holds other characters than digits and dots."""

CANNOT_UNDERSTAND: Final = 0xC000
"""The bytes are not a DICOM Part 10 instance (PS3.18 I.2.2, Cxxx)."""

TRUNCATED: Final = 0xC001
"""Ours: the instance ends before its lengths say."""

LIMIT_EXCEEDED: Final = 0xC002
"""Ours: nesting, number of elements, a value or the inflated size is beyond what the archive takes."""

PART_NOT_SUPPORTED: Final = 0xC003
"""Ours: the part's media type is not application/dicom."""

METADATA_UNREADABLE: Final = 0xC004
"""Ours: the metadata of the instance are no data set in the DICOM JSON model or the Native DICOM Model."""

BULKDATA_MISSING: Final = 0xC005
"""Ours: the metadata name a bulk value that no part of the request holds; nothing is ever fetched."""

BULKDATA_UNUSED: Final = 0xC006
"""Ours: no metadata of the request name this part of bulk data."""

TRANSFER_SYNTAX_NOT_SUPPORTED: Final = 0xC122
"""The transfer syntax is unknown or not one that the archive keeps (PS3.18 I.2.2)."""

COERCED: Final = 0xB000
"""Warning: data elements were changed on storing (PS3.18 I.2.1); also said of a neutralised preamble."""

ELEMENTS_DISCARDED: Final = 0xB006
"""Warning: elements were left out on storing (PS3.18 I.2.1)."""

SOP_CLASS_MISMATCH_WARNING: Final = 0xB007
"""Warning: the data set does not match its SOP class but was stored (PS3.18 I.2.1)."""

ALREADY_STORED: Final = "Already stored with the same bytes"
"""Said of an instance that is a success again; clients that count want to tell it from a new one."""

MEANINGS: Final = MappingProxyType(
    {
        PROCESSING_FAILURE: "Processing failure",
        SOP_CLASS_NOT_SUPPORTED: "SOP class not supported",
        NOT_AUTHORISED: "Not authorised",
        OUT_OF_RESOURCES: "Out of resources",
        DATA_SET_DOES_NOT_MATCH_SOP_CLASS: "Data set does not match SOP class",
        STUDY_UID_MISMATCH: "Instance belongs to another study than the URL names",
        INSTANCE_CONFLICT: "SOP Instance UID is stored with other content",
        HOSTILE_IDENTIFIER: "An identifier is not a valid UID",
        CANNOT_UNDERSTAND: "Not a readable DICOM instance",
        TRUNCATED: "Instance is cut short",
        LIMIT_EXCEEDED: "Instance is beyond a limit of the archive",
        PART_NOT_SUPPORTED: "Part is not application/dicom",
        METADATA_UNREADABLE: "Metadata are not a DICOM data set",
        BULKDATA_MISSING: "A bulk value did not come with the metadata",
        BULKDATA_UNUSED: "No metadata name this part",
        TRANSFER_SYNTAX_NOT_SUPPORTED: "Transfer syntax not supported",
        COERCED: "Coercion of data elements",
        ELEMENTS_DISCARDED: "Elements discarded",
        SOP_CLASS_MISMATCH_WARNING: "Data set does not match SOP class",
    }
)
"""Short text of each code, for people."""


_GRAVEST_FIRST: Final = (ELEMENTS_DISCARDED, COERCED, SOP_CLASS_MISMATCH_WARNING)
"""Warning Reasons in the order in which the only one that an answer has room for is chosen."""


def meaning_of(code: int) -> str:
    """Say in words what a reason code means; unknown codes by their range (PS3.18 I.2)."""
    if code in MEANINGS:
        return MEANINGS[code]
    ranges = {0xA7: OUT_OF_RESOURCES, 0xA9: DATA_SET_DOES_NOT_MATCH_SOP_CLASS}
    if code >> 12 == 0xC:
        return MEANINGS[CANNOT_UNDERSTAND]
    return MEANINGS[ranges.get(code >> 8, PROCESSING_FAILURE)]


@dataclass(frozen=True, slots=True)
class AttributeNote:
    """What is to be said of one attribute of an instance that was sent (PS3.18 I.2.1, PS3.3 10.20).

    Attributes:
        tag: the attribute.
        warning: Warning Reason that goes with it.
        text: what is wrong with it, or was done to it; never a value.
        sequences: the sequences around it, outermost first, each with the number of its item from 1.
    """

    tag: int
    warning: int
    text: str
    sequences: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """What became of one part of a store request (PS3.18 10.5.3).

    Attributes:
        failure: Failure Reason, or `None` when the instance is stored.
        warnings: Warning Reasons; only of a stored instance.
        comment: readable text for the client and the log; never holds a value from the data set.
        already_stored: the same bytes had been stored before, which is success again.
        notes: what is to be said of single attributes.
        waits_in: name of the submission in which a stored instance waits, where the request did not name it.
    """

    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    failure: int | None = None
    warnings: tuple[int, ...] = ()
    comment: str = ""
    already_stored: bool = False
    notes: tuple[AttributeNote, ...] = ()
    waits_in: str | None = None

    @property
    def is_stored(self) -> bool:
        """Whether the archive now holds the instance."""
        return self.failure is None

    def with_notes(self, notes: Sequence[AttributeNote]) -> "StoreOutcome":
        """Return the outcome with what is to be said of attributes; a stored one warns by the gravest of them."""
        warnings = self.warnings
        if self.is_stored:
            warnings = tuple(sorted({*self.warnings, *(note.warning for note in notes)}, key=_GRAVEST_FIRST.index))
        return replace(self, warnings=warnings, notes=(*self.notes, *notes))
