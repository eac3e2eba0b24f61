"""Bulk parts: the parts of a request by the names that metadata give them, and who still needs them."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from dicomweb_archive.services.composition.assembly import Part
from dicomweb_archive.services.composition.shared import Holding
from dicomweb_archive.storage.spool import SpooledValue

# Of a name, a part, and their places in lists, measured.
_HELD_FOR_NAME: Final = 600
_HELD_FOR_PART: Final = 700

# What many instances share is small, such as a lookup table or a colour profile.
_KEPT_VALUE_BYTES: Final = 1024 * 1024
_KEPT_BYTES: Final = 4 * 1024 * 1024
_MOST_KEPT: Final = 64


@dataclass(slots=True)
class SentPart:
    """A part that came, with its number in the request."""

    number: int
    part: Part
    is_taken: bool = False

    def take(self) -> Part:
        """Give the part to an instance, which releases it."""
        self.is_taken = True
        self.part.value.users += 1
        return self.part


@dataclass(slots=True)
class _Named:
    """The parts of one name in the order in which they came."""

    parts: list[SentPart] = field(default_factory=list)
    held: int = 0


class BulkParts:
    """The parts of one request.

    What has gone into all instances that name it stays until another part comes, since metadata behind it may name
    it too; what is small and in memory stays for longer.
    """

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._by_name: dict[str, _Named] = {}
        # Names that nobody waits for: since the last part came, and longer.
        self._served: dict[str, None] = {}
        self._kept: dict[str, int] = {}
        self._kept_bytes = 0
        self._unused: list[int] = []

    def add(self, name: str, number: int, part: Part) -> SentPart:
        """Take in a part."""
        part.value.users = 1
        named = self._by_name.get(name)
        held = _HELD_FOR_PART + (0 if named is not None else _HELD_FOR_NAME + sys.getsizeof(name))
        self._holding.take(held)
        if named is None:
            named = self._by_name[name] = _Named()
        named.held += held
        sent = SentPart(number, part)
        named.parts.append(sent)
        return sent

    def of(self, name: str) -> Sequence[SentPart]:
        """Return the parts of a name that are here."""
        named = self._by_name.get(name)
        return named.parts if named is not None else ()

    def serve(self, name: str) -> None:
        """Hear that nobody waits for more parts of a name."""
        if name in self._by_name:
            self._kept_bytes -= self._kept.pop(name, 0)
            self._served[name] = None

    def let_go(self) -> list[SpooledValue]:
        """Forget what has been served, and return the values that are to be released."""
        values: list[SpooledValue] = []
        for name in self._served:
            sent = [each.part.value for each in self._by_name[name].parts]
            size = sum(value.length for value in sent)
            if size > _KEPT_VALUE_BYTES or any(value.offset is not None for value in sent):
                values += self._forget(name)
            else:
                self._kept[name] = size
                self._kept_bytes += size
        self._served.clear()
        while self._kept_bytes > _KEPT_BYTES or len(self._kept) > _MOST_KEPT:
            oldest = next(iter(self._kept))
            self._kept_bytes -= self._kept.pop(oldest)
            values += self._forget(oldest)
        return values

    def unused(self) -> Iterator[int]:
        """Yield the numbers of the parts that are in no instance."""
        yield from self._unused
        for named in self._by_name.values():
            yield from (sent.number for sent in named.parts if not sent.is_taken)

    def _forget(self, name: str) -> list[SpooledValue]:
        named = self._by_name.pop(name)
        self._holding.give(named.held)
        self._unused += [sent.number for sent in named.parts if not sent.is_taken]
        return [sent.part.value for sent in named.parts]
