"""`collections` of the command line, against the archive itself."""

import pytest
from click.testing import CliRunner
from httpx import ASGITransport
from tests.http.archive import Archive
from tests.http.conftest import StartArchive

from dicomweb_archive.cli.client.collections import change, collections, fetch_all, make
from dicomweb_archive.cli.client.connection import Server, ServerUnreachableError, UnexpectedAnswerError


def server_of(archive: Archive, **options: str) -> Server:
    return Server("http://archive.example/dicom-web", transport=ASGITransport(archive.app), **options)


async def test_collections_are_made_changed_and_listed(archive: Archive) -> None:
    server = server_of(archive)
    made = await make(server, {"title": "Knees"})
    changed = await change(server, made["accession"], {"policy": "curated", "rules": {"sites": ["Graz"]}})
    assert (changed["policy"], changed["rules"]["sites"]) == ("curated", ["Graz"])
    assert [each["title"] for each in await fetch_all(server)] == ["Knees", "Default collection"]


async def test_what_the_archive_refuses_is_told_in_its_words(start_archive: StartArchive) -> None:
    async with start_archive(api_key="the-key") as archive:
        with pytest.raises(ServerUnreachableError, match="401"):
            await change(server_of(archive), "default", {"title": "Mine"})
        with pytest.raises(UnexpectedAnswerError, match="licence"):
            await change(server_of(archive, key="the-key"), "default", {"licence": "none"})
        with pytest.raises(UnexpectedAnswerError, match="no such collection"):
            await change(server_of(archive, key="the-key"), "COL-9", {"title": "Mine"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create"], "--title"),
        (["set", "default"], "what is to be different"),
        (["set", "default", "--policy", "x"], "x"),
    ],
)
def test_a_wrong_command_line_says_what_is_missing(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(collections, arguments)
    assert result.exit_code == 2
    assert said in result.output
