"""Conflicts of a submission: what came under a UID that was taken, compared with what has it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from dicomweb_archive.dicom.differences import BulkRegion, Difference, bulk_regions, differences
from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import DEFLATED_SYNTAXES
from dicomweb_archive.errors import NotFoundError
from dicomweb_archive.index.curation.conflicts import Conflict, ConflictDecision, ConflictIndex, Place
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.submissions.kept_files import KeptFiles
from dicomweb_archive.services.submissions.submissions import SubmissionService, require_curator


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a conflict and the instance that has its UID do not have alike.

    Attributes:
        attributes: those of the data set; `first` is the standing instance, `second` the conflict.
        bulk: tags of bulk values whose bytes differ, pixel data among them.
    """

    conflict: Conflict
    attributes: Sequence[Difference]
    bulk: Sequence[int]


@dataclass(frozen=True, slots=True)
class ConflictService:
    """Lists conflicts and compares them; whoever sees the submission sees its conflicts."""

    submissions: SubmissionService
    conflicts: ConflictIndex
    files: KeptFiles

    async def list(
        self, principal: Principal, name: str, *, after: int, limit: int, undecided: bool | None = None
    ) -> tuple[Sequence[Conflict], int]:
        """Return conflicts of a submission behind one of them, and how many there are.

        Raises:
            NotFoundError: there is no such submission for this principal.
        """
        submission = await self.submissions.find(principal, name)
        return await self.conflicts.list(submission, principal.sees, after=after, limit=limit, undecided=undecided)

    async def compare(self, principal: Principal, name: str, conflict_id: int) -> Comparison:
        """Compare a conflict with the instance that has its UID; both files are read once, in bounded memory.

        Raises:
            NotFoundError: there is no such submission or conflict, or nothing to compare it with that may be seen.
            ForbiddenError: it keeps what was replaced, which is for curators.
        """
        submission = await self.submissions.find(principal, name)
        conflict = await self.conflicts.find(submission, principal.sees, conflict_id)
        if conflict is None or conflict.standing is None or conflict.place is None:
            message = "There is no such conflict, or nothing that it could be compared with"
            raise NotFoundError(message)
        if conflict.decision is ConflictDecision.REPLACE:
            require_curator(principal, submission)
        standing = conflict.standing.place
        first, second = await self.files.scan(standing), await self.files.scan(conflict.place)
        found = await asyncio.to_thread(lambda: list(differences(first, second)))
        regions = [] if _is_deflated(first, second) else list(bulk_regions(first, second))
        other = conflict.place
        bulk = [region.tag for region in regions if await self._differs(region, standing, other)]
        return Comparison(conflict, found, bulk)

    async def _differs(self, region: BulkRegion, standing: Place, other: Place) -> bool:
        (one_at, one_length), (other_at, other_length) = region.first, region.second
        if one_length != other_length:
            return True
        ones = await self.files.digest(standing, one_at, one_length)
        return ones != await self.files.digest(other, other_at, other_length)


def _is_deflated(*instances: ScannedInstance) -> bool:
    """Tell whether offsets count in an inflated data set, which does not lie in the file."""
    return any(scanned.transfer_syntax_uid in DEFLATED_SYNTAXES for scanned in instances)
