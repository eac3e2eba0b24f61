"""Files: the checks that read what is stored, one file after the other, in bounded memory."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from dicomweb_archive.checks import catalogue
from dicomweb_archive.checks.catalogue import CheckSet
from dicomweb_archive.checks.findings import Finding, Remark, Severity
from dicomweb_archive.checks.structural import InstanceJudge
from dicomweb_archive.checks.submissions import PixelDigest
from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import DEFLATED_SYNTAXES, Part10Scanner, scan
from dicomweb_archive.errors import DamagedObjectError, InvalidInstanceError, ObjectNotFoundError
from dicomweb_archive.index.curation.examined import ExaminedContent, ExaminedFile
from dicomweb_archive.services.checks.iod import LARGEST_BYTES, IodValidator
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.storage.content import Content

_HELD_BYTES: Final = 8 * 1024 * 1024
_AT_ONCE: Final = 4
_OF_FILES: Final = (catalogue.PARSES, catalogue.IDENTIFIERS, catalogue.CHARACTER_SET)


@dataclass(frozen=True, slots=True)
class LookedAt:
    """What was found out about one file.

    Attributes:
        pixels: digest of its pixel data; `None` where it has none that can be compared.
        iod: what dciodvfy says, of one file of each series.
    """

    file: ExaminedFile
    findings: tuple[Finding, ...] = ()
    pixels: PixelDigest | None = None
    iod: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads the files of a space for checks.

    Attributes:
        iod: `None` where dciodvfy is not installed.
    """

    content: ExaminedContent
    objects: ObjectStore
    iod: IodValidator | None

    async def look(self, space_id: int, check_set: CheckSet) -> AsyncIterator[LookedAt]:
        """Yield what is found out about each file of a space, in the order of UIDs."""
        own = replace(check_set, checks=check_set.checks & {check.name for check in _OF_FILES})
        with_iod = self.iod is not None and catalogue.IOD.name in check_set.checks
        seen: set[str] = set()
        async for page in self.content.files(space_id):
            for group in _grouped(page):
                looks = []
                for file in group:
                    validate = with_iod and file.series_instance_uid not in seen
                    seen.add(file.series_instance_uid)
                    looks.append(self._look(space_id, file, own, validate=validate))
                for found in await asyncio.gather(*looks):
                    yield found

    async def _look(self, space_id: int, file: ExaminedFile, check_set: CheckSet, *, validate: bool) -> LookedAt:
        try:
            return await self._read(file, check_set, validate=validate)
        except ObjectNotFoundError:
            # Its pack may just have been written anew.
            moved = await self.content.locate(space_id, file)
        except (InvalidInstanceError, DamagedObjectError):
            return _damaged(file)
        if moved is None:
            return LookedAt(file)
        try:
            return await self._read(moved, check_set, validate=validate)
        except (ObjectNotFoundError, InvalidInstanceError, DamagedObjectError):
            return _damaged(file)

    async def _read(self, file: ExaminedFile, check_set: CheckSet, *, validate: bool) -> LookedAt:
        if file.byte_length > (LARGEST_BYTES if validate else _HELD_BYTES):
            return await self._stream(file, check_set)
        data = bytes(await self.objects.streaming.read(file.object_key, file.byte_offset, file.byte_length))
        found = await asyncio.to_thread(_looked_at, file, data, check_set)
        if not validate or self.iod is None:
            return found
        return replace(found, iod=tuple(await self.iod.validate(data)))

    async def _stream(self, file: ExaminedFile, check_set: CheckSet) -> LookedAt:
        """Look at a file that is too large to be held: once for its structure, once for its pixels."""
        scanner = Part10Scanner()
        async with await self.objects.streaming.open(file.object_key) as reader:
            async for piece in reader.stream(file.byte_offset, file.byte_length):
                await asyncio.to_thread(scanner.feed, piece)
            scanned = scanner.finish()
            digest = None
            if place := _pixels_of(scanned):
                content = Content(neutralise_preamble=False)
                async for piece in reader.stream(file.byte_offset + place[0], place[1]):
                    await asyncio.to_thread(content.keep, [piece])
                digest = content.digest()
        return _result(file, scanned, digest, check_set)


def _looked_at(file: ExaminedFile, data: bytes, check_set: CheckSet) -> LookedAt:
    scanned = scan(data)
    digest = None
    if place := _pixels_of(scanned):
        content = Content(neutralise_preamble=False)
        content.keep([memoryview(data)[place[0] : place[0] + place[1]]])
        digest = content.digest()
    return _result(file, scanned, digest, check_set)


def _result(file: ExaminedFile, scanned: ScannedInstance, digest: bytes | None, check_set: CheckSet) -> LookedAt:
    about = (file.study_instance_uid, file.series_instance_uid, file.sop_instance_uid)
    pixels = None if digest is None else PixelDigest(*about, digest)
    return LookedAt(file, InstanceJudge(check_set).judge(scanned), pixels)


def _pixels_of(scanned: ScannedInstance) -> tuple[int, int] | None:
    """Return where the pixel data lie in the file; inside a deflated data set they lie nowhere."""
    pixels = scanned.pixel_data
    if pixels is None or not pixels.length or scanned.transfer_syntax_uid in DEFLATED_SYNTAXES:
        return None
    return pixels.offset, pixels.length


def _damaged(file: ExaminedFile) -> LookedAt:
    check = catalogue.PARSES
    found = Finding(
        check.name,
        check.version,
        Severity.BLOCK,
        "the stored file is missing or can no longer be read",
        study_instance_uid=file.study_instance_uid,
        series_instance_uid=file.series_instance_uid,
        sop_instance_uid=file.sop_instance_uid,
    )
    return LookedAt(file, (found,))


def _grouped(files: Iterable[ExaminedFile]) -> Iterator[list[ExaminedFile]]:
    rest = iter(files)
    while group := list(islice(rest, _AT_ONCE)):
        yield group
