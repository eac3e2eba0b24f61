"""Pace: how much is read for a consumer that takes what it is given sooner or later."""

import time

from dicomweb_archive.storage.base import ReadPattern

# Nobody is asked for more than a consumer takes in so many seconds.
_SECONDS_A_READ = 1.0
# Whoever takes bytes more slowly than this does not wait for us: nothing is read ahead.
_SLOW_BYTES_PER_SECOND = 4 * 1024 * 1024


class Pace:
    """Watches how long a consumer keeps what it was given: `with pace:` around each piece it gets.

    Reads grow while it keeps up and shrink when it does not, so that a hundred clients on thin lines hold little of
    the memory and of the connections that others need.

    Args:
        swallowed_bytes: so many a connection takes before it shows how fast its client does; reads do not grow before.
    """

    def __init__(self, pattern: ReadPattern, *, swallowed_bytes: int = 0) -> None:
        self._most = pattern.read_bytes
        self._least = min(pattern.least_bytes or self._most, self._most)
        self._kept_seconds = 0.0
        self._begun = 0.0
        self._growth = pattern.growth
        self._swallowed_bytes = swallowed_bytes
        self.is_slow = False
        self.most_ahead = pattern.read_ahead
        self.bytes = pattern.first_bytes

    @property
    def ahead(self) -> int:
        """How many reads are to be begun ahead of the consumer."""
        return 0 if self.is_slow else self.most_ahead

    @property
    def is_open(self) -> bool:
        """Whether the consumer has shown that it takes what it is given."""
        return self._swallowed_bytes <= 0 and not self.is_slow

    def passed(self, size_bytes: int) -> None:
        """Note that a read of this size has been passed on, and decide about the next ones."""
        rate = size_bytes / max(self._kept_seconds, 1e-6)
        self._kept_seconds = 0.0
        self.is_slow = rate < _SLOW_BYTES_PER_SECOND
        self._swallowed_bytes -= size_bytes
        growth = 1 if self._swallowed_bytes > 0 else self._growth
        self.bytes = max(self._least, min(growth * self.bytes, self._most, int(rate * _SECONDS_A_READ)))

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._kept_seconds += time.monotonic() - self._begun
