"""Ownership: an object that says whose store it is, looked for before anything is made in the store."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from dicomweb_archive.errors import ArchiveError, ConflictError, ObjectNotFoundError, SetupError
from dicomweb_archive.storage.base import ObjectStore

OWNER_KEY = "dicomweb-archive.json"
"""The key of the object that names the archive to which a store belongs."""

_UUID = re.compile(r"[0-9a-f]{32}")
_MOST_BYTES = 4096

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreOwner:
    """The archive that opens a store, as its database knows it.

    Attributes:
        archive_id: 32 hexadecimal digits; the same in copies and backups of the database.
        known_packs: keys of some of its packs; none: nothing was ever stored, or all is gone.
    """

    archive_id: str
    known_packs: Sequence[str]


async def require_own(store: ObjectStore, owner: StoreOwner, place: str) -> None:
    """Make sure that a store is the owner's, or nobody's that an archive without packs may take; it only reads.

    The object that names the owner is not enough: where a store was opened once before its volume was mounted, there
    is one below the mount point too.

    Raises:
        SetupError: the store is another archive's, or has nothing of what the owner's database knows.
        StorageUnavailableError: the store cannot be read.
    """
    _require_same(await _named_owner(store), owner, place)
    if owner.known_packs and not await _has_one_of(store, owner.known_packs):
        message = (
            f"{place} has no object that the database knows. Is its volume mounted, and is it the right one? Mount it, "
            "name the right one in DICOMWEB_ARCHIVE_OBJECT_STORE_URL or DICOMWEB_ARCHIVE_DATA_DIR, or restore the "
            "objects from a backup; nothing was changed"
        )
        raise SetupError(message)


async def mark_own(store: ObjectStore, owner: StoreOwner, place: str) -> None:
    """Write whose store it is, unless that stands there; a store that cannot be written now is marked another time.

    Raises:
        SetupError: another archive was quicker.
    """
    try:
        if await _named_owner(store) is not None:
            return
        writer = await store.create(OWNER_KEY)
        try:
            await writer.write([orjson.dumps({"archive": owner.archive_id}) + b"\n"])
            await writer.commit()
        finally:
            await writer.abort()
    except ConflictError:
        # Most likely by another process of the same archive.
        _require_same(await _named_owner(store), owner, place)
    except ArchiveError as error:
        # What is stored can be read from a full disk too.
        logger.warning("the object store could not be marked as this archive's: %s", error)


def _require_same(named: str | None, owner: StoreOwner, place: str) -> None:
    if named not in (None, owner.archive_id):
        message = (
            f"{place} belongs to another archive than the database, says {OWNER_KEY} in it. Name the right one in "
            "DICOMWEB_ARCHIVE_OBJECT_STORE_URL or DICOMWEB_ARCHIVE_DATA_DIR, or restore the database that goes with it"
        )
        raise SetupError(message)


async def _named_owner(store: ObjectStore) -> str | None:
    """Return the archive that a store names, `None` when it names none, "" when nobody can tell."""
    try:
        text = bytes(await store.read_at_most(OWNER_KEY, 0, _MOST_BYTES))
    except ObjectNotFoundError:
        return None
    try:
        named = orjson.loads(text)["archive"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
    return named if isinstance(named, str) and _UUID.fullmatch(named) else ""


async def _has_one_of(store: ObjectStore, keys: Sequence[str]) -> bool:
    for key in keys:
        try:
            await store.stat(key)
        except ObjectNotFoundError:
            continue
        return True
    return False
