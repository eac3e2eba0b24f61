"""Pools, transactions, and driver errors in our words."""

import pytest

from dicomweb_archive.index.engine import Database


async def test_a_transaction_is_kept_when_its_block_ends(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("insert into path (path, vr) values ('00100020', 'LO')")
    async with database.connection() as connection:
        assert await connection.fetchval("select vr from path") == "LO"


async def test_a_transaction_is_rolled_back_by_any_exception(database: Database) -> None:
    with pytest.raises(KeyError):
        async with database.transaction() as connection:
            await connection.execute("insert into path (path, vr) values ('00100020', 'LO')")
            raise KeyError
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from path") == 0
