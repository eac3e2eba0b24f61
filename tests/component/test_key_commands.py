"""`keys …`: an operator gives a key, sees it listed, and takes it back."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from tests.commands import type_command

from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.keys import KeyIndex
from dicomweb_archive.services.keys.text import digest_of, parse_key

Type = Callable[..., Awaitable[CompletedProcess[str]]]


@pytest.fixture
def type_keys(database_url: str, tmp_path: Path) -> Type:
    async def type_(*words: str, **settings: str) -> CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DICOMWEB_ARCHIVE_")}
        given = {f"DICOMWEB_ARCHIVE_{name.upper()}": value for name, value in settings.items()}
        environment = {**kept, "DICOMWEB_ARCHIVE_DATABASE_URL": database_url, **given}
        return await asyncio.to_thread(type_command, "keys", *words, folder=tmp_path, environment=environment)

    return type_


async def test_a_key_is_given_shown_once_and_taken_back(type_keys: Type, database: Database) -> None:
    made = await type_keys("create", "Scanner 3", "--role", "submitter", "--collection", "default", "--expires", "90d")
    assert made.returncode == 0, made.stderr
    parsed = parse_key(made.stdout.strip().encode())
    assert parsed is not None
    assert f"keys revoke {parsed.public_id}" in made.stderr
    assert "asks nobody for a key" in made.stderr
    (usable,) = await KeyIndex(database).usable()
    assert usable.digest == digest_of(parsed.share)
    assert usable.expires_at is not None
    assert abs(usable.expires_at - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=10)

    listed = await type_keys("list")
    assert [line.split()[:5] for line in listed.stdout.splitlines()] == [
        ["ID", "NAME", "ROLES", "COLLECTIONS", "EXPIRES"],
        [parsed.public_id, "Scanner", "3", "submitter", "default"],
    ]
    assert made.stdout.strip().rpartition("_")[2] not in listed.stdout

    assert "is taken back" in (await type_keys("revoke", parsed.public_id)).stdout
    assert "was taken back before" in (await type_keys("revoke", parsed.public_id)).stdout
    assert (await type_keys("list")).stdout == ""
    (ended,) = json.loads((await type_keys("list", "--all", "--json")).stdout)
    assert (ended["id"], ended["roles"], ended["collections"]) == (parsed.public_id, ["submitter"], ["default"])
    assert ended["revoked_at"] is not None


async def test_a_key_can_be_made_by_a_script(type_keys: Type) -> None:
    words = ("create", "nightly", "--role", "curator", "--role", "manager", "--expires", "never", "--json")
    made = await type_keys(*words, authentication="keys")
    described = json.loads(made.stdout)
    assert parse_key(described["key"].encode()) is not None
    assert (described["name"], described["expires_at"], made.stderr) == ("nightly", None, "")


async def test_what_does_not_fit_is_said(type_keys: Type) -> None:
    reader = ("create", "a", "--role", "reader")
    for words, status, said in (
        (("create", "a"), 2, "--role"),
        (("create", "a", "--role", "king"), 2, "king"),
        ((*reader, "--expires", "soon"), 2, "90d"),
        ((*reader, "--expires", "2020-01-01"), 1, "to come"),
        ((*reader, "--collection", "X"), 1, "accessions"),
        (("create", "Anonymous", "--role", "reader"), 1, "name"),
        (("create", "a", "--role", "admin", "--collection", "default"), 1, "admin"),
        (("revoke", "abcdefghijkl"), 1, "no key with this id"),
    ):
        done = await type_keys(*words)
        assert (done.returncode, said in done.stderr) == (status, True), done.stderr
        assert done.stdout == ""
