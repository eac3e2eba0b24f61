"""Long answers: what a search has found, kept as bare numbers while its rows are read batch by batch.

A cohort may be a million rows. Their ids come by one statement, so that the answer is of one moment whatever
arrives meanwhile, and take some eight bytes each.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.index.database.engine import Connection

_FETCHED_ROWS = 5000


@dataclass(slots=True)
class Collected:
    """Ids of studies or series, or segments and positions of instances, in the order of the answer.

    Attributes:
        keeps: how many rows the page has.
        last: the last of them as the statement has it, for the page behind.
    """

    keeps: int
    last: Mapping[str, Any] | None = None
    ids: "array[int]" = field(default_factory=lambda: array("q"))
    positions: "array[int]" = field(default_factory=lambda: array("i"))

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, level: Level, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take in rows of a statement for ids."""
        last = self.keeps - 1 - len(self.ids)
        if 0 <= last < len(rows):
            self.last = rows[last]
        if level is not Level.INSTANCE:
            self.ids.extend([row["id"] for row in rows])
            return
        self.ids.extend([row["segment_id"] for row in rows])
        self.positions.extend([row["position"] for row in rows])

    def cut(self, limit: int) -> None:
        """Forget what stands behind the limit."""
        del self.ids[limit:]
        del self.positions[limit:]

    def segments(self) -> "Segments":
        """Return the segments with the positions of their instances."""
        return Segments(self.ids, self.positions)


class Segments(Sequence[tuple[int, Sequence[int]]]):
    """Runs of instances of one segment; a segment comes again where the order of the answer has others between."""

    def __init__(self, ids: "array[int]", positions: "array[int]") -> None:
        self._ids = ids
        self._positions = positions
        self._starts = array("q", (n for n in range(len(ids)) if n == 0 or ids[n] != ids[n - 1]))
        self._starts.append(len(ids))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, place: Any) -> Any:
        """Return one run, or several for a slice."""
        if isinstance(place, slice):
            return [self._run(number) for number in range(*place.indices(len(self)))]
        return self._run(place)

    def __iter__(self) -> Iterator[tuple[int, Sequence[int]]]:
        return (self._run(number) for number in range(len(self)))

    def _run(self, number: int) -> tuple[int, Sequence[int]]:
        start, end = self._starts[number], self._starts[number + 1]
        return self._ids[start], self._positions[start:end].tolist()


async def collect(found: Collected, connection: Connection, level: Level, text: str, *arguments: Any) -> None:
    """Run a statement for ids and keep nothing but them."""
    async with connection.transaction():
        cursor = await connection.cursor(text, *arguments)
        while rows := await cursor.fetch(_FETCHED_ROWS):
            found.add(level, rows)
