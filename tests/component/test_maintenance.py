"""Orphans: packs without a row go when they are old, and nothing else goes ever."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.factories import ct_series
from tests.stored import pack_of, segment_of

from dicomweb_archive.errors import ConflictError
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.packs import PackIndex
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.services.maintenance import GRACE_SECONDS, MaintenanceService
from dicomweb_archive.storage.filesystem import FolderStore
from dicomweb_archive.storage.packs import new_pack_key


@pytest.fixture
async def objects(tmp_path: Path) -> AsyncIterator[FolderStore]:
    store = await FolderStore.open_folder(tmp_path)
    yield store
    await store.close()


async def put(objects: FolderStore, folder: Path, key: str, *, age_seconds: float = 0) -> None:
    writer = await objects.create(key)
    await writer.write([b"a pack"])
    await writer.commit()
    then = time.time() - age_seconds
    os.utime(folder / key, (then, then))


async def keys(objects: FolderStore) -> set[str]:
    return {item.key async for item in objects.list()}


async def test_old_packs_without_a_row_are_deleted_and_no_others(
    database: Database, objects: FolderStore, tmp_path: Path
) -> None:
    pack = pack_of(segment_of(ct_series(1)))
    await Register(database).register([pack], actor="tester")
    young, old = new_pack_key(), {new_pack_key() for _ in range(3)}
    for key in (pack.object_key, *old):
        await put(objects, tmp_path, key, age_seconds=GRACE_SECONDS + 60)
    await put(objects, tmp_path, young, age_seconds=GRACE_SECONDS - 60)
    await put(objects, tmp_path, "elsewhere/kept", age_seconds=GRACE_SECONDS + 60)
    unfinished = await objects.create(new_pack_key())

    service = MaintenanceService(PackIndex(database), objects)
    orphans = await service.find_orphans()
    assert {orphan.key for orphan in orphans.found} == old
    assert (orphans.known, orphans.size_bytes) == (1, 18)
    assert len(await keys(objects)) == 6
    await service.delete_orphans(orphans)
    assert await keys(objects) == {pack.object_key, young, "elsewhere/kept"}
    await unfinished.write([b"x"])
    await unfinished.commit()


async def test_an_index_that_knows_no_pack_is_not_believed(
    database: Database, objects: FolderStore, tmp_path: Path
) -> None:
    await put(objects, tmp_path, new_pack_key(), age_seconds=GRACE_SECONDS + 60)
    service = MaintenanceService(PackIndex(database), objects)
    with pytest.raises(ConflictError, match="nothing was deleted"):
        await service.delete_orphans(await service.find_orphans())
    assert len(await keys(objects)) == 1


async def test_an_empty_store_has_no_orphans(database: Database, objects: FolderStore) -> None:
    service = MaintenanceService(PackIndex(database), objects)
    orphans = await service.find_orphans()
    await service.delete_orphans(orphans)
    assert orphans.found == ()
