"""Submissions and collections made directly in the index, whatever the services that make them are."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tests.http.archive import Archive
from tests.stored import sharing_base

from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.services.packing import Packing

ADD_COLLECTION = """
insert into collection (accession, title, access) values ($1, $1, $2)
on conflict (accession) do update set access = excluded.access returning id
"""

ADD_SPACE = "insert into space (id, name) values (nextval('submission_space'), $1) returning id"

ADD_SUBMISSION = """
insert into submission (name, space_id, collection_id, state, opened_by) values ($1, $2, $3, 'open', $4)
"""


def database_of(archive: Archive) -> Database:
    database: Database = archive.app.state.services.health.database
    return database


async def add_collection(archive: Archive, accession: str, *, access: str = "open") -> int:
    """Make a collection, or change its access, and return its id."""
    async with database_of(archive).transaction() as connection:
        added: int = await connection.fetchval(ADD_COLLECTION, accession, access)
    return added


async def add_submission(archive: Archive, name: str, *, collection: str = "default", opened_by: str = "key") -> int:
    """Make an empty submission and return its space."""
    async with database_of(archive).transaction() as connection:
        collection_id = await connection.fetchval("select id from collection where accession = $1", collection)
        space: int = await connection.fetchval(ADD_SPACE, name)
        await connection.execute(ADD_SUBMISSION, name, space, collection_id, opened_by)
    return space


async def lay_into(archive: Archive, space_id: int, files: Iterable[bytes], *, collection_id: int = 1) -> None:
    """Put files into a space: bytes into a pack for each series, rows into the index."""
    series: dict[tuple[str, str], list[tuple[Any, bytes]]] = defaultdict(list)
    for data in files:
        scanned = scan(data)
        series[scanned.study_instance_uid, scanned.series_instance_uid].append((scanned, data))
    packing = Packing(archive.app.state.services.store.objects, pack_bytes=2**30, pack_instances=1000)
    for key, members in series.items():
        shared = sharing_base(scanned for scanned, _ in members)
        await packing.append(key, list(zip(shared, (data for _, data in members), strict=True)))
    packs = await packing.finish()
    register = Register(database_of(archive))
    await register.register(packs, actor="tester", space_id=space_id, collection_id=collection_id)
