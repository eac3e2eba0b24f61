"""Dry runs: what rules would do to a submission, found out from the index without changing anything."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from dicomweb_archive.dicom.editing.files import edit_file
from dicomweb_archive.dicom.editing.planning import Change
from dicomweb_archive.dicom.editing.rules import EditRules
from dicomweb_archive.dicom.editing.unfit import Unfit, UnfitForEditError
from dicomweb_archive.errors import ArchiveError
from dicomweb_archive.index.curation.edits.content import EditContent
from dicomweb_archive.index.curation.submissions import Submission
from dicomweb_archive.services.edits.applying import Planned, plan_instances
from dicomweb_archive.services.edits.making import HELD_BYTES
from dicomweb_archive.storage.base import ObjectStore

LONGEST_SECONDS: Final = 20.0
"""A dry run ends after this, and the answer says so."""

MOST_CHANGES: Final = 10_000
"""Different changes that are told apart."""

_SAMPLES: Final = 10


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
        unfit: how many instances could not be edited, and why. Of each series one file is tried; what is odd about
            the others is found when the edit is applied.
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
        async for series in self.content.series(submission.space_id):
            before = preview.instances
            first: Planned | None = None
            for segment_ids in await self.content.segments(series.id):
                instances, _ = await self.content.read(segment_ids)
                planned = await asyncio.to_thread(plan_instances, rules, instances)
                preview.looked_at += len(instances)
                _count(preview, planned)
                first = first or next((each for each in planned if each.plan is not None), None)
                if time.monotonic() > until:
                    preview.complete = False
                    break
            if first is not None and first.plan is not None:
                await self._try(preview, first, preview.instances - before)
                if preview.instances > before:
                    about = series.study_instance_uid, series.series_instance_uid, first.instance.sop_instance_uid
                    preview.sample += [SampledInstance(*about, first.plan.changes)][: _SAMPLES - len(preview.sample)]
                    preview.series += 1
                    studies.add(series.study_instance_uid)
            if not preview.complete and time.monotonic() > until:
                break
        preview.studies = len(studies)
        return preview

    async def _try(self, preview: EditPreview, first: Planned, instances: int) -> None:
        """Edit one file of a series, to nowhere: its encoding and character set are mostly those of the others."""
        instance, plan = first.instance, first.plan
        assert plan is not None
        if instance.place.length > HELD_BYTES:
            return
        try:
            place = instance.place
            data = bytes(await self.objects.streaming.read(place.object_key, place.offset, place.length))
            await asyncio.to_thread(edit_file, data, plan.operations)
        except UnfitForEditError as error:
            preview.unfit[error.why] += instances
            preview.instances -= instances
        except ArchiveError:
            preview.unfit[Unfit.DAMAGED] += 1
            preview.instances -= 1


def _count(preview: EditPreview, planned: Sequence[Planned]) -> None:
    for each in planned:
        if each.plan is None:
            assert each.unfit is not None
            preview.unfit[each.unfit] += 1
            continue
        preview.instances += 1
        for change in each.plan.changes:
            if change in preview.changes or len(preview.changes) < MOST_CHANGES:
                preview.changes[change] += 1
            else:
                preview.complete = False
