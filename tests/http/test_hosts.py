"""An archive without a key answers only to names that no page of the web can take for itself (DNS rebinding)."""

import httpx
import pytest
from tests.factories import ct_series
from tests.http.archive import ROOT, Archive
from tests.http.conftest import StartArchive

HARMLESS = [
    "localhost",
    "LOCALHOST:8080",
    "localhost.",
    "archive.localhost:8000",
    "127.0.0.1:8000",
    "192.0.2.7",
    "[::1]:8000",
    "[2001:db8::192.0.2.7]",
]
FOREIGN = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "notlocalhost",
    "127.0.0.1.evil.example",
    "127.1",
    "0x7f000001",
    "256.0.0.1",
    "localhost@evil.example",
    "evil.example/localhost",
    "",
]


async def ask(archive: Archive, host: str, method: str = "GET", path: str = f"{ROOT}/studies") -> httpx.Response:
    return await archive.client.request(method, path, headers={"host": host})


@pytest.mark.parametrize("host", HARMLESS)
async def test_an_open_archive_answers_to_this_machine_and_to_addresses(start_archive: StartArchive, host: str) -> None:
    async with start_archive(public_url=None) as archive:
        assert (await ask(archive, host)).status_code == 200


@pytest.mark.parametrize("host", FOREIGN, ids=range(len(FOREIGN)))
async def test_an_open_archive_answers_to_no_name_that_others_can_give_it(
    start_archive: StartArchive, host: str
) -> None:
    async with start_archive(public_url=None) as archive:
        answer = await ask(archive, host)
        assert answer.status_code == 421
        assert answer.json()["type"].endswith(":misdirected")
        assert "evil" not in answer.text
        assert "DICOMWEB_ARCHIVE_ALLOWED_HOSTS" in answer.json()["detail"]


async def test_a_foreign_name_reads_stores_and_deletes_nothing(start_archive: StartArchive) -> None:
    async with start_archive(public_url=None) as archive:
        local = {"host": "localhost:8000"}
        assert (await archive.store(*ct_series(1), headers=local)).status_code == 200
        (study,) = (await archive.get("/studies", headers=local)).json()
        uid = study["0020000D"]["Value"][0]
        statuses = [
            (await ask(archive, "evil.example", method, path)).status_code
            for method, path in (
                ("GET", "/"),
                ("GET", f"/studies/{uid}"),
                ("GET", "/status"),
                ("GET", "/ohif/"),
                ("GET", "/metrics"),
                ("GET", f"{ROOT}/studies/{uid}"),
                ("GET", f"{ROOT}/studies/{uid}/thumbnail"),
                ("OPTIONS", f"{ROOT}/studies/{uid}"),
                ("DELETE", f"{ROOT}/studies/{uid}"),
                ("GET", "/nowhere"),
            )
        ]
        statuses.append((await archive.store(*ct_series(1, study=2), headers={"host": "evil.example"})).status_code)
        assert set(statuses) == {421}
        assert len((await archive.get("/studies", headers=local)).json()) == 1


async def test_two_hosts_in_a_request_are_none(start_archive: StartArchive) -> None:
    async with start_archive(public_url=None) as archive:
        hosts = [("host", "localhost"), ("host", "evil.example")]
        assert (await archive.get("/studies", headers=hosts)).status_code == 421


async def test_the_public_name_and_those_of_the_setting_are_answered_to(start_archive: StartArchive) -> None:
    async with start_archive(
        public_url="https://Images.example.org:8443", allowed_hosts="Archive, host.docker.internal"
    ) as archive:
        for host in ("images.example.org:8443", "images.example.org", "archive:8000", "HOST.docker.internal."):
            assert (await ask(archive, host)).status_code == 200
        for host in ("example.org", "x.images.example.org", "archive.example"):
            assert (await ask(archive, host)).status_code == 421


async def test_a_star_lets_every_name_pass(start_archive: StartArchive) -> None:
    async with start_archive(public_url=None, allowed_hosts="*") as archive:
        assert (await ask(archive, "anything.example")).status_code == 200


async def test_with_a_key_names_are_checked_only_when_some_are_set(start_archive: StartArchive) -> None:
    async with start_archive(public_url=None, api_key="key") as archive:
        assert (await ask(archive, "pacs.example")).status_code == 200
    async with start_archive(public_url=None, api_key="key", allowed_hosts="pacs.example") as archive:
        assert (await ask(archive, "pacs.example:8000")).status_code == 200
        assert (await ask(archive, "evil.example")).status_code == 421


async def test_a_program_without_a_host_is_answered(start_archive: StartArchive) -> None:
    async with start_archive(public_url=None) as archive:
        request = httpx.Request("GET", "http://ignored.example/health/live")
        del request.headers["host"]
        assert (await archive.client.send(request)).status_code == 200
