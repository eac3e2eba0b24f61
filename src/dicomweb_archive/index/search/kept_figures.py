"""Figures about all that matches, kept for as long as nothing in the database changes.

A snapshot of PostgreSQL says exactly which transactions are seen: two statements with the same one see the same rows.
So a count is as good as new while the snapshot is the one it was made of; the first write to anything ends that.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from dicomweb_archive.index.database.engine import Connection

KEPT: Final = 4096
"""Most figures that are kept, the least recently used out first."""

# A standby has its running transactions elsewhere; an embargo ends with the day; a server may be restored to before.
REVISION: Final = """
(select case when not pg_is_in_recovery() then concat_ws(' ', pg_current_snapshot()::text, current_date::text,
  extract(epoch from pg_postmaster_start_time())) end)
"""

_FIND_REVISION: Final = f"select {REVISION}"


class KeptFigures:
    """Counts by what was asked, of one revision. Nothing of a search stays but a digest with a secret of its own."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._secret = os.urandom(32)
        self._revision: str | None = None
        self._figures: OrderedDict[bytes, Any] = OrderedDict()

    def clear(self) -> None:
        """Forget all figures."""
        self._figures.clear()

    def name(self, text: str, values: Sequence[Any]) -> bytes:
        """Return the name of a figure: a digest of the statement and its values."""
        return hashlib.blake2b(repr((text, values)).encode(), digest_size=16, key=self._secret).digest()

    async def find(self, connection: Connection, name: bytes) -> Any:
        """Return a figure when it is kept and nothing has changed since, else `None`.

        The database is asked only if it is kept.
        """
        if name not in self._figures:
            return None
        revision = await connection.fetchval(_FIND_REVISION)
        # Meanwhile another search may have put it out, and its own figure of this very revision in.
        if revision is None or revision != self._revision or name not in self._figures:
            return None
        self._figures.move_to_end(name)
        return self._figures[name]

    def keep(self, name: bytes, revision: str | None, figure: Any) -> None:
        """Keep a figure of a revision, which the statement has said that found it."""
        if revision is None:
            return
        if revision != self._revision:
            self._figures.clear()
            self._revision = revision
        self._figures[name] = figure
        self._figures.move_to_end(name)
        if len(self._figures) > self._most:
            self._figures.popitem(last=False)
