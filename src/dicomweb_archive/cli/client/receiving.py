"""Turning a Retrieve answer into files while it arrives (PS3.18 10.4, 8.6.1.2).

An instance is never whole in memory: its bytes go to a temporary file in the target's folder, which gets its
name, made of a checked SOP Instance UID, when the part is complete.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from dicomweb_archive.cli.client.checksums import FileState, Manifest, digest_of
from dicomweb_archive.cli.client.connection import TransientError, UnexpectedAnswerError
from dicomweb_archive.cli.client.heads import HEAD_BYTES, read_head
from dicomweb_archive.errors import ArchiveError
from dicomweb_archive.wire.multipart import (
    MultipartLimits,
    PartBegin,
    PartData,
    PartEnd,
    PartReader,
    parse_multipart_related,
)
from dicomweb_archive.wire.resources import is_uid

_SERIES_LIMITS = MultipartLimits(parts=10**9)
"""We asked for the series, however large it is; header blocks stay bounded."""


class FetchOutcome(StrEnum):
    """What became of one instance of a download."""

    FETCHED = "fetched"
    KEPT = "kept"
    CHANGED = "changed"
    DIFFERS = "differs"
    MISSING = "missing"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Fetched:
    """One instance that arrived, or was there.

    Attributes:
        name: path below the study's folder.
    """

    sop_instance_uid: str
    name: str
    outcome: FetchOutcome
    size_bytes: int = 0
    sha256: str = ""


@dataclass(slots=True)
class InstanceFiles:
    """Puts arriving instances of one series into its folder; does file I/O, so call it from a thread.

    Attributes:
        replace: overwrite a file that is there with other bytes, instead of keeping it.
    """

    manifest: Manifest
    series_uid: str
    replace: bool = False
    _file: BinaryIO | None = None
    _path: Path = field(default_factory=Path)
    _head: bytearray = field(default_factory=bytearray)
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _size: int = 0

    def begin(self) -> None:
        """Start a temporary file for the next instance."""
        folder = self.manifest.folder / self.series_uid
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f".{secrets.token_hex(8)}.part"
        self._file = self._path.open("xb")
        self._head, self._digest, self._size = bytearray(), hashlib.sha256(), 0

    def write(self, data: bytes | memoryview) -> None:
        """Take some of the instance's bytes."""
        assert self._file is not None
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        self._digest.update(data)
        self._file.write(data)
        self._size += len(data)

    def end(self) -> Fetched:
        """Give the complete file its name.

        Raises:
            UnexpectedAnswerError: what came is no DICOM instance.
        """
        assert self._file is not None
        self._file.close()
        self._file = None
        uid = read_head(bytes(self._head)).sop_instance_uid
        if uid is None or not is_uid(uid):
            self._path.unlink()
            message = "the server sent something else than a DICOM instance"
            raise UnexpectedAnswerError(message)
        return self._settle(uid, f"{self.series_uid}/{uid}.dcm", self._digest.hexdigest())

    def abort(self) -> None:
        """Drop what is incomplete."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._path.unlink(missing_ok=True)

    def _settle(self, uid: str, name: str, digest: str) -> Fetched:
        target = self.manifest.folder / name
        outcome = FetchOutcome.FETCHED
        if target.exists() and not self.replace:
            same = digest_of(target) == digest
            self._path.unlink()
            outcome = FetchOutcome.KEPT if same else FetchOutcome.DIFFERS
            if same and self.manifest.state_of(name, verify=False) is FileState.UNLISTED:
                self.manifest.add(name, digest)
            return Fetched(uid, name, outcome, self._size, digest)
        self.manifest.add(name, digest)
        self._path.replace(target)
        return Fetched(uid, name, outcome, self._size, digest)


class AnswerReader:
    """Feeds the payload of a Retrieve answer, multipart or one instance alone, into files."""

    def __init__(self, content_type: str, files: InstanceFiles, fetched: Callable[[Fetched], None]) -> None:
        self._files = files
        self._fetched = fetched
        self._parts: PartReader | None = None
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type == "multipart/related":
            self._parts = PartReader(parse_multipart_related(content_type).boundary, _SERIES_LIMITS)
        elif media_type == "application/dicom":
            files.begin()
        else:
            message = f"the server answers {media_type or 'no media type'} instead of DICOM"
            raise UnexpectedAnswerError(message)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the payload."""
        if self._parts is None:
            self._files.write(chunk)
            return
        try:
            events = self._parts.feed(chunk)
        except ArchiveError as error:
            raise UnexpectedAnswerError(str(error)) from error
        for event in events:
            match event:
                case PartBegin():
                    self._files.begin()
                case PartData():
                    self._files.write(event.data)
                case PartEnd():
                    self._fetched(self._files.end())

    def finish(self) -> None:
        """Hear that the payload has ended.

        Raises:
            TransientError: it ended too early; what was complete is kept.
        """
        if self._parts is None:
            self._fetched(self._files.end())
            return
        try:
            self._parts.finish()
        except ArchiveError as error:
            message = "the answer was cut short"
            raise TransientError(message) from error
