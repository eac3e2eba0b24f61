"""Which of the values that were counted are approved."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dicomweb_archive.index.curation.approvals import Approval, ValueDigests
from dicomweb_archive.index.curation.inventory_index import CountedInventory


@dataclass(frozen=True, slots=True)
class ApprovedValues:
    """The values of a submission beside what was approved of them.

    Attributes:
        approvals: by path, the oldest first.
    """

    counted: CountedInventory
    digests: ValueDigests
    approvals: Mapping[str, Sequence[Approval]]

    def undecided(self) -> frozenset[str]:
        """Return the paths with a value that nobody has approved."""
        return frozenset(path for path in self.counted.counts.paths if not self.is_approved(path))

    def is_approved(self, path: str) -> bool:
        """Tell whether all values of a path are approved, or it has none."""
        known = self._known(path)
        if known and self.digests.of_all(path) in known:
            return True
        if not self.are_told_apart(path):
            return False
        values = self.counted.counts.paths[path].values
        return all(text == "" or (bool(known) and self.digests.of_value(path, text) in known) for text in values)

    def approvals_of(self, path: str, texts: Sequence[str | None]) -> Iterator[Approval | None]:
        """Yield for each value of a path who has approved it."""
        known = self._known(path)
        of_all = known.get(self.digests.of_all(path))
        for text in texts:
            yield None if text == "" or not known else known.get(self.digests.of_value(path, text), of_all)

    def are_told_apart(self, path: str) -> bool:
        """Tell whether all values of a path are known."""
        return self.counted.is_complete and not self.counted.counts.paths[path].is_cut

    def missing(self, path: str, texts: Sequence[str | None] | None) -> list[bytes]:
        """Return what is to be approved still of some values of a path, or of all that it has."""
        known = self._known(path)
        if texts is None and not self.are_told_apart(path):
            wanted = [self.digests.of_all(path)]
        else:
            values = self.counted.counts.paths[path].values if texts is None else texts
            wanted = [self.digests.of_value(path, text) for text in values if text != ""]
        return [digest for digest in dict.fromkeys(wanted) if digest not in known]

    def _known(self, path: str) -> Mapping[bytes, Approval]:
        found: dict[bytes, Approval] = {}
        for approval in self.approvals.get(path, ()):
            for digest in approval.members():
                found.setdefault(digest, approval)
        return found
