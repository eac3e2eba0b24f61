"""Part 10 scanner: one pass over an instance, bounded, in any chunks (PS3.10 7, PS3.5 7).

Held values become attributes, large ones are only located, so memory stays constant whatever the size of the
pixel data. Why it is built so, and where it differs from pydicom: docs/design/0002-scanner.md.
"""

import re
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.data_set import DataSetParser
from dicomweb_archive.dicom.element_heads import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Heads
from dicomweb_archive.dicom.file_meta import (
    MEDIA_STORAGE_DIRECTORY,
    PREFIX_END,
    FileMeta,
    FileMetaReader,
    must_neutralise,
)
from dicomweb_archive.dicom.inflate import BoundedInflate
from dicomweb_archive.dicom.instance import MOST_ODD_ATTRIBUTES, Element, ScannedInstance
from dicomweb_archive.dicom.limits import DEFAULT_LIMITS, ScanLimits
from dicomweb_archive.dicom.status import (
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    HOSTILE_IDENTIFIER,
    SOP_CLASS_NOT_SUPPORTED,
    TRANSFER_SYNTAX_NOT_SUPPORTED,
    TRUNCATED,
)
from dicomweb_archive.errors import InvalidInstanceError

__all__ = ["Identity", "Part10Scanner", "ScanLimits", "scan"]

Buffer: TypeAlias = bytes | bytearray | memoryview

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED_SYNTAXES = frozenset(["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"])
_GE_PRIVATE_IMPLICIT = "1.2.840.113619.5.2"
_ENCODINGS = {
    IMPLICIT_VR_LITTLE_ENDIAN: IMPLICIT_LITTLE,
    EXPLICIT_VR_BIG_ENDIAN: EXPLICIT_BIG,
    _GE_PRIVATE_IMPLICIT: IMPLICIT_LITTLE,
}
_uid = re.compile(r"[0-9]+(?:\.[0-9]+)*").fullmatch
_strict_uid = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*").fullmatch
IDENTIFIERS = (
    (tags.SOP_CLASS_UID, "SOP Class UID (0008,0016)"),
    (tags.SOP_INSTANCE_UID, "SOP Instance UID (0008,0018)"),
    (tags.STUDY_INSTANCE_UID, "Study Instance UID (0020,000D)"),
    (tags.SERIES_INSTANCE_UID, "Series Instance UID (0020,000E)"),
)


class Identity(NamedTuple):
    """The identifiers of an instance, each checked to be a UID (PS3.5 9.1)."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str


@lru_cache(maxsize=4096)
def is_uid(text: str) -> bool:
    """Tell whether a text is a UID (PS3.5 9.1), leading zeros of components tolerated."""
    return len(text) <= 64 and _uid(text) is not None


@lru_cache(maxsize=4096)
def _is_strict_uid(uid: str) -> bool:
    return _strict_uid(uid) is not None


def read_uid(element: Element | None, name: str) -> str:
    """Return the UID that an identifying element holds (PS3.5 9.1).

    Raises:
        InvalidInstanceError: it is absent, empty, several, or not a UID.
    """
    if element is None or len(element.values) != 1 or not isinstance(element.values[0], str):
        raise InvalidInstanceError(f"{name} is missing or not one value", failure=DATA_SET_DOES_NOT_MATCH_SOP_CLASS)
    uid = element.values[0]
    if not is_uid(uid):
        raise InvalidInstanceError(f"{name} is not a UID", failure=HOSTILE_IDENTIFIER)
    return uid


def check_identity(identity: Identity, meta: FileMeta) -> list[str]:
    """Return remarks on identifiers that are tolerated; refuses a DICOMDIR (PS3.10 8.6).

    Raises:
        InvalidInstanceError: the instance is a DICOMDIR.
    """
    if identity.sop_class_uid == MEDIA_STORAGE_DIRECTORY:
        raise InvalidInstanceError("a DICOMDIR is a directory, not an instance", failure=SOP_CLASS_NOT_SUPPORTED)
    remarks = []
    if meta.sop_instance_uid != identity.sop_instance_uid:
        remarks.append("meta_uid_differs")
    if meta.sop_class_uid != identity.sop_class_uid:
        remarks.append("meta_class_differs")
    if not all(map(_is_strict_uid, identity)):
        remarks.append("uid_leading_zero")
    return remarks


def encoding_of(transfer_syntax_uid: str) -> Heads:
    """Return the encoding of a data set; what is unknown is taken as Explicit VR Little Endian (PS3.5 10).

    Raises:
        InvalidInstanceError: the transfer syntax is not a UID.
    """
    if not is_uid(transfer_syntax_uid):
        raise InvalidInstanceError(
            "Transfer Syntax UID (0002,0010) is not a UID", failure=TRANSFER_SYNTAX_NOT_SUPPORTED
        )
    return _ENCODINGS.get(transfer_syntax_uid, EXPLICIT_LITTLE)


class Part10Scanner:
    """Scans an instance as its bytes arrive; the same bytes in other chunks give the same result.

    Memory is bounded by `ScanLimits`, not by the instance. After an `InvalidInstanceError` the scanner is done.
    """

    def __init__(self, limits: ScanLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._meta_reader = FileMetaReader(limits)
        self._meta: FileMeta | None = None
        self._neutralise = False
        self._parser: DataSetParser | None = None
        self._inflate: BoundedInflate | None = None
        self._size = 0
        # Bytes not used yet, `_base` being the offset of the first; what lies before `_base` may be missing
        # when a large value is passed over.
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._base = 0
        self._data_size = 0

    @property
    def identity(self) -> Identity | None:
        """The identifiers once all four are known, so that a caller may choose where a large instance goes.

        Raises:
            InvalidInstanceError: one of them is no UID.
        """
        if self._parser is None:
            return None
        found = self._parser.top_elements
        if any(tag not in found for tag, _ in IDENTIFIERS):
            return None
        return Identity(*[read_uid(found[tag], name) for tag, name in IDENTIFIERS])

    def feed(self, data: Buffer) -> None:
        """Take the next bytes of the instance.

        Raises:
            InvalidInstanceError: it cannot be an instance that we keep, whatever follows.
        """
        chunk = bytes(data)
        self._size += len(chunk)
        if self._parser is None:
            self._feed_meta(chunk)
        else:
            self._feed_data(chunk)

    def finish(self) -> ScannedInstance:
        """End the instance and return what it says.

        Raises:
            InvalidInstanceError: it is cut, or its identifiers are missing or no UIDs.
        """
        if self._meta is None:
            self._begin_data(b"".join(self._pending), is_whole=True)
        if self._meta is None or self._parser is None:
            raise InvalidInstanceError("the file ends before its data set", failure=TRUNCATED, offset=self._size)
        if self._inflate is not None:
            self._inflate.finish()
        rest = None if self._base > self._data_size else b"".join(self._pending)
        try:
            self._parser.finish(self._data_size, rest)
        except InvalidInstanceError as error:
            raise self._explained(error) from None
        return self._result(self._meta, self._parser)

    def _result(self, meta: FileMeta, parser: DataSetParser) -> ScannedInstance:
        elements = parser.elements
        identity = Identity(*[read_uid(elements.get(tag), name) for tag, name in IDENTIFIERS])
        remarks = {code for _, code in parser.remarks} if parser.remarks else set()
        remarks.update(check_identity(identity, meta))
        if self._neutralise:
            remarks.add("preamble_neutralised")
        return ScannedInstance(
            transfer_syntax_uid=meta.transfer_syntax_uid,
            sop_class_uid=identity.sop_class_uid,
            sop_instance_uid=identity.sop_instance_uid,
            study_instance_uid=identity.study_instance_uid,
            series_instance_uid=identity.series_instance_uid,
            size_bytes=self._size,
            base=elements,
            pixel_data=parser.pixel_data,
            bulk=tuple(parser.bulk),
            remarks=tuple(sorted(remarks)),
            odd_attributes=tuple(sorted(parser.remarks)[:MOST_ODD_ATTRIBUTES]) if parser.remarks else (),
            preamble_neutralised=self._neutralise,
        )

    def _feed_meta(self, chunk: bytes) -> None:
        self._pending.append(chunk)
        self._pending_bytes += len(chunk)
        if self._pending_bytes >= self._meta_reader.need or self._pending_bytes < PREFIX_END:
            self._begin_data(b"".join(self._pending), is_whole=False)

    def _begin_data(self, data: bytes, *, is_whole: bool) -> None:
        """Read File Meta Information and hand the rest to the data set's parser."""
        self._pending = [data]
        self._meta = meta = self._meta_reader.run(data, is_whole=is_whole)
        if meta is None:
            return
        self._neutralise = must_neutralise(data[:128])
        self._parser = DataSetParser(self._limits, heads=encoding_of(meta.transfer_syntax_uid), detect=True)
        self._pending, self._pending_bytes = [], 0
        self._base = self._data_size = meta.end
        if meta.transfer_syntax_uid in DEFLATED_SYNTAXES:
            self._inflate = BoundedInflate(self._limits)
            self._feed_data(data[meta.end :])
        else:
            self._data_size = len(data)
            self._advance(data, 0, meta.end)

    def _feed_data(self, chunk: bytes) -> None:
        if self._inflate is None:
            self._feed_plain(chunk)
            return
        for piece in self._inflate.feed(chunk):
            self._feed_plain(piece)

    def _feed_plain(self, chunk: bytes) -> None:
        """Take bytes of the data set: skip, wait for enough, or parse."""
        assert self._parser is not None
        start = self._data_size
        self._data_size += len(chunk)
        if self._base >= self._data_size:
            return
        if not self._pending and self._base > start:
            chunk = chunk[self._base - start :]
        self._pending.append(chunk)
        if self._data_size < self._parser.need:
            return
        data = b"".join(self._pending) if len(self._pending) > 1 else chunk
        self._advance(data, self._base, 0)

    def _advance(self, data: bytes, base: int, pos: int) -> None:
        assert self._parser is not None
        assert self._meta is not None
        try:
            used = self._parser.run(data, base, pos)
        except InvalidInstanceError as error:
            raise self._explained(error) from None
        self._base = base + used
        rest = data[used:]
        self._pending = [rest] if rest else []

    def _explained(self, error: InvalidInstanceError) -> InvalidInstanceError:
        """A private transfer syntax that does not read as Explicit VR Little Endian is simply unknown."""
        assert self._parser is not None
        assert self._meta is not None
        if self._meta.transfer_syntax_uid.startswith("1.2.840.10008.1.2") or self._parser.pixel_data:
            return error
        return InvalidInstanceError(
            f"the transfer syntax is not known, and read as Explicit VR: {error.reason}",
            failure=TRANSFER_SYNTAX_NOT_SUPPORTED,
            offset=error.offset,
        )


def scan(data: Buffer, limits: ScanLimits = DEFAULT_LIMITS) -> ScannedInstance:
    """Scan an instance that is whole in memory; what `Part10Scanner` gives for the same bytes.

    Raises:
        InvalidInstanceError: see `Part10Scanner`.
    """
    scanner = Part10Scanner(limits)
    scanner.feed(data)
    return scanner.finish()
