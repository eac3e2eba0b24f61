"""Applies an edit to what a submission holds, or takes one back: in batches, each of which is one transaction.

What a batch has been through is written beside it, so that an interrupted edit goes on where it was and does nothing
twice.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple

import orjson

from dicomweb_archive.dicom.editing.files import decode_raw, edit_file, restore_file
from dicomweb_archive.dicom.editing.planning import ChangeKind, EditPlan, plan_edit
from dicomweb_archive.dicom.editing.rules import EditRules
from dicomweb_archive.dicom.editing.unfit import Unfit, UnfitForEditError
from dicomweb_archive.errors import ArchiveError, DatabaseUnavailableError, ObjectNotFoundError
from dicomweb_archive.index.curation.edits.content import EditContent, InstanceToEdit, InstanceToRestore, SeriesToEdit
from dicomweb_archive.index.curation.edits.records import Edit
from dicomweb_archive.index.curation.edits.writing import EditBatch, EditWriter, MadeEdit
from dicomweb_archive.index.curation.submissions import Submission
from dicomweb_archive.services.edits.making import HELD_BYTES, FileEditor, FileMaker, OldFile
from dicomweb_archive.services.packing import Packing
from dicomweb_archive.storage.base import ObjectStore

logger = logging.getLogger(__name__)

# Segments are merged and packs compacted beside us; what has moved is looked for again.
_PASSES: Final = 5
# Of a file out of order all before its pixel data are kept.
_MOST_REPLACED_BYTES: Final = 16 * 1024 * 1024
_TURNED: Final = {ChangeKind.ADDED: ChangeKind.REMOVED, ChangeKind.REMOVED: ChangeKind.ADDED}

Tell = Callable[[int, int], Awaitable[None]]
"""Takes how many more instances were looked at, and the series that all before are of."""


@dataclass(frozen=True, slots=True)
class Planned:
    """An instance that the rules are meant for: what is to be done, or why it cannot be."""

    instance: InstanceToEdit
    plan: EditPlan | None
    unfit: Unfit | None = None


def plan_instances(rules: EditRules, instances: Sequence[InstanceToEdit]) -> list[Planned]:
    """Say what rules do to instances; those for which they are not meant are left out."""
    found = []
    for instance in instances:
        try:
            plan = plan_edit(rules, instance.texts())
        except UnfitForEditError as error:
            found.append(Planned(instance, None, error.why))
            continue
        if plan.operations:
            found.append(Planned(instance, plan))
    return found


class _Work(NamedTuple):
    """What is to be made of one instance, and the object in which it was found."""

    sop_instance_uid: str
    digest: bytes
    object_key: str
    make: Callable[[FileMaker], Awaitable[MadeEdit]]


class _Written(NamedTuple):
    """What came of some works: how many were done, the objects that were not there, and whether all the rest was."""

    works: int
    missing: set[str]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class EditApplier:
    """Applies edits, and takes them back.

    Attributes:
        pack_bytes, pack_instances: a new pack is closed when it has reached one of them.
        held_bytes: a longer file is copied in pieces behind its head.
        most_replaced_bytes: of what is replaced so much is held and written at once, of one instance at least all.
    """

    content: EditContent
    writer: EditWriter
    objects: ObjectStore
    pack_bytes: int
    pack_instances: int
    held_bytes: int = HELD_BYTES
    most_replaced_bytes: int = _MOST_REPLACED_BYTES

    async def apply(self, submission: Submission, edit: Edit, *, after: int, tell: Tell) -> None:
        """Apply the rules of an edit to each instance of a submission, once.

        Args:
            after: the series up to which an earlier attempt has come.

        Raises:
            ConflictError: the submission is no longer to be edited; what was done until then stays.
            DatabaseUnavailableError, StorageUnavailableError, StorageFullError: what was done until then stays.
        """
        rules = EditRules.from_json([dict(rule) for rule in edit.rules])
        before = after
        async for series in self.content.series(submission.space_id, after=after):
            async for looked_at in self._edit_series(submission, edit, rules, series):
                await tell(looked_at, before)
            before = series.id
            await tell(0, before)

    async def undo(self, submission: Submission, edit: Edit, *, tell: Tell) -> None:
        """Put back what another edit has replaced, where nothing else has been changed since.

        Raises:
            ConflictError, DatabaseUnavailableError, StorageUnavailableError, StorageFullError: see `apply`.
        """
        assert edit.undoes is not None
        lost: set[str] = set()
        for _ in range(_PASSES):
            after, is_missed = ("", ""), False
            while found := await self.content.changed(submission.space_id, edit.undoes, undoing=edit.id, after=after):
                after = found[-1].series_instance_uid, found[-1].sop_instance_uid
                for _, of_series in groupby(found, key=lambda each: (each.study_id, each.series_instance_uid)):
                    instances = list(of_series)
                    is_missed |= not await self._restore(submission, edit, instances, lost)
                    await tell(len(instances), 0)
            if not is_missed:
                return
        raise _never_still()

    async def _edit_series(
        self, submission: Submission, edit: Edit, rules: EditRules, series: SeriesToEdit
    ) -> AsyncIterator[int]:
        lost: set[str] = set()
        for number in range(_PASSES):
            is_missed = False
            for segment_ids in await self.content.segments(series.id):
                instances, are_there = await self.content.read(segment_ids, edit_id=edit.id)
                planned = await asyncio.to_thread(plan_instances, rules, instances)
                is_missed |= not are_there or not await self._edit(submission, edit, series, planned, lost)
                yield 0 if number else len(instances)
            if not is_missed:
                return
        raise _never_still()

    async def _edit(
        self, submission: Submission, edit: Edit, series: SeriesToEdit, planned: Sequence[Planned], lost: set[str]
    ) -> bool:
        """Edit instances of one series; tells whether all of them were where they were said to be."""

        async def make(maker: FileMaker, each: Planned) -> MadeEdit:
            instance, plan = each.instance, each.plan
            if plan is None:
                assert each.unfit is not None
                raise UnfitForEditError(each.unfit)
            old = OldFile(instance.sop_instance_uid, instance.place, instance.digest, instance.layout)
            change = partial(edit_file, operations=plan.operations)
            new = await maker.make(old, change, instance.texts())
            return MadeEdit(
                instance.sop_instance_uid, instance.digest, new.digest, list(map(list, plan.changes)), new.elements
            )

        works = [
            _Work(found.sop_instance_uid, found.digest, found.place.object_key, partial(make, each=each))
            for each in planned
            for found in [each.instance]
        ]
        about = series.study_id, series.study_instance_uid, series.series_instance_uid
        return await self._write(submission, edit, about, works, lost)

    async def _restore(
        self, submission: Submission, edit: Edit, instances: Sequence[InstanceToRestore], lost: set[str]
    ) -> bool:
        async def make(maker: FileMaker, each: InstanceToRestore) -> MadeEdit:
            if each.digest != each.digest_after:
                raise UnfitForEditError(Unfit.CHANGED)
            old = OldFile(each.sop_instance_uid, each.place, each.digest, each.layout)
            change = partial(restore_file, old=decode_raw(each.elements))
            new = await maker.make(old, change, None)
            if new.digest != each.digest_before and not old.is_deflated:
                logger.warning("an undone edit has left other bytes than there were", extra={"edit": edit.undoes})
            return MadeEdit(each.sop_instance_uid, each.digest, new.digest, _turned(each.changes), new.elements)

        works = [
            _Work(each.sop_instance_uid, each.digest, each.place.object_key, partial(make, each=each))
            for each in instances
        ]
        first = instances[0]
        about = first.study_id, first.study_instance_uid, first.series_instance_uid
        return await self._write(submission, edit, about, works, lost)

    async def _write(
        self, submission: Submission, edit: Edit, about: tuple[int, str, str], works: Sequence[_Work], lost: set[str]
    ) -> bool:
        """Write instances anew, in as many transactions as it takes to hold what is replaced in them.

        Args:
            lost: objects that were not there before; what is still said to be in them is lost with them.
        """
        missing: set[str] = set()
        are_all_written = True
        while works:
            written = await self._write_some(submission, edit, about, works, lost)
            are_all_written &= written.is_whole
            missing |= written.missing
            works = works[written.works :]
        lost |= missing
        return not missing and are_all_written

    async def _write_some(
        self,
        submission: Submission,
        edit: Edit,
        about: tuple[int, str, str],
        works: Sequence[_Work],
        lost: Collection[str],
    ) -> _Written:
        """Make new files, durable first, then let the index know them; nothing is left of what it does not take."""
        packing = Packing(self.objects, pack_bytes=self.pack_bytes, pack_instances=self.pack_instances)
        maker = FileMaker(FileEditor(self.objects, self.held_bytes), packing)
        try:
            made, missing, done = await self._make(maker, works, lost)
            packs = await packing.finish()
        except BaseException:
            await packing.abort()
            raise
        try:
            replaced = await self.writer.write(edit.id, EditBatch(submission.space_id, *about, packs, made))
        except DatabaseUnavailableError:
            # A lost connection may hide a commit that took place: one without rows is an orphan for the sweep.
            raise
        except BaseException:
            await self._delete([pack.object_key for pack in packs])
            raise
        await self._delete(replaced.unused_object_keys)
        edited = {each.sop_instance_uid for each in made if each.digest_after is not None}
        return _Written(done, missing, replaced.uids == edited)

    async def _make(
        self, maker: FileMaker, works: Sequence[_Work], lost: Collection[str]
    ) -> tuple[list[MadeEdit], set[str], int]:
        """Make new files, until what is replaced in them is as much as is held.

        Returns:
            also the objects that were not there, though nobody has said so before, and how many works are done.
        """
        made: list[MadeEdit] = []
        missing: set[str] = set()
        held = 0
        for number, work in enumerate(works):
            if held >= self.most_replaced_bytes:
                return made, missing, number
            try:
                new = await work.make(maker)
                made.append(new)
                held += len(new.elements or b"")
            except UnfitForEditError as error:
                made.append(_left(work, error.why))
            except ObjectNotFoundError:
                if work.object_key not in lost:
                    missing.add(work.object_key)
                    continue
                # A folder that is not mounted has lost nothing.
                await self.objects.ping()
                made.append(_left(work, Unfit.DAMAGED))
        return made, missing, len(works)

    async def _delete(self, object_keys: Sequence[str]) -> None:
        try:
            await self.objects.delete_many(object_keys)
        except ArchiveError:
            logger.warning("objects without rows could not all be deleted", extra={"object_keys": len(object_keys)})


def _left(work: _Work, why: Unfit) -> MadeEdit:
    return MadeEdit(work.sop_instance_uid, work.digest, None, (), problem=why.value)


def _turned(changes: str) -> list[list[str | None]]:
    """Return what an edit has done as what taking it back does."""
    return [
        [path, vr, _TURNED.get(kind, kind), after, before] for path, vr, kind, before, after in orjson.loads(changes)
    ]


def _never_still() -> DatabaseUnavailableError:
    message = "what is to be edited keeps being moved; trying again later may help"
    return DatabaseUnavailableError(message)
