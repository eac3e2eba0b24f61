"""Checks of what may be seen in pictures and read in documents, as far as headers tell (PS3.15 E.3.1, E.3.2)."""

from collections.abc import Iterator
from typing import Final

from dicomweb_archive.checks.content import SeriesPart, texts_of
from dicomweb_archive.checks.findings import Remark, Severity
from dicomweb_archive.dicom.instance import Element

_IMAGE_TYPE: Final = 0x00080008
_MODALITY: Final = 0x00080060
_BURNED_IN: Final = 0x00280301
_RECOGNIZABLE: Final = 0x00280302
_LONGITUDINAL: Final = 0x00280303
_IDENTITY_REMOVED: Final = 0x00120062
_METHOD: Final = 0x00120063
_METHOD_CODES: Final = 0x00120064
_CODE_VALUE: Final = 0x00080100

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
# Ultrasound, secondary capture, X-ray angiography and fluoroscopy: text in the pixels is usual.
_OFTEN_ANNOTATED: Final = tuple(_STORAGE + rest for rest in ("3", "6", "7", "12.1", "12.2"))
# The same by Modality, with those of secondary captures and of other devices.
_ANNOTATED_MODALITIES: Final = frozenset({"US", "IVUS", "XA", "RF", "ES", "OT"})
# Encapsulated PDF and CDA, structured reports, presentation states.
_DOCUMENTS: Final = tuple(_STORAGE + rest for rest in ("104.1", "104.2", "88", "11"))
_FULL_DATES, _MODIFIED_DATES = "113106", "113107"


def check_burned_in(part: SeriesPart) -> Iterator[Remark]:
    """Find pictures that say that text is burned in, or are of a kind that often has it."""
    path = f"{_BURNED_IN:08X}"
    for each in part.occurrences(_BURNED_IN):
        if "YES" in each.element.values:
            message = "Burned In Annotation is YES"
            yield Remark(Severity.BLOCK, message, path, each.instances, each.sop_instance_uid)
    # Said to have none is no proof, so what is said plays no part here.
    risky = [
        file.sop_instance_uid
        for position, file in enumerate(part.files)
        if file.pixel_data is not None
        and (_is_of(file.sop_class_uid, _OFTEN_ANNOTATED) or _is_annotated(part.at(_MODALITY, position)))
    ]
    if risky:
        message = "images of this SOP class or modality often have text in their pixels"
        yield Remark(Severity.WARN, message, "00080016", len(risky), risky[0])
    for each in part.occurrences(_IMAGE_TYPE):
        if any("SCREEN" in text for text in texts_of(each.element)):
            message = "Image Type tells of a screen capture"
            yield Remark(Severity.WARN, message, f"{_IMAGE_TYPE:08X}", each.instances, each.sop_instance_uid)


def check_recognizable(part: SeriesPart) -> Iterator[Remark]:
    """Find images that say that a person can be recognized on them."""
    for each in part.occurrences(_RECOGNIZABLE):
        if "YES" in each.element.values:
            message = "Recognizable Visual Features is YES"
            yield Remark(Severity.WARN, message, f"{_RECOGNIZABLE:08X}", each.instances, each.sop_instance_uid)


def check_documents(part: SeriesPart) -> Iterator[Remark]:
    """Find documents and reports, whose free text only a person can judge."""
    documents = [file.sop_instance_uid for file in part.files if _is_of(file.sop_class_uid, _DOCUMENTS)]
    if documents:
        message = "a document, report or presentation state holds free text, which a person has to read"
        yield Remark(Severity.WARN, message, "00080016", len(documents), documents[0])


def check_deidentification(part: SeriesPart) -> Iterator[Remark]:
    """Ask for a record of the de-identification that agrees with itself (PS3.3 C.12.1, PS3.15 E.1)."""
    removed = sum(each.instances for each in part.occurrences(_IDENTITY_REMOVED) if "YES" in each.element.values)
    if removed < len(part.files):
        message = "Patient Identity Removed is not YES"
        yield Remark(Severity.WARN, message, f"{_IDENTITY_REMOVED:08X}", len(part.files) - removed)
    if removed and not part.occurrences(_METHOD) and not part.occurrences(_METHOD_CODES):
        message = "the identity is said to be removed, and no method of de-identification is named"
        yield Remark(Severity.WARN, message, f"{_METHOD:08X}", removed)
    told = {text for each in part.occurrences(_LONGITUDINAL) for text in texts_of(each.element)}
    path = f"{_LONGITUDINAL:08X}"
    if removed and not told & {"UNMODIFIED", "MODIFIED", "REMOVED"}:
        message = "Longitudinal Temporal Information Modified is missing or has another value than it may"
        yield Remark(Severity.WARN, message, path, removed)
    codes = _method_codes(part)
    if (_FULL_DATES in codes and "MODIFIED" in told) or (_MODIFIED_DATES in codes and "UNMODIFIED" in told):
        message = "what was done with dates is told in two ways that contradict each other"
        yield Remark(Severity.WARN, message, path, removed or len(part.files))


def _method_codes(part: SeriesPart) -> set[str]:
    codes = (found for found in part.placed() if found.path == f"{_METHOD_CODES:08X}.{_CODE_VALUE:08X}")
    return {text for found in codes for text in texts_of(found.element)}


def _is_annotated(modality: Element | None) -> bool:
    return modality is not None and not _ANNOTATED_MODALITIES.isdisjoint(texts_of(modality))


def _is_of(sop_class_uid: str, kinds: tuple[str, ...]) -> bool:
    return any(sop_class_uid == kind or sop_class_uid.startswith(f"{kind}.") for kind in kinds)
