"""Preamble and File Meta Information of a Part 10 file (PS3.10 7.1)."""

import struct
from dataclasses import dataclass

from dicomweb_archive.dicom.limits import ScanLimits
from dicomweb_archive.dicom.status import (
    CANNOT_UNDERSTAND,
    LIMIT_EXCEEDED,
    SOP_CLASS_NOT_SUPPORTED,
    TRANSFER_SYNTAX_NOT_SUPPORTED,
)
from dicomweb_archive.dicom.values import LONG_VRS, SHORT_VRS
from dicomweb_archive.errors import InvalidInstanceError

PREFIX_END = 132
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"

_SOP_CLASS = 0x00020002
_SOP_INSTANCE = 0x00020003
_TRANSFER_SYNTAX = 0x00020010
_NEEDED = {_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX}

# TIFF and BigTIFF in both byte orders: the dual personality that PS3.10 7.1 has the preamble for.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_head = struct.Struct("<HH2sH").unpack_from
_long_length = struct.Struct("<I").unpack_from


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What File Meta Information says; texts are as sent, empty when absent.

    Attributes:
        end: offset of the data set.
    """

    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    end: int


def must_neutralise(preamble: bytes) -> bool:
    """Tell whether a preamble may make the file an executable, a script or a page (CVE-2019-11687)."""
    return preamble[:4] not in _TIFF and preamble.count(0) != len(preamble)


def check_prefix(data: bytes) -> None:
    """Refuse what does not begin like a Part 10 file (PS3.10 7.1); `data` may still be short.

    Raises:
        InvalidInstanceError: DICM is not where it must be.
    """
    if data[128:132] != b"DICM"[: max(0, len(data) - 128)]:
        raise InvalidInstanceError(
            "not a DICOM Part 10 file: no DICM after a preamble of 128 bytes",
            failure=CANNOT_UNDERSTAND,
            offset=128,
        )


class FileMetaReader:
    """Reads File Meta Information up to the first element of another group; resumable at any byte.

    The group length is not trusted: it may be absent or wrong, the groups of the tags decide.

    Attributes:
        need: how many bytes of the file must be there before `run` can go on.
    """

    def __init__(self, limits: ScanLimits) -> None:
        self.need = PREFIX_END
        self._limits = limits
        self._position = PREFIX_END
        self._texts: dict[int, str] = {}
        self._seen: set[int] = set()

    def run(self, data: bytes, *, is_whole: bool = False) -> FileMeta | None:
        """Go on in `data`, the file from its first byte; `None` when more is needed.

        Raises:
            InvalidInstanceError: it is no Part 10 file, has no transfer syntax, or is a DICOMDIR.
        """
        check_prefix(data)
        while True:
            pos = self._position
            if pos + 12 > len(data) and not (is_whole and pos + 8 <= len(data)):
                self.need = pos + 12
                return self._finish() if is_whole and pos == len(data) else None
            group, number, vr, length = _head(data, pos)
            if group != 2:
                return self._finish()
            start = pos + 8
            name = vr.decode("latin_1")
            if name in LONG_VRS:
                length = _long_length(data, start)[0] if start + 4 <= len(data) else 0
                start += 4
            elif name not in SHORT_VRS:
                raise InvalidInstanceError("File Meta Information is not in Explicit VR", offset=pos)
            if start + length > self._limits.meta_bytes:
                raise InvalidInstanceError("File Meta Information is too large", failure=LIMIT_EXCEEDED, offset=pos)
            if start + length > len(data):
                self.need = start + length
                return None
            self._take(number | 0x00020000, data[start : start + length], pos)
            self._position = start + length

    def _take(self, tag: int, value: bytes, offset: int) -> None:
        if tag in self._seen:
            raise InvalidInstanceError("an element occurs twice", offset=offset)
        self._seen.add(tag)
        if tag in _NEEDED:
            self._texts[tag] = value.rstrip(b"\0 ").decode("latin_1")

    def _finish(self) -> FileMeta:
        syntax = self._texts.get(_TRANSFER_SYNTAX, "")
        sop_class = self._texts.get(_SOP_CLASS, "")
        if sop_class == MEDIA_STORAGE_DIRECTORY:
            raise InvalidInstanceError("a DICOMDIR is a directory, not an instance", failure=SOP_CLASS_NOT_SUPPORTED)
        if not syntax:
            raise InvalidInstanceError(
                "File Meta Information has no Transfer Syntax UID (0002,0010)",
                failure=TRANSFER_SYNTAX_NOT_SUPPORTED,
            )
        return FileMeta(syntax, sop_class, self._texts.get(_SOP_INSTANCE, ""), self._position)
