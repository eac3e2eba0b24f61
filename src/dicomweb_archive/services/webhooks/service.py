"""Webhooks as managers see them: made, listed, deleted, and begun anew when they are dead."""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dicomweb_archive.errors import InvalidParameterError, NotFoundError
from dicomweb_archive.index.events.feed import FeedIndex
from dicomweb_archive.index.events.webhooks import NewWebhook, Webhook, WebhookIndex
from dicomweb_archive.services.access import Principal, Role, require, require_everywhere
from dicomweb_archive.wire.feed_places import FeedPlaces
from dicomweb_archive.wire.webhook_messages import new_secret, test_message
from dicomweb_archive.wire.webhook_targets import NOT_ALLOWED_ANY_MORE, AllowedHosts

NOW = "now"
"""The place behind all that has happened."""


@dataclass(frozen=True, slots=True)
class PlacedWebhook:
    """A webhook, and the place in the feed up to which its target has everything."""

    webhook: Webhook
    place: str


@dataclass(frozen=True, slots=True)
class WebhookService:
    """Lets managers have the changes of their collections sent to targets.

    A webhook belongs to its collections and not to the key that has made it: who manages all of them may end it.
    """

    index: WebhookIndex
    feed: FeedIndex
    hosts: AllowedHosts

    async def create(
        self, principal: Principal, url: str, accessions: Sequence[str] | None, since: str | None
    ) -> PlacedWebhook:
        """Make a webhook; its secret is shown by whoever answers with it, and never again.

        Args:
            accessions: `None`: changes of every collection, for who manages all of them.
            since: a place in the feed, `now`, or `None` for its beginning.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal does not manage these collections.
            InvalidParameterError: the target is not allowed, or there is no such collection or place.
            ConflictError: there are too many.
        """
        require(principal, Role.MANAGER)
        if accessions is None:
            require_everywhere(principal, Role.MANAGER)
        elif not accessions:
            raise InvalidParameterError("collections", accepted="one or more accessions, or null for all collections")
        target = self.hosts.target(url)
        after = await self.feed.end() if since == NOW else await self._opened(since)
        wanted = None if accessions is None else tuple(accessions)
        new = NewWebhook(_new_id(), url, target.host, new_secret(), wanted, after)
        made = await self.index.create(new, principal.collections, actor=principal.name)
        return (await self._placed([made]))[0]

    async def listed(self, principal: Principal) -> Sequence[PlacedWebhook]:
        """Return the webhooks of the collections that the principal manages.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal manages nothing.
        """
        require(principal, Role.MANAGER)
        return await self._placed(await self.index.listed(principal.collections))

    async def find(self, principal: Principal, public_id: str) -> PlacedWebhook:
        """Return a webhook.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal manages nothing.
            NotFoundError: there is none that the principal manages.
        """
        require(principal, Role.MANAGER)
        found = await self.index.find(principal.collections, public_id)
        return (await self._placed([_known(found)]))[0]

    async def delete(self, principal: Principal, public_id: str) -> None:
        """End a webhook for good.

        Raises:
            UnauthenticatedError, ForbiddenError, NotFoundError: see `find`.
        """
        require(principal, Role.MANAGER)
        _known(await self.index.delete(principal.collections, public_id, actor=principal.name))

    async def revive(self, principal: Principal, public_id: str) -> PlacedWebhook:
        """Let a webhook go on from where it was; nothing that happened while it was dead is left out.

        Raises:
            UnauthenticatedError, ForbiddenError, NotFoundError: see `find`.
        """
        require(principal, Role.MANAGER)
        revived = await self.index.revive(principal.collections, public_id, actor=principal.name)
        return (await self._placed([_known(revived)]))[0]

    async def test(self, principal: Principal, public_id: str) -> str | None:
        """Send a message that says nothing, now; returns why it was not taken. Nothing is noted of it.

        Raises:
            UnauthenticatedError, ForbiddenError, NotFoundError: see `find`.
        """
        # Read late: most archives send nothing, and do without the client.
        from dicomweb_archive.services.webhooks.sending import open_target

        webhook = (await self.find(principal, public_id)).webhook
        try:
            target = self.hosts.target(webhook.url)
        except InvalidParameterError:
            return NOT_ALLOWED_ANY_MORE
        now = datetime.now(UTC)
        message = test_message(now)
        async with open_target(target) as post:
            return (await post(message.body, message.headers(webhook.secret, now))).problem

    async def _opened(self, since: str | None) -> int:
        return 0 if since is None else FeedPlaces(await self.feed.secret()).open(since)

    async def _placed(self, webhooks: Sequence[Webhook]) -> Sequence[PlacedWebhook]:
        places = FeedPlaces(await self.feed.secret())
        return [PlacedWebhook(each, places.seal(each.position)) for each in webhooks]


def _known(found: Webhook | None) -> Webhook:
    if found is None:
        message = "There is no such webhook"
        raise NotFoundError(message)
    return found


def _new_id() -> str:
    return base64.b32encode(secrets.token_bytes(10)).decode().lower()
