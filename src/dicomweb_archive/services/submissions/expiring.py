"""Expiring: submissions that nothing happens to leave the queue, and what they hold stays."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from dicomweb_archive.index.curation.expiry import ExpiryIndex, Quiet
from dicomweb_archive.services.submissions.transitions import TRANSITIONS, Action, next_state

Report = Callable[[int], Awaitable[None]]
"""Is told how many submissions have expired so far; what it raises ends the round."""

UNUSED_FOR: Final = timedelta(days=1)
"""How long what a store has opened stays open without holding anything: its day is over by then."""

_EXPIRING = tuple(state for state, actions in TRANSITIONS.items() if Action.EXPIRE in actions)
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Expired:
    """What a round has ended.

    Attributes:
        idle: submissions to which nothing happened for so many days.
        unused: submissions that stores opened and that hold nothing.
    """

    idle: int
    unused: int


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ExpiringService:
    """Ends submissions to which nothing happens; their instances, findings and trails stay where they are.

    Attributes:
        days: how long nothing has to have happened; 0: what holds anything never expires.
        clock: tells the time.
    """

    expiry: ExpiryIndex
    days: int
    clock: Callable[[], datetime] = _now

    async def expire(self, *, actor: str, report: Report | None = None) -> Expired:
        """Do one round. Each submission is ended by itself, so a round that breaks off may be done again."""
        now = self.clock()
        unused = Quiet(_EXPIRING, now - UNUSED_FOR, only_unused=True)
        ended = await self._end(unused, "held nothing when its day was over", actor, report, 0)
        idle = 0
        if self.days:
            quiet = Quiet(_EXPIRING, now - timedelta(days=self.days))
            idle = await self._end(quiet, f"nothing happened for {self.days} days", actor, report, ended)
        return Expired(idle, ended)

    async def _end(self, quiet: Quiet, comment: str, actor: str, report: Report | None, before: int) -> int:
        ended = after = 0
        while found := await self.expiry.list(quiet, after=after, limit=_BATCH):
            for submission in found:
                state = next_state(submission.state, Action.EXPIRE)
                ended += await self.expiry.end(
                    submission, quiet, state, action=Action.EXPIRE.value, actor=actor, comment=comment
                )
                if report is not None:
                    await report(before + ended)
            after = found[-1].id
        return ended
