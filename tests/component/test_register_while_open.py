"""Register, as long as a submission is open: what is sealed takes nothing, and sealing waits for nobody's half."""

import asyncio

import pytest
from tests.factories import ct_series
from tests.stored import pack_of, segment_of

from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.register import Register, Registration, SpaceClosedError

_ADD = """
with made as (insert into space (id, name) values (nextval('submission_space'), $1) returning id)
insert into submission (name, space_id, collection_id, state, opened_by) select $1, id, 1, $2, 'key' from made
returning space_id
"""
_ROWS = """
select (select count(*) from study where space_id = $1) + (select count(*) from instance where space_id = $1)
  + (select count(*) from event where space_id = $1)
"""


async def add_submission(database: Database, name: str, state: str) -> int:
    async with database.transaction() as connection:
        space: int = await connection.fetchval(_ADD, name, state)
    return space


async def rows_of(database: Database, space_id: int) -> int:
    async with database.connection() as connection:
        count: int = await connection.fetchval(_ROWS, space_id)
    return count


async def test_one_series_goes_into_an_open_submission(database: Database) -> None:
    space = await add_submission(database, "open", "open")
    register = Register(database)
    for count, series in ((1, 1), (2, 2)):
        pack = pack_of(segment_of(ct_series(count, series=series)))
        outcome = await register.register([pack], actor="tester", space_id=space, while_open=True)
        assert list(outcome.values()) == [Registration.STORED] * count
    assert await rows_of(database, space) == 1 + 3 + 2


async def test_a_sealed_submission_takes_no_series_whether_it_has_the_study_or_not(database: Database) -> None:
    space = await add_submission(database, "sealed", "open")
    register = Register(database)
    await register.register([pack_of(segment_of(ct_series(1)))], actor="tester", space_id=space, while_open=True)
    before = await rows_of(database, space)
    async with database.transaction() as connection:
        await connection.execute("update submission set state = 'sealed' where space_id = $1", space)
    for study in (1, 2):
        pack = pack_of(segment_of(ct_series(1, study=study, series=7)))
        with pytest.raises(SpaceClosedError):
            await register.register([pack], actor="tester", space_id=space, while_open=True)
    assert await rows_of(database, space) == before


async def test_a_store_that_waits_for_a_seal_finds_the_submission_sealed(database: Database) -> None:
    space = await add_submission(database, "being sealed", "open")
    pack = pack_of(segment_of(ct_series(1)))
    async with database.transaction() as connection:
        await connection.execute("update submission set state = 'sealed' where space_id = $1", space)
        storing = asyncio.create_task(
            Register(database).register([pack], actor="tester", space_id=space, while_open=True)
        )
        done, _ = await asyncio.wait([storing], timeout=0.1)
        assert not done
    with pytest.raises(SpaceClosedError):
        await storing
    assert await rows_of(database, space) == 0
