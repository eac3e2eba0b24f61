"""Visibility: the composed predicate and the fixed text let the same studies through."""

import itertools
from datetime import date, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from dicomweb_archive.index.access import Visibility, visible
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.database.tables import study

TODAY = date.today()  # noqa: DTZ011 (a day's difference between zones does not matter with these embargoes)
EMBARGOES = {"none": None, "over": TODAY - timedelta(days=2), "running": TODAY + timedelta(days=2)}

CASES = {
    "the archive, all collections": (Visibility(), {"1-1-none", "1-1-over", "1-2-none", "1-2-over"}),
    "one collection": (Visibility(collections=(2,)), {"1-2-none", "1-2-over"}),
    "no collection at all": (Visibility(collections=()), set()),
    "no space at all": (Visibility(spaces=()), set()),
    "another space": (Visibility(spaces=(2,), collections=(1,)), {"2-1-none", "2-1-over"}),
    "two spaces": (Visibility(spaces=(1, 2), collections=(1,)), {"1-1-none", "1-1-over", "2-1-none", "2-1-over"}),
    "embargoed ones too": (Visibility(collections=(1, 3), see_embargoed=True), {"1-1-none", "1-1-over", "1-1-running"}),
}


@pytest.fixture
async def studies(database: Database) -> Database:
    async with database.transaction() as connection:
        await connection.execute("insert into space (id, name) values (2, 'submission')")
        await connection.execute("insert into collection (accession, title) values ('other', 'Other')")
        await connection.executemany(
            "insert into study (space_id, collection_id, embargo_until, study_instance_uid, attributes, facts)"
            " values ($1, $2, $3, $4, '', 0)",
            [
                (space, collection, EMBARGOES[embargo], f"{space}-{collection}-{embargo}")
                for space, collection, embargo in itertools.product((1, 2), (1, 2), EMBARGOES)
            ],
        )
    return database


@pytest.mark.parametrize(("visibility", "seen"), CASES.values(), ids=CASES.keys())
async def test_what_is_seen(studies: Database, visibility: Visibility, seen: set[str]) -> None:
    statement = select(study.c.study_instance_uid).where(visibility.clause(study))
    composed = statement.compile(dialect=postgresql.asyncpg.dialect())
    async with studies.search_connection() as connection:
        rows = await connection.fetch(str(composed), *(composed.params[name] for name in composed.positiontup))
        assert {row[0] for row in rows} == seen
        text = f"select study_instance_uid from study t where {visible('t')}"
        assert {row[0] for row in await connection.fetch(text, *visibility.parameters())} == seen
