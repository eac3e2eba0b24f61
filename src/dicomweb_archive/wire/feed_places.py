"""Places in the change feed, sealed: a number would tell how much happened that a reader may not see."""

from dataclasses import dataclass
from functools import cached_property

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.sealed_text import Sealing

LONGEST_PLACE = 64

_PLACE_BYTES = 8


@dataclass(frozen=True)
class FeedPlaces:
    """Seals and opens places with a secret of the archive; the same place has the same text, for ever."""

    secret: bytes

    def seal(self, position: int) -> str:
        """Write a place as a text."""
        return self._sealing.seal(position.to_bytes(_PLACE_BYTES))

    def open(self, text: str) -> int:
        """Read a place.

        Raises:
            InvalidParameterError: this archive has not named it.
        """
        contents = self._sealing.open(text) if len(text) <= LONGEST_PLACE else None
        if contents is None or len(contents) != _PLACE_BYTES:
            raise InvalidParameterError("since", accepted="`now`, or a place that this feed has named")
        return int.from_bytes(contents)

    @cached_property
    def _sealing(self) -> Sealing:
        return Sealing(self.secret, b"feed_place")
