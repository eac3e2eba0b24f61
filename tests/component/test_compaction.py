"""Compaction: few packs instead of many, every byte as it was, and nothing lost to those who delete, move or read."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest
from tests.factories import ct_series
from tests.spaces import disagreements, make_space
from tests.stored import pack_of, segment_of, sharing_base

from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.curation.purging import Purging
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading.instances import InstanceIndex, Scope
from dicomweb_archive.index.reading.location_cache import RELOADED_SECONDS
from dicomweb_archive.index.writing.compaction import CompactionIndex, SeriesPack, plan_compaction
from dicomweb_archive.index.writing.packs import PackIndex
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.index.writing.removal import Removal
from dicomweb_archive.services.access import Principal, PrincipalKind, Role, with_included
from dicomweb_archive.services.compaction import HELD_BYTES, Compacted, CompactionService
from dicomweb_archive.services.packing import Packing
from dicomweb_archive.services.purge import PurgeService
from dicomweb_archive.storage.filesystem import FolderStore

EVERYTHING = Visibility()


class Archive:
    """Stores, reads and compacts, on a real index and a folder."""

    def __init__(self, database: Database, objects: FolderStore, folder: Path) -> None:
        self.database = database
        self.objects = objects
        self.folder = folder
        self.now = 0.0
        self.instances = InstanceIndex(database, clock=lambda: self.now)
        self.service = self.compaction()

    def compaction(
        self, *, pack_instances: int = 1000, grace_seconds: float = 3600, held_bytes: int = HELD_BYTES
    ) -> CompactionService:
        return CompactionService(
            CompactionIndex(self.database),
            self.objects,
            pack_bytes=2**30,
            pack_instances=pack_instances,
            grace_seconds=grace_seconds,
            quiet_seconds=-1,
            held_bytes=held_bytes,
        )

    async def store(self, files: Sequence[bytes]) -> str:
        packing = Packing(self.objects, pack_bytes=2**30, pack_instances=1000)
        scanned = sharing_base([scan(file) for file in files])
        key = (scanned[0].study_instance_uid, scanned[0].series_instance_uid)
        await packing.append(key, list(zip(scanned, files, strict=True)))
        await Register(self.database).register(await packing.finish(), actor="tester")
        return scanned[0].study_instance_uid

    async def content(self, study: str) -> dict[str, bytes]:
        found = {}
        for segment in await self.instances.locate(Scope(study), EVERYTHING):
            for each in segment:
                data = await self.objects.read(each.object_key, each.byte_offset, each.byte_length)
                found[each.sop_instance_uid] = bytes(data)
        return found

    async def keys(self) -> set[str]:
        return {item.key async for item in self.objects.list("packs/")}

    async def in_use(self) -> set[str]:
        async with self.database.connection() as connection:
            return {row[0] for row in await connection.fetch("select object_key from pack")}

    async def compact(self) -> Compacted:
        return await self.service.work(_nobody)

    async def series_ids(self) -> list[int]:
        async with self.database.connection() as connection:
            return [row[0] for row in await connection.fetch("select id from series order by id")]


async def _nobody(done: Compacted) -> None:
    pass


@pytest.fixture
async def archive(database: Database, tmp_path: Path) -> AsyncIterator[Archive]:
    objects = await FolderStore.open_folder(tmp_path)
    yield Archive(database, objects, tmp_path)
    await objects.close()


async def test_packs_of_single_instances_become_one_with_the_same_bytes(archive: Archive) -> None:
    files = ct_series(6)
    for file in files:
        study = await archive.store([file])
    before, old = await archive.content(study), await archive.keys()
    assert len(old) == 6
    done = await archive.compact()
    assert (done.series, done.packs_before, done.packs_after) == (1, 6, 1)
    assert await archive.content(study) == before == {scan(f).sop_instance_uid: f for f in files}
    (new,) = await archive.in_use()
    # Whoever knows the old places goes on reading there for the grace time, and no sweep takes them for orphans.
    assert await archive.keys() == old | {new}
    assert await PackIndex(archive.database).find_known(sorted(old)) == old
    with ZipFile(archive.folder / new) as pack:
        assert pack.testzip() is None
        assert sorted(pack.namelist()) == sorted(f"{uid}.dcm" for uid in before)
    assert (await archive.compact()) == Compacted()
    assert not any(await disagreements(archive.database))

    archive.service = archive.compaction(grace_seconds=-1)
    assert (await archive.compact()).deleted == 6
    assert await archive.keys() == {new}


async def test_a_place_that_is_remembered_is_read_anew_long_before_its_object_goes(archive: Archive) -> None:
    for file in ct_series(2):
        study = await archive.store([file])
    (uid, *_) = await archive.content(study)
    instance = scan(ct_series(1)[0])
    known = (study, instance.series_instance_uid, uid, EVERYTHING)
    before = await archive.instances.locate_instance(*known)
    await archive.compact()
    archive.now += RELOADED_SECONDS - 1
    assert (await archive.instances.locate_instance(*known)).object_key == before.object_key
    archive.now += 2
    assert (await archive.instances.locate_instance(*known)).object_key in await archive.in_use()


async def test_what_deletes_left_dead_goes_and_what_lives_stays(archive: Archive) -> None:
    files = ct_series(5)
    study = await archive.store(files)
    removal = Removal(archive.database, archive.instances)
    for file in files[:4]:
        gone = scan(file)
        uids = (study, gone.series_instance_uid, gone.sop_instance_uid)
        await removal.delete_instance(*uids, EVERYTHING, actor="tester")
    done = await archive.compact()
    assert (done.packs_before, done.packs_after) == (1, 1)
    assert await archive.content(study) == {scan(files[4]).sop_instance_uid: files[4]}
    (pack,) = await archive.in_use()
    assert (archive.folder / pack).stat().st_size < 2 * len(files[4])
    # A deleted study takes its retired packs along: no copy of it lies about.
    removed = await removal.delete_study(study, EVERYTHING, actor="tester")
    assert set(removed.free_object_keys) == await archive.keys()


async def test_a_pack_in_which_nothing_lives_any_more_goes(archive: Archive) -> None:
    await archive.store(ct_series(2))
    async with archive.database.connection() as connection:
        # As two deletes of the same moment leave it: each has seen what the other was taking away.
        await connection.execute("delete from study")
        await connection.execute("update pack set thinned_at = now()")
    await archive.compact()
    await archive.compact()
    assert not await archive.in_use()
    assert not await archive.keys()


async def test_a_pack_with_a_conflict_in_it_stays(archive: Archive) -> None:
    for file in ct_series(3):
        await archive.store([file])
    old = await archive.keys()
    async with archive.database.connection() as connection:
        await connection.execute("insert into space (id, name) values (1001, 'waiting')")
        await connection.execute(
            """
            insert into submission (name, space_id, collection_id, state, opened_by) values ('s', 1001, 1, 'open', 't')
            """
        )
        await connection.execute(
            """
            insert into conflict (submission_id, study_instance_uid, series_instance_uid, sop_instance_uid,
              sop_class_uid, transfer_syntax_uid, pack_id, byte_offset, byte_length, digest, received_by)
            select s.id, '1', '2', '3', '4', '5', p.id, 0, 1, '', 't'
            from submission s, (select min(id) as id from pack) p
            """
        )
    assert (await archive.compact()).packs_after == 1
    assert len(await archive.in_use() & old) == 1
    archive.service = archive.compaction(grace_seconds=-1)
    await archive.compact()
    assert await archive.keys() == await archive.in_use()


async def test_a_large_instance_is_copied_in_pieces(archive: Archive) -> None:
    files = ct_series(2)
    for file in files:
        study = await archive.store([file])
    archive.service = archive.compaction(held_bytes=1000)
    assert (await archive.compact()).packs_after == 1
    assert sorted((await archive.content(study)).values()) == sorted(files)


async def test_a_damaged_pack_is_left_alone_and_leaves_no_pack_behind(archive: Archive) -> None:
    files = ct_series(3)
    for file in files:
        study = await archive.store([file])
    old = await archive.keys()
    with (archive.folder / min(old)).open("r+b") as damaged:
        damaged.seek(400)
        damaged.write(b"damage")
    assert (await archive.compact()) == Compacted()
    assert await archive.keys() == old == await archive.in_use()
    assert len(await archive.content(study)) == 3


async def test_what_was_deleted_while_it_was_copied_stays_deleted(archive: Archive) -> None:
    files = ct_series(3)
    for file in files:
        study = await archive.store([file])
    (series_id,) = await archive.series_ids()
    index = archive.service.index
    packs = await index.packs_of(series_id)
    members = await index.members_of(series_id, packs)
    rewritten = await archive.service._rewrite(members, {pack.id: pack.object_key for pack in packs})
    gone = scan(files[0])
    removal = Removal(archive.database, archive.instances)
    await removal.delete_instance(study, gone.series_instance_uid, gone.sop_instance_uid, EVERYTHING, actor="t")
    # The new pack holds bytes that must not come back.
    assert not await index.swap(series_id, rewritten)
    assert rewritten.object_key not in await archive.in_use()
    await archive.compact()
    assert set(await archive.content(study)) == {scan(file).sop_instance_uid for file in files[1:]}
    await removal.delete_study(study, EVERYTHING, actor="t")
    assert not await index.swap(series_id, rewritten)
    assert not any(await disagreements(archive.database))


async def test_a_purge_finds_the_copies_that_compaction_has_left(archive: Archive) -> None:
    files = ct_series(3)
    for file in files:
        study = await archive.store([file])
    await archive.compact()
    gone = scan(files[0])
    scope = Scope(study, gone.series_instance_uid, gone.sop_instance_uid)
    admin = Principal("a", PrincipalKind.KEY_HOLDER, with_included([Role.ADMIN]))
    purging = Purging(archive.database, Removal(archive.database, archive.instances))
    await PurgeService(purging, archive.objects).purge(scope, admin, "consent_withdrawn")
    assert await archive.keys() == await archive.in_use()
    for key in await archive.keys():
        assert files[0] not in (archive.folder / key).read_bytes()
    assert sorted((await archive.content(study)).values()) == sorted(files[1:])


async def test_a_deleted_series_takes_copies_of_its_own_and_leaves_those_of_its_neighbour(archive: Archive) -> None:
    for series in (1, 2):
        for file in ct_series(2, series=series):
            study = await archive.store([file])
    await archive.compact()
    removal = Removal(archive.database, archive.instances)
    removed = await removal.delete_series(study, f"{study}.1", EVERYTHING, actor="t")
    assert len(removed.free_object_keys) == 3
    async with archive.database.connection() as connection:
        left = await connection.fetch("select series_instance_uid from retired_pack")
        assert [row["series_instance_uid"] for row in left] == [f"{study}.2"] * 2
        # Of what was retired earlier nobody knows of which series it was.
        await connection.execute("update retired_pack set series_instance_uid = ''")
    removed = await removal.delete_series(study, f"{study}.2", EVERYTHING, actor="t")
    assert len(removed.free_object_keys) == 3


async def test_what_is_deleted_in_one_space_leaves_the_grace_of_another(archive: Archive) -> None:
    for file in ct_series(2):
        study = await archive.store([file])
    await archive.compact()
    async with archive.database.connection() as connection:
        await make_space(connection, 1001)
    await Register(archive.database).register([pack_of(segment_of(ct_series(1)))], actor="t", space_id=1001)
    removal = Removal(archive.database, archive.instances)
    removed = await removal.delete_study(study, Visibility((1001,)), actor="t")
    assert not {*removed.free_object_keys} & await archive.keys()
    removed = await removal.delete_study(study, EVERYTHING, actor="t")
    assert set(removed.free_object_keys) == await archive.keys()


async def test_readers_writers_and_deletes_go_on_beside_it(archive: Archive) -> None:
    chance = random.Random(5)
    files = {study: ct_series(8, study=study) for study in range(3)}
    uids = {study: scan(content[0]).study_instance_uid for study, content in files.items()}
    removal = Removal(archive.database, archive.instances)

    async def store(study: int) -> None:
        for file in files[study]:
            await archive.store([file])

    async def delete(study: int) -> None:
        for file in files[study][::3]:
            await asyncio.sleep(0.02 * chance.random())
            gone = scan(file)
            await removal.delete_instance(
                gone.study_instance_uid, gone.series_instance_uid, gone.sop_instance_uid, EVERYTHING, actor="t"
            )

    async def read() -> None:
        for _ in range(20):
            for study, uid in uids.items():
                content = await archive.content(uid)
                assert all(data in files[study] for data in content.values())

    async def compact() -> None:
        small = archive.compaction(pack_instances=5)
        for _ in range(6):
            for series_id in await archive.series_ids():
                await small.compact_series(series_id)

    await asyncio.gather(*map(store, files))
    await asyncio.gather(delete(0), delete(1), read(), compact())
    for study, uid in uids.items():
        kept = files[study] if study == 2 else [f for n, f in enumerate(files[study]) if n % 3]
        assert sorted((await archive.content(uid)).values()) == sorted(kept)
    assert not any(await disagreements(archive.database))
    assert await archive.in_use() <= await archive.keys()


def pack(number: int, size: int, *, instances: int = 1, live: int | None = None) -> SeriesPack:
    return SeriesPack(number, f"packs/{number}", size, instances, size, size if live is None else live)


MIB = 1024 * 1024
PLANS = {
    "one pack": ([pack(1, MIB)], []),
    "small ones": ([pack(n, MIB) for n in range(1, 4)], [1, 2, 3]),
    "a large one is left out": ([pack(1, 100 * MIB), pack(2, MIB), pack(3, MIB)], [2, 3]),
    "one that outweighs the others is left out": ([pack(1, 30 * MIB), pack(2, MIB), pack(3, MIB)], [2, 3]),
    "two of unlike size": ([pack(1, 30 * MIB), pack(2, MIB)], []),
    "a dead one is written anew alone": ([pack(1, 100 * MIB, live=MIB)], [1]),
    "as many as before": ([pack(1, MIB, instances=900), pack(2, MIB, instances=900)], []),
}


@pytest.mark.parametrize(("packs", "chosen"), PLANS.values(), ids=PLANS)
def test_packs_are_written_anew_where_that_gains_something(packs: list[SeriesPack], chosen: list[int]) -> None:
    planned = plan_compaction(packs, most_bytes=512 * MIB, most_instances=1000)
    assert [each.id for each in planned] == chosen
