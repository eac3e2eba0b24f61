"""Dry runs: what rules would do to a submission, found out from the index without changing anything."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from dicomweb_archive.dicom.editing.files import edit_file
from dicomweb_archive.dicom.editing.planning import Change, EditPlan
from dicomweb_archive.dicom.editing.rules import EditRules
from dicomweb_archive.dicom.editing.unfit import Unfit, UnfitForEditError
from dicomweb_archive.errors import ObjectNotFoundError
from dicomweb_archive.index.curation.edits.content import EditContent, InstanceToEdit, SeriesToEdit
from dicomweb_archive.index.curation.submissions import Submission
from dicomweb_archive.services.edits.applying import Planned, plan_instances
from dicomweb_archive.services.edits.making import FileEditor, OldFile
from dicomweb_archive.storage.base import ObjectStore

LONGEST_SECONDS: Final = 20.0
"""A dry run ends after this, and the answer says so."""

MOST_CHANGES: Final = 10_000
"""Different changes that are told apart."""

_SAMPLES: Final = 10

_MOST_KINDS: Final = 200
"""Of a series so many kinds of work are told apart, each of which is tried; the rest by transfer syntax alone."""


@dataclass(frozen=True, slots=True)
class SampledInstance:
    """An instance that would be edited, and what would become of it."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    changes: Sequence[Change]


@dataclass(slots=True)
class EditPreview:
    """What rules would do.

    Attributes:
        looked_at: instances that were looked at.
        instances, series, studies: that would be changed.
        changes: how many instances each different change is of.
        unfit: how many instances could not be edited, and why. In each series one file is tried of those that are
            edited alike and have the same encoding; what is odd about a single one is found when the edit is applied.
        sample: some instances, one of each series.
        complete: everything was looked at, and all different changes are told apart.
    """

    looked_at: int = 0
    instances: int = 0
    series: int = 0
    studies: int = 0
    changes: Counter[Change] = field(default_factory=Counter)
    unfit: Counter[Unfit] = field(default_factory=Counter)
    sample: list[SampledInstance] = field(default_factory=list)
    complete: bool = True


_Shape = tuple[object, ...]


@dataclass(slots=True)
class _Kind:
    """Instances of a series that are edited alike, one of which is tried."""

    instance: InstanceToEdit
    plan: EditPlan
    instances: int = 0
    changes: Counter[Change] = field(default_factory=Counter)

    def leave_out(self, *, whole: bool) -> int:
        """Leave all instances out, or the one that was tried, and return how many these are."""
        left_out = self.instances if whole else 1
        self.instances -= left_out
        if not whole:
            self.changes -= Counter(self.plan.changes)
        return left_out


@dataclass(frozen=True, slots=True)
class EditPreviewer:
    """Makes dry runs."""

    content: EditContent
    objects: ObjectStore

    async def preview(self, submission: Submission, rules: EditRules, *, seconds: float) -> EditPreview:
        """Say what rules would do to what a submission holds.

        Raises:
            DatabaseUnavailableError: trying again later may help.
        """
        preview = EditPreview()
        until = time.monotonic() + seconds
        studies: set[str] = set()
        is_first = True
        async for series in self.content.series(submission.space_id):
            if not is_first and time.monotonic() > until:
                preview.complete = False
                break
            is_first = False
            kinds: dict[_Shape, _Kind] = {}
            for segment_ids in await self.content.segments(series.id):
                instances, _ = await self.content.read(segment_ids)
                planned = await asyncio.to_thread(plan_instances, rules, instances)
                preview.looked_at += len(instances)
                await asyncio.to_thread(_sort, preview, kinds, planned)
                if time.monotonic() > until:
                    preview.complete = False
                    break
            if await self._try(preview, series, kinds, until):
                preview.series += 1
                studies.add(series.study_instance_uid)
        preview.studies = len(studies)
        return preview

    async def _try(
        self, preview: EditPreview, series: SeriesToEdit, kinds: Mapping[_Shape, _Kind], until: float
    ) -> bool:
        """Edit one file of each kind, to nowhere; tells whether something of the series would change.

        Once the time is over, what is left is not tried and not counted, but for the first.
        """
        editor, is_changed = FileEditor(self.objects), False
        for number, kind in enumerate(kinds.values()):
            if number and time.monotonic() > until:
                preview.complete = False
                break
            instance, plan = kind.instance, kind.plan
            old = OldFile(instance.sop_instance_uid, instance.place, instance.digest, instance.layout)
            try:
                await editor.rehearse(old, partial(edit_file, operations=plan.operations), instance.texts())
            except ObjectNotFoundError:
                preview.unfit[Unfit.DAMAGED] += kind.leave_out(whole=False)
            except UnfitForEditError as error:
                preview.unfit[error.why] += kind.leave_out(whole=error.why is not Unfit.DAMAGED)
            if not kind.instances:
                continue
            _count(preview, kind)
            if not is_changed and len(preview.sample) < _SAMPLES:
                about = series.study_instance_uid, series.series_instance_uid, instance.sop_instance_uid
                preview.sample.append(SampledInstance(*about, plan.changes))
            is_changed = True
        return is_changed


def _sort(preview: EditPreview, kinds: dict[_Shape, _Kind], planned: Sequence[Planned]) -> None:
    """Put instances for which the rules mean the same kind of work together."""
    told_apart = sum(len(kind.changes) for kind in kinds.values())
    for each in planned:
        if each.plan is None:
            assert each.unfit is not None
            preview.unfit[each.unfit] += 1
            continue
        shape = _shape_of(each.instance, each.plan)
        if shape not in kinds and len(kinds) >= _MOST_KINDS:
            shape = shape[:1]
        kind = kinds.setdefault(shape, _Kind(each.instance, each.plan))
        kind.instances += 1
        for change in each.plan.changes:
            if change in kind.changes:
                kind.changes[change] += 1
            elif told_apart < MOST_CHANGES:
                kind.changes[change] = 1
                told_apart += 1
            else:
                preview.complete = False


def _shape_of(instance: InstanceToEdit, plan: EditPlan) -> _Shape:
    """Return what decides whether a file can be edited, apart from what is odd about it alone."""
    operations = tuple((each.parents, each.tag, each.vr, not (each.text or "").isascii()) for each in plan.operations)
    # The index has all text as UTF-8; which character set it came in shows in text that is not ASCII, if at all.
    texts = instance.texts().values() if any(foreign for *_, foreign in operations) else ()
    return instance.layout.transfer_syntax_uid, operations, tuple(text for text in texts if not text.isascii())


def _count(preview: EditPreview, kind: _Kind) -> None:
    preview.instances += kind.instances
    for change, instances in kind.changes.items():
        if change in preview.changes or len(preview.changes) < MOST_CHANGES:
            preview.changes[change] += instances
        else:
            preview.complete = False
