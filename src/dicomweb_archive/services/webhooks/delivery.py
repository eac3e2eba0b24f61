"""Delivering: what the feed has that a target does not, message by message, in order and at least once."""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.events.feed import Change, FeedIndex
from dicomweb_archive.index.events.webhooks import Webhook, WebhookIndex
from dicomweb_archive.index.jobs.rows import JsonObject
from dicomweb_archive.services.jobs.kinds import JobKind, JobRun, Lane
from dicomweb_archive.services.webhooks.sending import Answer, Post, Sender
from dicomweb_archive.wire.feed_places import FeedPlaces
from dicomweb_archive.wire.webhook_messages import WebhookMessage, changes_message
from dicomweb_archive.wire.webhook_targets import NOT_ALLOWED_ANY_MORE, AllowedHosts

logger = logging.getLogger(__name__)

DELIVER_CHANGES: Final = "deliver-changes"
"""Sends the change feed to webhooks."""

CHANGES_IN_A_MESSAGE: Final = 100

_EVERY_SECONDS = 2.0
_AT_ONCE = 8
_TURN_SECONDS = 20.0
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 6 * 3600.0
_MOST_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class DeliveryService:
    """Sends changes to webhooks whose time it is.

    Args:
        attempts: so many in a row may fail before a webhook is dead.
    """

    index: WebhookIndex
    feed: FeedIndex
    hosts: AllowedHosts
    sender: Sender
    attempts: int

    async def deliver(self) -> JsonObject:
        """Let each webhook whose time it is take what there is, for a while; return how many messages were sent."""
        places = FeedPlaces(await self.feed.secret())
        turns = asyncio.Semaphore(_AT_ONCE)

        async def take_turn(webhook: Webhook) -> int:
            async with turns:
                return await self._catch_up(webhook, places)

        due = await self.index.due(10 * _AT_ONCE)
        # What goes wrong with one of them ends the turn of no other.
        ended = await asyncio.gather(*map(take_turn, due), return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, BaseException):
                raise outcome
        return {"webhooks": len(due), "messages": sum(each for each in ended if isinstance(each, int))}

    async def _catch_up(self, webhook: Webhook, places: FeedPlaces) -> int:
        """Send message after message until one fails, nothing is left, or it is the turn of others."""
        try:
            # Asked each time: what an operator has taken off the list gets nothing more.
            target = self.hosts.target(webhook.url)
        except InvalidParameterError:
            await self._fail(webhook, Answer(NOT_ALLOWED_ANY_MORE))
            return 0
        sent, deadline = 0, time.monotonic() + _TURN_SECONDS
        async with self.sender(target) as post:
            while time.monotonic() < deadline:
                end = await self._send_next(webhook, places, post)
                if end is None:
                    break
                sent += 1
                webhook = _gone_on(webhook, end)
        return sent

    async def _send_next(self, webhook: Webhook, places: FeedPlaces, post: Post) -> int | None:
        """Send the next message and return where it ends; `None` when there is none, or it was not taken."""
        end = webhook.sending_to
        feed_end = await self.feed.end() if end is None else end
        changes = await self.feed.changes(
            _sight(webhook), after=webhook.position, limit=CHANGES_IN_A_MESSAGE, end=feed_end
        )
        if not changes:
            if feed_end > webhook.position:
                await self.index.move_on(webhook, feed_end)
            return None
        # More may be seen by now than when the message was first sent, as when an embargo has ended.
        if end is None or len(changes) == CHANGES_IN_A_MESSAGE:
            end = changes[-1].position
            if not await self.index.begin_sending(webhook, end):
                return None
        answer = await self._send(webhook, _message(webhook, places, changes, end), post)
        if answer.problem is not None:
            await self._fail(webhook, answer)
            return None
        await self.index.note_delivered(webhook, end)
        return end

    @staticmethod
    async def _send(webhook: Webhook, message: WebhookMessage, post: Post) -> Answer:
        try:
            return await post(message.body, message.headers(webhook.secret, datetime.now(UTC)))
        except Exception as error:
            # A bug, and a failure like others: unless it is counted, the same is tried every other second for ever.
            logger.error("a message to a webhook could not be sent", exc_info=error)
            return Answer(f"unexpected: {type(error).__name__}")

    async def _fail(self, webhook: Webhook, answer: Answer) -> None:
        is_last = answer.is_gone or webhook.failures + 1 >= self.attempts
        if is_last:
            logger.warning("nothing is sent to a webhook any more", extra={"webhook": webhook.public_id})
        pause = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(webhook.failures, _MOST_DOUBLINGS), _LONGEST_PAUSE_SECONDS)
        # Those that have failed together do not come again together.
        pause *= random.uniform(0.8, 1.2)  # noqa: S311 - no secret hangs on it
        await self.index.note_failure(
            webhook,
            answer.problem or "",
            pause_seconds=min(max(pause, answer.retry_after_seconds), _LONGEST_PAUSE_SECONDS),
            is_last=is_last,
        )


def delivering_kind(delivery: DeliveryService) -> JobKind:
    """Return the kind of job that delivers, round after round, in a lane of its own: targets may be slow."""

    async def work(run: JobRun) -> JsonObject:
        return await delivery.deliver()

    return JobKind(DELIVER_CHANGES, work, _EVERY_SECONDS, lane=Lane.DELIVERIES)


def _sight(webhook: Webhook) -> Visibility:
    """Return what is sent of: published studies of its collections, none under embargo."""
    return Visibility(collections=webhook.collections)


def _gone_on(webhook: Webhook, end: int) -> Webhook:
    return replace(webhook, position=end, sending_to=None, failures=0)


def _message(webhook: Webhook, places: FeedPlaces, changes: Sequence[Change], end: int) -> WebhookMessage:
    return changes_message(
        webhook.secret,
        after=webhook.position,
        end=end,
        changes=[_document(places, each) for each in changes],
        next_place=places.seal(end),
        now=datetime.now(UTC),
    )


def _document(places: FeedPlaces, change: Change) -> dict[str, Any]:
    """Return a change as the feed itself has it."""
    return {
        "place": places.seal(change.position),
        "kind": change.kind,
        "at": change.at,
        "collection": change.collection,
        "study_instance_uid": change.study_instance_uid,
        "series_instance_uids": list(change.series_instance_uids),
        "sop_instance_uid": change.sop_instance_uid,
        "instances": change.instances,
    }
