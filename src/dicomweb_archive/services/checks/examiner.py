"""Examiner: runs a set of checks over a space, whatever its size, and gathers what they find."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dicomweb_archive.checks import catalogue
from dicomweb_archive.checks.catalogue import CheckSet
from dicomweb_archive.checks.examination import Examination
from dicomweb_archive.checks.rules import Rules
from dicomweb_archive.checks.submissions import (
    SeenPixels,
    check_manifest,
    remark_on_conflict,
    remark_on_pixels,
    remark_on_place,
    remark_on_same,
    remark_on_split,
)
from dicomweb_archive.index.curation.examined import ExaminedContent
from dicomweb_archive.index.curation.findings import Examined, RunBeginning
from dicomweb_archive.index.curation.manifests import ManifestIndex
from dicomweb_archive.services.checks.files import FileReader, LookedAt

Progress = Callable[[int], Awaitable[None]]
"""Is told how many instances have been looked at."""

_RELATED = (
    (catalogue.ALREADY_ARCHIVED, remark_on_same),
    (catalogue.CONFLICT, remark_on_conflict),
    (catalogue.ELSEWHERE, remark_on_place),
)


@dataclass(frozen=True, slots=True)
class Examiner:
    """Examines spaces; it changes nothing."""

    content: ExaminedContent
    files: FileReader
    manifests: ManifestIndex

    async def examine(
        self,
        space_id: int,
        check_set: CheckSet,
        rules: Rules,
        *,
        begun: RunBeginning,
        read_files: bool,
        progress: Progress,
    ) -> Examined:
        """Run the checks of a set over everything in a space.

        Args:
            begun: asked for beforehand (`FindingIndex.begin`).
            read_files: also the checks that read each stored file, which takes as long as reading them.
        """
        examination = Examination(check_set, rules)
        await self._examine_series(space_id, examination, progress)
        await self._examine_relations(space_id, examination)
        await self._examine_manifest(space_id, examination)
        if read_files:
            await self._examine_files(space_id, examination, check_set, progress)
        findings = await asyncio.to_thread(examination.finish)
        return Examined(
            check_set=check_set,
            checks=self._run(check_set, read_files=read_files),
            findings=findings,
            begun=begun,
            series=examination.series,
            instances=examination.instances,
            read_files=read_files,
        )

    def _run(self, check_set: CheckSet, *, read_files: bool) -> frozenset[str]:
        """Return the names of the checks that are run, which are those whose findings are replaced."""
        left_out = {check.name for check in catalogue.CHECKS.values() if check.reads_files and not read_files}
        if self.files.iod is None:
            left_out.add(catalogue.IOD.name)
        return check_set.checks - left_out

    async def _examine_series(self, space_id: int, examination: Examination, progress: Progress) -> None:
        async for part in self.content.parts(space_id):
            await asyncio.to_thread(examination.add, part)
            await progress(examination.instances)

    async def _examine_relations(self, space_id: int, examination: Examination) -> None:
        async for related in self.content.related(space_id):
            study, series, instance, _ = related
            for check, judge in _RELATED:
                examination.say(
                    check, related, judge,
                    study_instance_uid=study, series_instance_uid=series, sop_instance_uid=instance,
                )  # fmt: skip
        for split in await self.content.split_series(space_id):
            examination.say(
                catalogue.SPLIT_SERIES, split, remark_on_split,
                study_instance_uid=split.study_instance_uid, series_instance_uid=split.series_instance_uid,
            )  # fmt: skip

    async def _examine_manifest(self, space_id: int, examination: Examination) -> None:
        compared = await self.manifests.compare(space_id)
        if compared is not None:
            examination.say(catalogue.MANIFEST, compared.for_check(), check_manifest)

    async def _examine_files(
        self, space_id: int, examination: Examination, check_set: CheckSet, progress: Progress
    ) -> None:
        seen = SeenPixels()
        looked_at = 0
        async for found in self.files.look(space_id, check_set):
            _take(examination, found, seen)
            looked_at += 1
            await progress(examination.instances + looked_at)


def _take(examination: Examination, found: LookedAt, seen: SeenPixels) -> None:
    file = found.file
    about = {
        "study_instance_uid": file.study_instance_uid,
        "series_instance_uid": file.series_instance_uid,
        "sop_instance_uid": file.sop_instance_uid,
    }
    examination.take(found.findings)
    examination.say(catalogue.IOD, found.iod, iter, **about)
    if found.pixels is not None and seen.repeats(found.pixels):
        examination.say(catalogue.DUPLICATE_PIXELS, found.pixels, remark_on_pixels, **about)
