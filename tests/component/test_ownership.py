"""Whose store it is: an archive opens its own one or an empty one, and never makes a folder in place of a volume."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.factories import ct_series
from tests.stored import pack_of, segment_of

from dicomweb_archive.errors import SetupError, StorageFullError
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.services.own_objects import open_own_objects
from dicomweb_archive.settings import Settings
from dicomweb_archive.storage import ownership
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.storage.filesystem import FolderStore, FolderWriter
from dicomweb_archive.storage.ownership import OWNER_KEY, StoreOwner

PACK = "packs/00/one.zip"
OURS, THEIRS = "a" * 32, "b" * 32


async def opens(folder: Path, archive_id: str = OURS, *known: str) -> None:
    await (await FolderStore.open_folder(folder, StoreOwner(archive_id, known))).close()


def lay(folder: Path) -> None:
    (folder / PACK).parent.mkdir(parents=True, exist_ok=True)
    (folder / PACK).write_bytes(b"a pack")


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]


@pytest.mark.parametrize("is_there", [False, True], ids=["no folder", "an empty folder"])
async def test_a_folder_without_what_the_database_knows_is_refused_and_left_as_it_is(
    tmp_path: Path, is_there: bool
) -> None:
    folder = tmp_path / "objects"
    if is_there:
        (folder / "lost+found").mkdir(parents=True)
    with pytest.raises(SetupError, match=r"no object that .* knows. Is its volume mounted") as caught:
        await opens(folder, OURS, PACK)
    assert str(folder) in str(caught.value)
    assert names_in(tmp_path) == (["objects", "lost+found"] if is_there else [])


async def test_a_store_that_was_opened_before_its_volume_was_mounted_is_refused(tmp_path: Path) -> None:
    await opens(tmp_path, OURS)
    assert (tmp_path / OWNER_KEY).read_bytes() == b'{"archive":"' + OURS.encode() + b'"}\n'
    await opens(tmp_path, OURS)
    with pytest.raises(SetupError, match="has no object that the database knows"):
        await opens(tmp_path, OURS, PACK)


async def test_a_store_of_before_is_marked_when_it_has_a_pack_that_is_known(tmp_path: Path) -> None:
    lay(tmp_path)
    # Some may be damaged or gone: that is no reason not to serve the others.
    await opens(tmp_path, OURS, "packs/00/gone.zip", PACK)
    with pytest.raises(SetupError, match="belongs to another archive than the database"):
        await opens(tmp_path, THEIRS, PACK)


@pytest.mark.parametrize("text", [b"", b"[]", b'{"archive": 1}', b'{"archive": ""}', b"\xff"])
async def test_a_store_that_does_not_say_whose_it_is_in_words_we_know_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / OWNER_KEY).write_bytes(text)
    with pytest.raises(SetupError, match="belongs to another archive"):
        await opens(tmp_path)


async def test_a_full_disk_keeps_nobody_from_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def no_room(_writer: FolderWriter, _pieces: Sequence[Buffer]) -> None:
        raise StorageFullError("full")

    monkeypatch.setattr(FolderWriter, "write", no_room)
    lay(tmp_path)
    await opens(tmp_path, OURS, PACK)
    assert not (tmp_path / OWNER_KEY).exists()
    assert "could not be marked" in caplog.text


async def test_whoever_is_quicker_marks_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await opens(tmp_path)
    store = await FolderStore.open_folder(tmp_path)
    real, asked = ownership._named_owner, []

    async def first_nobody(opened: FolderStore) -> str | None:
        asked.append(opened)
        return None if len(asked) == 1 else await real(opened)

    monkeypatch.setattr(ownership, "_named_owner", first_nobody)
    await ownership.mark_own(store, StoreOwner(OURS, []), "It")
    asked.clear()
    with pytest.raises(SetupError, match="belongs to another archive"):
        await ownership.mark_own(store, StoreOwner(THEIRS, []), "It")
    await store.close()


async def test_the_database_knows_what_a_store_has_to_hold(database: Database, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    await (await open_own_objects(settings, database)).close()
    pack = pack_of(segment_of(ct_series(1)))
    await Register(database).register([pack], actor="tester")
    with pytest.raises(SetupError, match="Is its volume mounted"):
        await open_own_objects(settings, database)
    path = settings.object_folder / pack.object_key
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a pack")
    await (await open_own_objects(settings, database)).close()
