"""Makes the new file of an instance out of the old one, in bounded memory, and looks whether it is right."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from blake3 import blake3

from dicomweb_archive.dicom.editing.files import LARGEST_HEAD, EditedFile, encode_raw
from dicomweb_archive.dicom.editing.unfit import Unfit, UnfitForEditError
from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import DEFLATED_SYNTAXES, Part10Scanner
from dicomweb_archive.errors import DamagedObjectError, InvalidInstanceError
from dicomweb_archive.index.curation.conflicts import Place
from dicomweb_archive.index.segments.locations import FileLayout
from dicomweb_archive.services.intake import Intake, series_key
from dicomweb_archive.services.packing import LargeMember, Packing
from dicomweb_archive.storage.base import ObjectStore

HELD_BYTES: Final = 8 * 1024 * 1024
"""A longer file is copied in pieces behind its head."""

Edit = Callable[[bytes], EditedFile]
"""Edits the first bytes of a file, all before its pixel data."""


class OldFile(NamedTuple):
    """A file as it is: where it lies, its digest, and how it is laid out."""

    sop_instance_uid: str
    place: Place
    digest: bytes
    layout: FileLayout

    @property
    def is_deflated(self) -> bool:
        """Whether it has to be written anew as a whole."""
        return self.layout.transfer_syntax_uid in DEFLATED_SYNTAXES


class NewFile(NamedTuple):
    """What was made: the digest of the new bytes, and the elements that were replaced, as they are kept."""

    digest: bytes
    elements: bytes


@dataclass(slots=True)
class FileEditor:
    """Edits files of instances of one series in memory.

    Attributes:
        held_bytes: of a longer file only the head is read, all before its pixel data.
    """

    objects: ObjectStore
    held_bytes: int = HELD_BYTES
    _intake: Intake = field(default_factory=Intake)

    async def rehearse(self, old: OldFile, edit: Edit, texts: Mapping[int, bytes]) -> None:
        """Find out what making a new file would come to, and keep nothing.

        Raises:
            UnfitForEditError, ObjectNotFoundError: see `FileMaker.make`.
        """
        with told_as_unfit():
            if self.is_held(old):
                await self.edit_held(old, edit, texts)
            else:
                await asyncio.to_thread(edit, await self.read_head(old))

    def is_held(self, old: OldFile) -> bool:
        """Tell whether a file is edited as a whole."""
        return old.place.length <= self.held_bytes

    async def edit_held(
        self, old: OldFile, edit: Edit, texts: Mapping[int, bytes] | None
    ) -> tuple[EditedFile, ScannedInstance, bytes]:
        """Edit a file as a whole, and look whether it is right; see `FileMaker.make`."""
        place = old.place
        data = bytes(await self.objects.streaming.read(place.object_key, place.offset, place.length))
        edited, new = await asyncio.to_thread(_edited, data, old, edit)
        scanned = await self._intake.scan(new)
        require_faithful(old, edited, scanned, texts)
        return edited, scanned, new

    async def read_head(self, old: OldFile) -> bytes:
        """Read what an edit has to see: all before the pixel data, of a deflated file all.

        Raises:
            UnfitForEditError: it is too large.
        """
        pixels = old.layout.pixel_data
        head_bytes = pixels.offset if pixels is not None and not old.is_deflated else old.place.length
        if head_bytes > LARGEST_HEAD:
            raise UnfitForEditError(Unfit.TOO_LARGE)
        place = old.place
        return bytes(await self.objects.streaming.read(place.object_key, place.offset, head_bytes))


@dataclass(slots=True)
class FileMaker:
    """Makes the new files of instances of one series.

    Attributes:
        packing: where they go; its owner finishes or aborts it.
    """

    editor: FileEditor
    packing: Packing

    async def make(self, old: OldFile, edit: Edit, texts: Mapping[int, bytes] | None) -> NewFile:
        """Make a new file; a long one is copied in pieces behind its head.

        Args:
            texts: what the old one says, to be compared with the new one; `None`: the old bytes are to come back.

        Raises:
            UnfitForEditError: the instance stays as it is; nothing of it is in the pack.
            ObjectNotFoundError: the old file is no longer there.
        """
        with told_as_unfit():
            if not self.editor.is_held(old):
                return await self._make_streamed(old, edit, texts)
            edited, scanned, new = await self.editor.edit_held(old, edit, texts)
            (digest,) = await self.packing.append(series_key(scanned), [(scanned, new)])
            return NewFile(digest, encode_raw(edited.old))

    async def _make_streamed(self, old: OldFile, edit: Edit, texts: Mapping[int, bytes] | None) -> NewFile:
        head = await self.editor.read_head(old)
        edited = await asyncio.to_thread(edit, head)
        member = await self.packing.open_member(old.sop_instance_uid, neutralise_preamble=False)
        try:
            scanned = await self._copy(old, head, edited, member)
            require_faithful(old, edited, scanned, texts)
            placed = await member.finish()
        except BaseException:
            await member.drop()
            raise
        await member.keep(scanned, placed, self.packing)
        return NewFile(placed.digest, encode_raw(edited.old))

    async def _copy(self, old: OldFile, head: bytes, edited: EditedFile, member: LargeMember) -> ScannedInstance:
        """Write the new head and the rest of the old file behind it; the old bytes are proven on the way."""
        scanner, digest = Part10Scanner(), blake3(head)

        async def write(piece: bytes) -> None:
            await asyncio.to_thread(scanner.feed, piece)
            await member.write([piece])

        await write(edited.head + head[edited.replaced :])
        rest = old.place.length - len(head)
        if rest:
            async with (
                await self.editor.objects.streaming.open(old.place.object_key) as reader,
                aclosing(reader.stream(old.place.offset + len(head), rest)) as pieces,
            ):
                async for piece in pieces:
                    await asyncio.to_thread(digest.update, piece)
                    await write(bytes(piece))
        if digest.digest() != old.digest:
            raise UnfitForEditError(Unfit.DAMAGED)
        return await asyncio.to_thread(scanner.finish)


@contextmanager
def told_as_unfit() -> Iterator[None]:
    """Let what is wrong with a stored file keep it from being edited, and nothing else."""
    try:
        yield
    except DamagedObjectError:
        raise UnfitForEditError(Unfit.DAMAGED) from None
    except InvalidInstanceError:
        raise UnfitForEditError(Unfit.STRUCTURE) from None


def _edited(data: bytes, old: OldFile, edit: Edit) -> tuple[EditedFile, bytes]:
    if blake3(data).digest() != old.digest:
        raise UnfitForEditError(Unfit.DAMAGED)
    edited = edit(data)
    return edited, edited.head + data[edited.replaced :]


def require_faithful(
    old: OldFile, edited: EditedFile, scanned: ScannedInstance, texts: Mapping[int, bytes] | None
) -> None:
    """Look whether all that was not edited reads as it did.

    Raises:
        UnfitForEditError: something does not.
    """
    layout = old.layout
    is_same = scanned.sop_instance_uid == old.sop_instance_uid
    is_same &= scanned.transfer_syntax_uid == layout.transfer_syntax_uid
    if layout.pixel_data is not None:
        is_same &= scanned.pixel_data is not None and scanned.pixel_data.length == layout.pixel_data.length
    if texts is not None:
        now = {tag: each.json for tag, each in scanned.attributes().items() if tag not in edited.tags}
        is_same &= now == {tag: text for tag, text in texts.items() if tag not in edited.tags}
    if not is_same:
        raise UnfitForEditError(Unfit.STRUCTURE)
