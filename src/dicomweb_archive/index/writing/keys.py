"""Keys in the database: what was given out to whom, and what of it still counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dicomweb_archive.errors import ConflictError, InvalidParameterError, NotFoundError
from dicomweb_archive.index.database.engine import Connection, Database
from dicomweb_archive.index.writing.events import NO_SPACE, Detail, EventKind, insert_event

_COLLECTIONS = "accessions of collections for which you may give keys"

# Lists all that may open something, now or until it is revoked: few, and asked for every other second.
LIST_USABLE = """
select public_id, digest, name, roles, collections, expires_at, last_used_at
from api_key where revoked_at is null and (expires_at is null or expires_at > now())
"""
# Keys that give nothing but some roles, in some collections; null: whatever they give, and wherever.
_WITHIN = (
    "($1::text[] is null or roles <@ $1) and ($2::int4[] is null or (collections is not null and collections <@ $2))"
)
# What people see of a key.
_SHOWN = """
public_id, name, roles, created_at, expires_at, revoked_at, last_used_at,
  case when collections is not null then
    array(select accession from collection where id = any(api_key.collections) order by accession)
  end as accessions
"""
# Those that count, or all.
_COUNTING = "($3::bool or (revoked_at is null and (expires_at is null or expires_at > now())))"
# Lists keys for people, some at a time.
LIST_KEYS = f"""
select {_SHOWN} from api_key where {_WITHIN} and {_COUNTING} order by name, created_at, id limit $4 offset $5
"""  # noqa: S608 - composed of constants
# Counts them.
COUNT_KEYS = f"select count(*) from api_key where {_WITHIN} and {_COUNTING}"  # noqa: S608 - composed of constants
# Finds one of them.
FIND_KEY = f"select {_SHOWN} from api_key where {_WITHIN} and public_id = $3"  # noqa: S608 - composed of constants
# Whoever makes keys of one name waits for each other, so that what is asked of the name holds until it is taken.
LOCK_NAME = "select pg_advisory_xact_lock(1801812334, hashtext($1))"
# Tells whether somebody goes by a name with other rights than these.
IS_NAME_ELSEWHERE = f"select exists (select from api_key where name = $3 and not ({_WITHIN}))"  # noqa: S608 - composed of constants
# Finds collections by what people call them.
FIND_COLLECTIONS = "select id, accession from collection where accession = any($1::text[])"
# Gives out a key.
INSERT_KEY = """
insert into api_key (public_id, digest, name, roles, collections, expires_at) values ($1, $2, $3, $4, $5, $6)
"""
# Takes a key back; one that was taken back before stays as it is.
REVOKE_KEY = """
update api_key set revoked_at = now() where public_id = $1 and revoked_at is null returning name
"""
# Tells whether a key was ever given out.
KNOWS_KEY = "select exists (select from api_key where public_id = $1)"
# Reads the secret that binds sessions to their end; it never changes in the life of an archive.
READ_SESSION_STATE = "select value from archive_state where name = 'session_secret'"
# Notes a use, unless another process has done so a moment ago: one row must not become what all requests wait for.
NOTE_USE = """
update api_key set last_used_at = now()
where public_id = $1 and (last_used_at is null or last_used_at < now() - make_interval(secs => $2))
"""


@dataclass(frozen=True, slots=True)
class UsableKey:
    """A key that counts, as a server process knows it."""

    public_id: str
    digest: bytes
    name: str
    roles: tuple[str, ...]
    collections: tuple[int, ...] | None
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be given out.

    Attributes:
        accessions: of the collections in which its roles count; `None`: in all.
    """

    public_id: str
    digest: bytes
    name: str
    roles: tuple[str, ...]
    accessions: tuple[str, ...] | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key as people see it."""

    public_id: str
    name: str
    roles: tuple[str, ...]
    accessions: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyReach:
    """Which keys somebody may give, see and take back: those that give nothing beyond this.

    Attributes:
        roles: `None`: any.
        collections: ids; `None`: any, and keys for all collections too.
    """

    roles: tuple[str, ...] | None = None
    collections: frozenset[int] | None = None

    def parameters(self) -> tuple[list[str] | None, list[int] | None]:
        """Return the two values that the statements begin with."""
        return (
            None if self.roles is None else list(self.roles),
            None if self.collections is None else sorted(self.collections),
        )


EVERY_KEY = KeyReach()


class KeyIndex:
    """Gives keys out, takes them back, and tells which there are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usable(self) -> tuple[UsableKey, ...]:
        """Return the keys that count at this moment."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_USABLE)
        return tuple(_usable(row) for row in rows)

    async def listed(
        self, *, ended: bool, reach: KeyReach = EVERY_KEY, limit: int | None = None, offset: int = 0
    ) -> tuple[ListedKey, ...]:
        """Return the keys in the order of their names; with `ended` those too that count no more."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST_KEYS, *reach.parameters(), ended, limit, offset)
        return tuple(_listed(row) for row in rows)

    async def count(self, *, ended: bool, reach: KeyReach) -> int:
        """Count what `listed` would return without a limit."""
        async with self._database.connection() as connection:
            counted: int = await connection.fetchval(COUNT_KEYS, *reach.parameters(), ended)
        return counted

    async def find(self, public_id: str, reach: KeyReach) -> ListedKey | None:
        """Return a key, whether it counts or not."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_KEY, *reach.parameters(), public_id)
        return None if row is None else _listed(row)

    async def create(self, key: NewKey, *, actor: str, reach: KeyReach = EVERY_KEY) -> None:
        """Give out a key.

        Raises:
            InvalidParameterError: there is no such collection within reach.
            ConflictError: somebody beyond reach goes by this name.
        """
        async with self._database.transaction() as connection:
            collections = await _collection_ids(connection, key.accessions)
            await _require_reach(connection, key.name, collections, reach)
            await connection.execute(
                INSERT_KEY, key.public_id, key.digest, key.name, list(key.roles), collections, key.expires_at
            )
            detail: Detail = {"key": key.public_id, "name": key.name, "roles": " ".join(key.roles)}
            if collections is not None:
                detail = {**detail, "collections": collections}
            await insert_event(connection, EventKind.KEY_CREATED, actor=actor, space_id=NO_SPACE, detail=detail)

    async def revoke(self, public_id: str, *, actor: str) -> bool:
        """Take a key back; return false when that was done before.

        Raises:
            NotFoundError: no such key was ever given out.
        """
        async with self._database.transaction() as connection:
            name = await connection.fetchval(REVOKE_KEY, public_id)
            if name is None:
                if await connection.fetchval(KNOWS_KEY, public_id):
                    return False
                message = "there is no key with this id; `dicomweb-archive keys list --all` shows all"
                raise NotFoundError(message)
            detail = {"key": public_id, "name": name}
            await insert_event(connection, EventKind.KEY_REVOKED, actor=actor, space_id=NO_SPACE, detail=detail)
        return True

    async def session_secret(self) -> bytes:
        """Return the secret that keys the proofs of sessions: the same in all processes, and of no use alone."""
        async with self._database.connection() as connection:
            secret: bytes = await connection.fetchval(READ_SESSION_STATE)
        return secret

    async def note_use(self, public_id: str, *, resolution_seconds: float) -> None:
        """Note that a key is used now, if the last note is older than the resolution."""
        async with self._database.connection() as connection:
            await connection.execute(NOTE_USE, public_id, resolution_seconds)


async def _require_reach(connection: Connection, name: str, collections: Sequence[int] | None, reach: KeyReach) -> None:
    if reach.collections is not None and (collections is None or not reach.collections.issuperset(collections)):
        raise InvalidParameterError("collections", accepted=_COLLECTIONS)
    await connection.execute(LOCK_NAME, name)
    if await connection.fetchval(IS_NAME_ELSEWHERE, *reach.parameters(), name):
        # Keys of one name are one principal: this one would open what only the other has sent.
        message = "somebody goes by this name who has other rights than you can give; choose another name"
        raise ConflictError(message)


async def _collection_ids(connection: Connection, accessions: Sequence[str] | None) -> list[int] | None:
    if accessions is None:
        return None
    found = {row["accession"]: row["id"] for row in await connection.fetch(FIND_COLLECTIONS, list(accessions))}
    if len(found) < len(set(accessions)):
        raise InvalidParameterError("collections", accepted=_COLLECTIONS)
    return sorted(found.values())


def _usable(row: Any) -> UsableKey:
    collections = row["collections"]
    return UsableKey(
        row["public_id"],
        row["digest"],
        row["name"],
        tuple(row["roles"]),
        None if collections is None else tuple(collections),
        row["expires_at"],
        row["last_used_at"],
    )


def _listed(row: Any) -> ListedKey:
    accessions = row["accessions"]
    return ListedKey(
        row["public_id"],
        row["name"],
        tuple(row["roles"]),
        None if accessions is None else tuple(accessions),
        row["created_at"],
        row["expires_at"],
        row["revoked_at"],
        row["last_used_at"],
    )
