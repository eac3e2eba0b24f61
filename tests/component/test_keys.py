"""Keys in the database: given out, listed, taken back; each step leaves an event, and no secret stays."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from dicomweb_archive.errors import InvalidParameterError, NotFoundError
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.keys import KeyIndex
from dicomweb_archive.services.access import Role
from dicomweb_archive.services.keys.giving import KeyService
from dicomweb_archive.services.keys.text import digest_of, parse_key

TOMORROW = datetime.now(UTC) + timedelta(days=1)


async def test_a_key_lives_from_being_given_out_until_it_is_taken_back(database: Database) -> None:
    index = KeyIndex(database)
    service = KeyService(index)
    async with database.transaction() as connection:
        await connection.execute("insert into collection (accession, title) values ('LUNG-000001', 'Lungs')")
    given = await service.create(
        "Scanner 3", {Role.CURATOR, Role.SUBMITTER}, accessions=["LUNG-000001"], expires_at=TOMORROW
    )
    parsed = parse_key(given.text.encode())
    assert parsed is not None
    (usable,) = await index.usable()
    assert (usable.public_id, usable.digest) == (parsed.public_id, digest_of(parsed.share))
    assert (usable.name, usable.roles, usable.collections) == ("Scanner 3", ("submitter", "curator"), (2,))
    await index.note_use(parsed.public_id, resolution_seconds=600)
    (listed,) = await service.listed()
    assert listed.accessions == ("LUNG-000001",)
    assert (listed.expires_at, listed.revoked_at) == (TOMORROW, None)
    assert listed.last_used_at is not None

    assert await service.revoke(parsed.public_id)
    assert not await service.revoke(parsed.public_id)
    assert await index.usable() == ()
    assert await service.listed() == ()
    (ended,) = await service.listed(ended=True)
    assert ended.revoked_at is not None

    async with database.connection() as connection:
        events = await connection.fetch("select kind, actor, space_id, detail from event order by id")
        kept = await connection.fetchval("select api_key::text from api_key")
    assert [(event["kind"], event["actor"], event["space_id"]) for event in events] == [
        ("key_created", "operator", 0),
        ("key_revoked", "operator", 0),
    ]
    assert orjson.loads(events[0]["detail"]) == {
        "key": parsed.public_id,
        "name": "Scanner 3",
        "roles": "submitter curator",
        "collections": [2],
    }
    secret = given.text.rpartition("_")[2]
    for text in (kept, *(event["detail"] for event in events)):
        assert secret not in text
        assert parsed.share.hex() not in text


async def test_a_use_is_written_once_in_a_while(database: Database) -> None:
    index = KeyIndex(database)
    given = await KeyService(index).create("reader", {Role.READER})
    await index.note_use(given.key.public_id, resolution_seconds=600)
    (first,) = await index.usable()
    await index.note_use(given.key.public_id, resolution_seconds=600)
    assert await index.usable() == (first,)
    await index.note_use(given.key.public_id, resolution_seconds=0)
    assert await index.usable() != (first,)


async def test_what_has_expired_is_listed_among_the_ended(database: Database) -> None:
    service = KeyService(KeyIndex(database))
    await service.create("reader", {Role.READER}, expires_at=TOMORROW)
    async with database.connection() as connection:
        await connection.execute("update api_key set expires_at = now() - interval '1 second'")
    assert await service.listed() == ()
    assert await service.index.usable() == ()
    assert len(await service.listed(ended=True)) == 1


async def test_a_key_for_what_is_not_there_is_not_made(database: Database) -> None:
    service = KeyService(KeyIndex(database))
    with pytest.raises(InvalidParameterError, match="collection"):
        await service.create("reader", {Role.READER}, accessions=["default", "NONE-000001"])
    with pytest.raises(NotFoundError):
        await service.revoke("abcdefghijkl")
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from event") == 0
