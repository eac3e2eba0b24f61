"""Repetition: how much more a request may make than it brings, which would fill a disk from a small upload."""

from collections.abc import Iterable, Sequence
from typing import Final

from dicomweb_archive.services.composition.assembly import Assembled, Part, Range, too_much_made
from dicomweb_archive.storage.spool import SpooledValue

# Pictures become some two to ten times as much; a blank one a thousand times.
_PICTURE_RATIO: Final = 16


class Repetition:
    """Counts what one request makes of its bulk data.

    Args:
        allowance_bytes: so many more than it brings.
    """

    def __init__(self, allowance_bytes: int) -> None:
        self._left = allowance_bytes

    def bring(self, size: int) -> None:
        """Count what has come."""
        self._left += size

    def most_made(self, parts: Iterable[Sequence[Part]]) -> int:
        """Return how many bytes may be made of pictures in these parts."""
        sent = {id(part.value): part.value for of_name in parts for part in of_name}
        return self._left + _PICTURE_RATIO * sum(value.length for value in sent.values() if not value.is_given)

    def allow(self, pieces: Assembled, made: Sequence[SpooledValue], parts: Iterable[Sequence[Part]]) -> None:
        """Count what goes into an instance and has gone into one before, or was made of little.

        Raises:
            InvalidInstanceError: it is too much.
        """
        sent = {id(part.value): part.value for of_name in parts for part in of_name}
        repeated = 0
        for piece in pieces:
            if isinstance(piece, Range) and id(piece.value) in sent:
                repeated += piece.stop - piece.start if piece.value.is_given else 0
                piece.value.is_given = True
        if made:
            first_time = sum(value.length for value in sent.values() if not value.is_given)
            repeated += max(0, sum(value.length for value in made) - _PICTURE_RATIO * first_time)
            for value in sent.values():
                value.is_given = True
        if repeated > self._left:
            raise too_much_made()
        self._left -= repeated
