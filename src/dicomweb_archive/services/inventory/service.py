"""Inventory: the attributes of what waits in a submission, with their values, looked through and approved by value."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dicomweb_archive.dicom.held_attributes import path_steps
from dicomweb_archive.errors import ForbiddenError, NotFoundError, PreconditionFailedError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.curation.approvals import ApprovalIndex, ValueDigests
from dicomweb_archive.index.curation.inventory_index import CountedInventory, InventoryIndex
from dicomweb_archive.index.curation.submissions import Submission, SubmissionIndex
from dicomweb_archive.services.access import Principal, Role
from dicomweb_archive.services.inventory.approved import ApprovedValues
from dicomweb_archive.services.inventory.lines import AttributeFilter, InventoryPage, page_of, page_of_values
from dicomweb_archive.wire.rule_attributes import ALL_ATTRIBUTES

LONGEST_SECONDS: Final = 20.0
"""Counting ends after this, and the answer says so."""

_LONGEST_SECONDS_OF_APPROVAL: Final = 60.0
_KEPT: Final = 4
_KEPT_VALUES: Final = 600_000
_MOST_VALUES_OF_ONE: Final = 200_000

Wanted = Mapping[str, Sequence[str | None] | None]
"""Values by the path that has them; `None` instead of values: all of them."""


@dataclass(frozen=True, slots=True)
class ApprovalOutcome:
    """What became of an approval, or of taking one back.

    Attributes:
        values: how many are approved now that were not, or the other way round; those not told apart are one.
        undecided: how many attributes have values that nobody has approved.
    """

    values: int
    undecided: int


@dataclass(frozen=True, slots=True)
class InventoryService:
    """Counts one inventory at a time, and keeps the last ones as long as nothing changes.

    Whoever asks has found the submission already, so it is one that they may know of.
    """

    index: InventoryIndex
    approvals: ApprovalIndex
    submissions: SubmissionIndex
    _counting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _kept: OrderedDict[Hashable, CountedInventory] = field(default_factory=OrderedDict)

    async def list_attributes(
        self, submission: Submission, asked: AttributeFilter, *, values: int, limit: int, offset: int = 0
    ) -> InventoryPage:
        """List the attributes of what a submission holds, some values of each.

        Raises:
            QueryTooExpensiveError, DatabaseUnavailableError: trying again later may help.
        """
        approved = await self._approved(submission)
        return await asyncio.to_thread(page_of, approved, asked, values=values, limit=limit, offset=offset)

    async def list_values(self, submission: Submission, path: str, *, limit: int, offset: int = 0) -> InventoryPage:
        """List the values of one path.

        Raises:
            NotFoundError: nothing in the submission has it.
            QueryTooExpensiveError, DatabaseUnavailableError: trying again later may help.
        """
        approved = await self._approved(submission, path)
        _require_path(approved, path)
        return await asyncio.to_thread(page_of_values, approved, path, limit=limit, offset=offset)

    async def approve(
        self, principal: Principal, submission: Submission, wanted: Wanted, *, content: str, comment: str = ""
    ) -> ApprovalOutcome:
        """Say that values are right as they are.

        Args:
            content: of the inventory in which they were looked at.

        Raises:
            ForbiddenError: the principal does not curate the collection.
            PreconditionFailedError: the submission holds something else by now.
            NotFoundError: it has no such attribute or value.
            ConflictError: it is over with the submission.
        """
        _require_curator(principal, submission)
        approved = await self._approved(submission)
        if approved.counted.content.hex() != content:
            message = "what the submission holds has changed since it was looked through; look again and decide anew"
            raise PreconditionFailedError(message)
        for path, texts in wanted.items():
            _require_path(approved, path)
            await self._require_values(submission, approved, path, texts or ())
        missing = await asyncio.to_thread(_missing, approved, wanted)
        if missing:
            await self.approvals.add(submission, missing, actor=principal.name, comment=comment)
        return await self._outcome(submission, sum(map(len, missing.values())))

    async def revoke_approval(
        self, principal: Principal, submission: Submission, wanted: Wanted, *, comment: str = ""
    ) -> ApprovalOutcome:
        """Take approvals back.

        Raises:
            ForbiddenError, ConflictError: see `approve`.
        """
        _require_curator(principal, submission)
        digests = (await self._approved(submission)).digests
        unwanted = await asyncio.to_thread(_unwanted, digests, wanted)
        values = await self.approvals.revoke(submission, unwanted, actor=principal.name, comment=comment)
        return await self._outcome(submission, values)

    async def against_approval(self, submission: Submission) -> Sequence[str]:
        """Say what stands against approving a submission: values that the collection wants approved and are not."""
        collection = await self.submissions.find_collection(submission.collection)
        assert collection is not None
        named = collection.rules.approved_values
        if not named:
            return []
        approved = await self._approved(submission, seconds=_LONGEST_SECONDS_OF_APPROVAL)
        # What was not counted may be an attribute that is named: a sender may put so many others before it.
        if approved.counted.counts.is_cut:
            return ["it has more attributes than are told apart, so that not all values can be approved"]
        if not approved.counted.is_complete:
            return ["it takes too long to look through all of it, so that not all values can be approved"]
        undecided = await asyncio.to_thread(approved.undecided)
        waiting = sum(_is_named(path, named) for path in undecided)
        return [f"{waiting} attributes have values that are not approved"] if waiting else []

    async def _approved(
        self, submission: Submission, path: str | None = None, *, seconds: float = LONGEST_SECONDS
    ) -> ApprovedValues:
        counted = await self._count(submission.space_id, path, seconds)
        digests = await self.approvals.digests(counted.content)
        paths = None if path is None else [path]
        return ApprovedValues(counted, digests, await self.approvals.find(submission.id, paths))

    async def _require_values(
        self, submission: Submission, approved: ApprovedValues, path: str, texts: Sequence[str | None]
    ) -> None:
        """Make sure that a path has these values; of one with very many these alone are counted."""
        unknown = set(texts) - approved.counted.counts.paths[path].values.keys()
        if unknown and approved.counted.counts.paths[path].is_cut:
            of_path = await self._count(submission.space_id, path, LONGEST_SECONDS)
            unknown -= of_path.counts.paths[path].values.keys()
        if unknown:
            raise NotFoundError("no instance of the submission has such a value of the attribute")

    async def _outcome(self, submission: Submission, values: int) -> ApprovalOutcome:
        approved = await self._approved(submission)
        return ApprovalOutcome(values, len(await asyncio.to_thread(approved.undecided)))

    async def _count(self, space_id: int, path: str | None, seconds: float) -> CountedInventory:
        visibility = Visibility((space_id,), see_embargoed=True)
        async with self._counting:
            key = (space_id, path, await self.index.fingerprint(visibility))
            found = self._kept.get(key)
            if found is None or not (found.is_complete or seconds <= LONGEST_SECONDS):
                bound = {} if path is None else {"most_values": _MOST_VALUES_OF_ONE}
                found = await self.index.count(visibility, path, seconds=seconds, **bound)
                self._kept[key] = found
                while len(self._kept) > _KEPT or (len(self._kept) > 1 and self._values_kept() > _KEPT_VALUES):
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return found

    def _values_kept(self) -> int:
        return sum(found.counts.values for found in self._kept.values())


def _missing(approved: ApprovedValues, wanted: Wanted) -> dict[str, list[bytes]]:
    found = {path: approved.missing(path, texts) for path, texts in wanted.items()}
    return {path: digests for path, digests in found.items() if digests}


def _unwanted(digests: ValueDigests, wanted: Wanted) -> dict[str, list[bytes] | None]:
    return {
        # Where all values were approved as one, they are no longer when one of them is not.
        path: None if texts is None else [digests.of_all(path), *(digests.of_value(path, text) for text in texts)]
        for path, texts in wanted.items()
    }


def _require_path(approved: ApprovedValues, path: str) -> None:
    if path not in approved.counted.counts.paths:
        raise NotFoundError("no instance of the submission has an element at this path")


def _require_curator(principal: Principal, submission: Submission) -> None:
    if not principal.has(Role.CURATOR, submission.collection_id):
        message = f"this needs the role {Role.CURATOR.value} in the collection, which your key does not give"
        raise ForbiddenError(message)


def _is_named(path: str, named: frozenset[str]) -> bool:
    """Tell whether rules name a path: as a whole, or by the tag of its attribute, at any place."""
    last = list(path_steps(path))[-1]
    return not named.isdisjoint({ALL_ATTRIBUTES, path, str(last)})
