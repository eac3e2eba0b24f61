"""Purged terms: what nothing else has leaves the dictionary, and no store that is under way loses its values."""

from collections.abc import Sequence

from tests.component.test_dictionary import CountingDatabase, terms_of
from tests.factories import ROOT, ct_series, image, part10
from tests.stored import pack_of, segment_of

from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.index.writing.dictionary import KNOWN_SECONDS, Dictionary
from dicomweb_archive.index.writing.purged_terms import PurgedTerms, mark_terms
from dicomweb_archive.index.writing.register import Register, Registration
from dicomweb_archive.index.writing.removal import Removal


async def store(register: Register, files: Sequence[bytes]) -> None:
    outcome = await register.register([pack_of(segment_of(files))], actor="sender")
    assert set(outcome.values()) == {Registration.STORED}


async def purge(database: Database, study: int) -> None:
    """Do what of a purge concerns the dictionary."""
    async with database.transaction() as connection:
        rows = await connection.fetch(
            "select sg.id from segment sg join study st on st.id = sg.study_id where st.study_instance_uid = $1",
            f"{ROOT}.{study}",
        )
        await mark_terms(connection, [row["id"] for row in rows])
        removal = Removal(database, InstanceIndex(database))
        scope, segments = Scope(f"{ROOT}.{study}"), await removal.segments()
        await removal.delete_within(connection, scope, Visibility(), segments, actor="a")


async def values_of(database: Database) -> tuple[set[str], set[str]]:
    async with database.connection() as connection:
        terms = await connection.fetch("select value from term")
        words = await connection.fetch("select word from name_word")
    return {row["value"] for row in terms}, {row["word"] for row in words}


def named(study: int) -> bytes:
    return part10(image(study=study, PatientComments=f"secret {study}", OperatorsName=f"Helper{study}^H"))


async def test_values_go_that_nothing_else_has_and_come_back_with_a_store(database: Database) -> None:
    register = Register(database)
    await store(register, [named(1)])
    await store(register, [named(2)])
    await purge(database, 1)
    later, now = PurgedTerms(database), PurgedTerms(database, grace_seconds=0)
    # Some process may remember that they are there.
    assert (await later.drop(), await later.look_after()) == (0, 0)
    while await now.drop():
        pass
    terms, words = await values_of(database)
    assert {"secret 2", "CT"} <= terms
    assert not {text for text in terms if "secret 1" in text or "helper1" in text.lower()}
    assert not {word for word in words if "helper1" in word.lower()}
    assert {word for word in words if "helper2" in word.lower()}
    # This process has not forgotten yet: its segment has a value without a row, until somebody looks after that.
    await store(register, [named(1)])
    assert "secret 1" not in (await values_of(database))[0]
    assert await now.look_after()
    while await now.look_after():
        pass
    terms, words = await values_of(database)
    assert "secret 1" in terms
    assert {word for word in words if "helper1" in word.lower()}
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from purged_term") == 0
        assert await connection.fetchval("select count(*) from instance") == 2


async def test_what_is_stored_again_before_its_time_stays(database: Database) -> None:
    register = Register(database)
    await store(register, ct_series(1))
    await purge(database, 1)
    await store(register, ct_series(1))
    before = await values_of(database)
    now = PurgedTerms(database, grace_seconds=0)
    while await now.drop():
        pass
    assert await values_of(database) == before


async def test_a_process_asks_for_its_values_again_after_a_while(database: Database) -> None:
    moment = 0.0
    counting = CountingDatabase(database)
    dictionary = Dictionary(counting, clock=lambda: moment)  # type: ignore[arg-type]
    dictionary.remember(await dictionary.add([terms_of(1)]))
    moment = KNOWN_SECONDS
    await dictionary.add([terms_of(1)])
    assert counting.borrowed == 1
    moment += 1
    await dictionary.add([terms_of(1)])
    assert counting.borrowed == 2
