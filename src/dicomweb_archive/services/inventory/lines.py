"""What is told of an inventory: a page of attributes, each with some of its values and what was approved of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from dicomweb_archive.dicom.held_attributes import HeldAttribute, held_attribute
from dicomweb_archive.index.curation.approvals import Approval
from dicomweb_archive.index.curation.inventory import PathTally
from dicomweb_archive.services.inventory.approved import ApprovedValues


@dataclass(frozen=True, slots=True)
class Value:
    """A value and in how many instances and series it is.

    Attributes:
        text: `None` where it is binary.
        approval: who has approved it; an empty one needs no approval.
    """

    text: str | None
    instances: int
    series: int
    approval: Approval | None = None


@dataclass(frozen=True, slots=True)
class InventoryLine:
    """An attribute, with some of its values, the most frequent first.

    Attributes:
        name: of the path in the index, by which its values are asked for.
        distinct: how many values it has; at least so many when `is_cut`.
        is_approved: all its values are, or it has none.
    """

    name: str
    attribute: HeldAttribute
    vr: str
    instances: int
    series: int
    distinct: int
    is_cut: bool
    is_approved: bool
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class InventoryPage:
    """Some of the attributes, by path.

    Attributes:
        total: how many pass the filter.
        undecided: how many of all have a value that nobody has approved.
        complete: everything was looked through; else there was not time enough.
        content: stands for all bytes of the submission; approvals name it.
    """

    lines: Sequence[InventoryLine]
    total: int
    undecided: int
    instances: int
    series: int
    complete: bool
    content: str


@dataclass(frozen=True, slots=True)
class AttributeFilter:
    """Which attributes are asked for.

    Attributes:
        prefix: what their paths begin with.
        text: what occurs in their names.
        undecided: only those with a value that nobody has approved.
    """

    prefix: str = ""
    text: str = ""
    undecided: bool = False


def page_of(approved: ApprovedValues, asked: AttributeFilter, *, values: int, limit: int, offset: int) -> InventoryPage:
    """Return some of the attributes that pass the filter, `values` of each."""
    counted = approved.counted
    undecided = approved.undecided()
    paths = sorted(undecided if asked.undecided else counted.counts.paths)
    named = ((held_attribute(name), name) for name in paths)
    passing = [name for each, name in named if each.starts_with(asked.prefix) and each.contains(asked.text)]
    lines = [_line(approved, name, values, 0, name not in undecided) for name in passing[offset : offset + limit]]
    return _page(approved, lines, len(passing), len(undecided))


def page_of_values(approved: ApprovedValues, path: str, *, limit: int, offset: int) -> InventoryPage:
    """Return one attribute, with some of its values."""
    is_approved = approved.is_approved(path)
    return _page(approved, [_line(approved, path, limit, offset, is_approved)], 1, int(not is_approved))


def _page(approved: ApprovedValues, lines: Sequence[InventoryLine], total: int, undecided: int) -> InventoryPage:
    count = approved.counted.counts
    complete, content = approved.counted.is_complete and not count.is_cut, approved.counted.content.hex()
    return InventoryPage(lines, total, undecided, count.instances, count.series, complete, content)


def _line(approved: ApprovedValues, path: str, limit: int, offset: int, is_approved: bool) -> InventoryLine:
    tally: PathTally = approved.counted.counts.paths[path]
    some = tally.most_frequent(limit, offset)
    approvals = approved.approvals_of(path, [text for text, _ in some])
    shown = [
        Value(text, of.instances, of.series, approval) for (text, of), approval in zip(some, approvals, strict=True)
    ]
    return InventoryLine(
        path, held_attribute(path), tally.vr, tally.instances, tally.series, len(tally.values), tally.is_cut,
        is_approved, shown,
    )  # fmt: skip
