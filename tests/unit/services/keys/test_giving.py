"""Giving keys out: what a holder may be called, and what a key cannot be for."""

from datetime import UTC, datetime, timedelta

import pytest

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.index.writing.keys import EVERY_KEY, KeyReach, NewKey
from dicomweb_archive.services.access import Role
from dicomweb_archive.services.keys.giving import OPERATOR, KeyService


class Table:
    """Takes keys as the index does."""

    def __init__(self) -> None:
        self.made: list[NewKey] = []

    async def create(self, key: NewKey, *, actor: str, reach: KeyReach) -> None:
        assert (actor, reach) == (OPERATOR, EVERY_KEY)
        self.made.append(key)


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def service(table: Table) -> KeyService:
    return KeyService(table)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a", "CT scanner 3", "jörg.müller@example.org", "山田", "x" * 64])
async def test_people_and_machines_are_called_what_they_are(service: KeyService, table: Table, name: str) -> None:
    await service.create(name, {Role.READER})
    assert table.made[0].name == name


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a\nb", "a\x1b[2J", "x" * 65, "a/b", "anonymous", "Key", "OPERATOR", "worker"]
)
async def test_other_names_are_refused(service: KeyService, table: Table, name: str) -> None:
    with pytest.raises(InvalidParameterError, match="name cannot"):
        await service.create(name, {Role.READER})
    assert table.made == []


async def test_roles_are_kept_in_their_order(service: KeyService, table: Table) -> None:
    await service.create("a", [Role.CURATOR, Role.READER, Role.READER])
    assert table.made[0].roles == ("reader", "curator")


async def test_a_key_for_nothing_or_of_the_past_is_not_made(service: KeyService, table: Table) -> None:
    with pytest.raises(InvalidParameterError, match="roles cannot"):
        await service.create("a", [])
    with pytest.raises(InvalidParameterError, match="expires_at cannot"):
        await service.create("a", {Role.READER}, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert table.made == []


async def test_an_administrator_is_one_of_all_collections(service: KeyService, table: Table) -> None:
    with pytest.raises(InvalidParameterError, match="collections cannot"):
        await service.create("a", {Role.ADMIN}, accessions=["default"])
    await service.create("a", {Role.ADMIN})
    assert table.made[0].accessions is None
