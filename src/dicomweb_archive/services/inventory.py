"""Inventory: the attributes of what waits in a space, with their values, for who looks through them by value."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

from dicomweb_archive.dicom.held_attributes import HeldAttribute, held_attribute
from dicomweb_archive.errors import NotFoundError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.curation.inventory import InventoryCount, PathTally, Tally
from dicomweb_archive.index.curation.inventory_index import InventoryIndex

LONGEST_SECONDS: Final = 20.0
"""Counting ends after this, and the answer says so."""

_KEPT: Final = 4
_KEPT_VALUES: Final = 600_000
_MOST_VALUES_OF_ONE: Final = 200_000


@dataclass(frozen=True, slots=True)
class Value:
    """A value and in how many instances and series it is; `text` is `None` where it is binary."""

    text: str | None
    instances: int
    series: int


@dataclass(frozen=True, slots=True)
class InventoryLine:
    """An attribute, with some of its values, the most frequent first.

    Attributes:
        name: of the path in the index, by which its values are asked for.
        distinct: how many values it has; at least so many when `is_cut`.
    """

    name: str
    attribute: HeldAttribute
    vr: str
    instances: int
    series: int
    distinct: int
    is_cut: bool
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class InventoryPage:
    """Some of the attributes, by path.

    Attributes:
        total: how many pass the filter.
        complete: everything was looked through; else there was not time enough.
    """

    lines: Sequence[InventoryLine]
    total: int
    instances: int
    series: int
    complete: bool


@dataclass(frozen=True, slots=True)
class InventoryService:
    """Counts one inventory at a time, and keeps the last ones as long as nothing changes.

    Who may see the space is for the caller to know, which has found the submission.
    """

    index: InventoryIndex
    _counting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _kept: OrderedDict[Hashable, tuple[InventoryCount, bool]] = field(default_factory=OrderedDict)

    async def list_attributes(
        self, space_id: int, *, prefix: str = "", text: str = "", values: int, limit: int, offset: int = 0
    ) -> InventoryPage:
        """List the attributes of a space; `text` is looked for in their names, `values` of each are shown.

        Raises:
            QueryTooExpensiveError, DatabaseUnavailableError: trying again later may help.
        """
        count, complete = await self._count(space_id, None)
        return await asyncio.to_thread(_page, count, complete, prefix, text, values, limit, offset)

    async def list_values(self, space_id: int, path: str, *, limit: int, offset: int = 0) -> InventoryPage:
        """List the values of one path.

        Raises:
            NotFoundError: nothing in the space has it.
            QueryTooExpensiveError, DatabaseUnavailableError: trying again later may help.
        """
        count, complete = await self._count(space_id, path)
        tally = count.paths.get(path)
        if tally is None:
            raise NotFoundError("no instance of the submission has an element at this path")
        line = await asyncio.to_thread(_line, path, tally, limit, offset)
        return InventoryPage([line], 1, count.instances, count.series, complete)

    async def _count(self, space_id: int, path: str | None) -> tuple[InventoryCount, bool]:
        visibility = Visibility((space_id,), see_embargoed=True)
        async with self._counting:
            key = (space_id, path, await self.index.fingerprint(visibility))
            found = self._kept.get(key)
            if found is None:
                bound = {} if path is None else {"most_values": _MOST_VALUES_OF_ONE}
                found = await self.index.count(visibility, path, seconds=LONGEST_SECONDS, **bound)
                self._kept[key] = found
                while len(self._kept) > _KEPT or (len(self._kept) > 1 and self._values_kept() > _KEPT_VALUES):
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return found

    def _values_kept(self) -> int:
        return sum(count.values for count, _ in self._kept.values())


def _page(
    count: InventoryCount, complete: bool, prefix: str, text: str, values: int, limit: int, offset: int
) -> InventoryPage:
    named = ((held_attribute(name), name) for name in sorted(count.paths))
    passing = [name for attribute, name in named if attribute.starts_with(prefix) and attribute.contains(text)]
    lines = [_line(name, count.paths[name], values, 0) for name in passing[offset : offset + limit]]
    return InventoryPage(lines, len(passing), count.instances, count.series, complete and not count.is_cut)


def _line(name: str, tally: PathTally, limit: int, offset: int) -> InventoryLine:
    shown = [_value(text, of) for text, of in tally.most_frequent(limit, offset)]
    return InventoryLine(
        name, held_attribute(name), tally.vr, tally.instances, tally.series, len(tally.values), tally.is_cut, shown
    )


def _value(text: str | None, tally: Tally) -> Value:
    return Value(text, tally.instances, tally.series)
