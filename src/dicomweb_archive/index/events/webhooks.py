"""Webhooks in the database: to whom the change feed is sent, and how far each of them has come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from dicomweb_archive.errors import ConflictError, InvalidParameterError
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.writing.events import NO_SPACE, Detail, EventKind, insert_event

MOST_WEBHOOKS: Final = 100

_COLUMNS = (
    "w.id, w.public_id, w.url, w.secret, w.collections, w.state, w.position, w.sending_to, w.failures, w.problem,"
    " w.next_attempt_at, w.delivered_at, w.created_by, w.created_at,"
    " case when w.collections is not null then"
    " array(select accession from collection where id = any(w.collections) order by accession) end as accessions"
)

# Who manages all collections of a webhook knows of it; the first parameter has those that the principal manages.
_KNOWN = "($1::int4[] is null or (w.collections is not null and w.collections <@ $1))"

COUNT_WEBHOOKS = "select count(*) from webhook"
LOCK_WEBHOOKS = "lock table webhook in share row exclusive mode"
INSERT_WEBHOOK = f"""
with w as (
  insert into webhook (public_id, url, secret, collections, position, created_by) values ($1, $2, $3, $4, $5, $6)
  returning *
)
select {_COLUMNS} from w
"""  # noqa: S608 - composed of constants
# Collections by what people call them, of those that the principal manages.
FIND_COLLECTIONS = """
select id, accession from collection where accession = any($1::text[]) and ($2::int4[] is null or id = any($2))
"""
LIST_WEBHOOKS = f"select {_COLUMNS} from webhook w where {_KNOWN} order by w.id"  # noqa: S608 - composed of constants
FIND_WEBHOOK = f"""
select {_COLUMNS} from webhook w where {_KNOWN} and w.public_id = $2
"""  # noqa: S608 - composed of constants
DELETE_WEBHOOK = f"""
delete from webhook w where {_KNOWN} and w.public_id = $2 returning {_COLUMNS}
"""  # noqa: S608 - composed of constants
REVIVE_WEBHOOK = f"""
update webhook w set state = 'active', failures = 0, problem = null, next_attempt_at = now()
where {_KNOWN} and w.public_id = $2 returning {_COLUMNS}
"""  # noqa: S608 - composed of constants

# Those for which the feed has something to look at, and whose time it is.
LIST_DUE = f"""
select {_COLUMNS} from webhook w
where w.state = 'active' and w.next_attempt_at <= now()
  and w.position < (select max(feed_position) from event where feed_position is not null)
order by w.next_attempt_at limit $1
"""  # noqa: S608 - composed of constants

# All say from which position they have worked, so that nobody's work is written over by whoever was overtaken.
BEGIN_SENDING = "update webhook set sending_to = $3 where id = $1 and position = $2 and state = 'active'"
MOVE_ON = """
update webhook set position = $3, sending_to = null, next_attempt_at = now() where id = $1 and position = $2
"""
NOTE_DELIVERED = """
update webhook set position = $3, sending_to = null, failures = 0, problem = null, delivered_at = now(),
  next_attempt_at = now() where id = $1 and position = $2
"""
NOTE_FAILURE = """
update webhook set failures = failures + 1, problem = $3, next_attempt_at = now() + $4::interval,
  state = case when $5 then 'dead' else state end
where id = $1 and position = $2 and state = 'active' returning state
"""


class WebhookState(StrEnum):
    """Whether anything is sent."""

    ACTIVE = "active"
    DEAD = "dead"
    """Nothing is sent any more: too many attempts in a row have failed, or the target has said that it is gone."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Whom changes are sent to.

    Attributes:
        collections: ids of those whose changes are sent; `None`: of all, restricted ones too.
        position: place in the feed up to which everything was delivered.
        sending_to: where the message ends that was sent last, and not taken yet as far as we know.
        failures: attempts that have failed since the last that has not.
        problem: what the last one has failed of.
    """

    id: int
    public_id: str
    url: str
    secret: bytes
    collections: tuple[int, ...] | None
    accessions: tuple[str, ...] | None
    state: WebhookState
    position: int
    sending_to: int | None
    failures: int
    problem: str | None
    next_attempt_at: datetime
    delivered_at: datetime | None
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook to be made; `host` is what of its URL goes into the log."""

    public_id: str
    url: str
    host: str
    secret: bytes
    accessions: tuple[str, ...] | None
    position: int


class WebhookIndex:
    """Makes, finds and ends webhooks, and notes how far they have come.

    Where `managed` is an argument it has the collections that a principal manages; `None`: all of them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, new: NewWebhook, managed: frozenset[int] | None, *, actor: str) -> Webhook:
        """Make a webhook.

        Raises:
            InvalidParameterError: there is no such collection that the principal manages.
            ConflictError: there are too many.
        """
        async with self._database.transaction() as connection:
            await connection.execute(LOCK_WEBHOOKS)
            if await connection.fetchval(COUNT_WEBHOOKS) >= MOST_WEBHOOKS:
                message = f"there are {MOST_WEBHOOKS} webhooks already; delete one of them first"
                raise ConflictError(message)
            collections = await _collection_ids(connection, new.accessions, managed)
            row = await connection.fetchrow(
                INSERT_WEBHOOK, new.public_id, new.url, new.secret, collections, new.position, actor
            )
            made = _webhook(row)
            detail: Detail = {"webhook": new.public_id, "host": new.host}
            if collections is not None:
                detail = {**detail, "collections": collections}
            await _log(connection, EventKind.WEBHOOK_CREATED, actor, detail)
        return made

    async def listed(self, managed: frozenset[int] | None) -> Sequence[Webhook]:
        """Return all that the principal manages, the oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_WEBHOOKS, _parameter(managed))
        return [_webhook(row) for row in rows]

    async def find(self, managed: frozenset[int] | None, public_id: str) -> Webhook | None:
        """Return one."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_WEBHOOK, _parameter(managed), public_id)
        return None if row is None else _webhook(row)

    async def delete(self, managed: frozenset[int] | None, public_id: str, *, actor: str) -> Webhook | None:
        """End one for good."""
        return await self._change(DELETE_WEBHOOK, EventKind.WEBHOOK_DELETED, managed, public_id, actor)

    async def revive(self, managed: frozenset[int] | None, public_id: str, *, actor: str) -> Webhook | None:
        """Let one go on from where it was, now."""
        return await self._change(REVIVE_WEBHOOK, EventKind.WEBHOOK_REVIVED, managed, public_id, actor)

    async def due(self, limit: int) -> Sequence[Webhook]:
        """Return those to which something may have to be sent now, in the order of their turn."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_DUE, limit)
        return [_webhook(row) for row in rows]

    async def begin_sending(self, webhook: Webhook, end: int) -> bool:
        """Fix where the next message ends; each attempt at it then has the same id. False: it has gone on elsewhere."""
        async with self._database.connection() as connection:
            status = await connection.execute(BEGIN_SENDING, webhook.id, webhook.position, end)
        return bool(status == "UPDATE 1")

    async def move_on(self, webhook: Webhook, end: int) -> None:
        """Note that nothing up to a position is for this one."""
        async with self._database.connection() as connection:
            await connection.execute(MOVE_ON, webhook.id, webhook.position, end)

    async def note_delivered(self, webhook: Webhook, end: int) -> None:
        """Note that everything up to a position has been taken."""
        async with self._database.connection() as connection:
            await connection.execute(NOTE_DELIVERED, webhook.id, webhook.position, end)

    async def note_failure(self, webhook: Webhook, problem: str, *, pause_seconds: float, is_last: bool) -> None:
        """Note that an attempt has failed, and when the next one is due; there is none after the last."""
        async with self._database.transaction() as connection:
            pause = timedelta(seconds=pause_seconds)
            state = await connection.fetchval(NOTE_FAILURE, webhook.id, webhook.position, problem, pause, is_last)
            if state == WebhookState.DEAD:
                await _log(connection, EventKind.WEBHOOK_DIED, "archive", {"webhook": webhook.public_id})

    async def _change(
        self, statement: str, kind: EventKind, managed: frozenset[int] | None, public_id: str, actor: str
    ) -> Webhook | None:
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(statement, _parameter(managed), public_id)
            if row is not None:
                await _log(connection, kind, actor, {"webhook": public_id})
        return None if row is None else _webhook(row)


async def _log(connection: Connection, kind: EventKind, actor: str, detail: Detail) -> None:
    await insert_event(connection, kind, actor=actor, space_id=NO_SPACE, detail=detail)


async def _collection_ids(
    connection: Connection, accessions: Sequence[str] | None, managed: frozenset[int] | None
) -> list[int] | None:
    if accessions is None:
        return None
    rows = await connection.fetch(FIND_COLLECTIONS, list(accessions), _parameter(managed))
    if len(rows) < len(set(accessions)):
        raise InvalidParameterError("collections", accepted="accessions of collections that you manage")
    return sorted(row["id"] for row in rows)


def _parameter(managed: frozenset[int] | None) -> list[int] | None:
    return None if managed is None else sorted(managed)


def _webhook(row: Mapping[str, Any]) -> Webhook:
    values = dict(row)
    for name in ("collections", "accessions"):
        values[name] = None if values[name] is None else tuple(values[name])
    return Webhook(**{**values, "state": WebhookState(values["state"])})
