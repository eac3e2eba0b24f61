"""A real server on loopback: searches end in the database when their client has gone."""

import asyncio

import asyncpg
import pytest
from tests.factories import ct_series
from tests.http.conftest import StartArchive
from tests.http.served import eventually, serving

from dicomweb_archive.index.database.engine import asyncpg_url

SEARCHES = {
    "a search": b"GET /dicom-web/studies?PatientName=*a*",
    "an export": b"GET /dicom-web/instances?accept=text/csv&includefield=PatientID",
    "facets": b"GET /dicom-web/studies/facets?field=Modality",
    "the home page": b"GET /?patient=a",
}
# The figures of the home page are read for all who look at it at once, so that they go on is right.
RUNNING = """
select count(*) > 0 from pg_stat_activity where datname = current_database() and application_name = 'dicomweb-archive'
and state = 'active' and query not like '%sum(%'
"""


@pytest.mark.parametrize("request_line", SEARCHES.values(), ids=SEARCHES.keys())
async def test_a_search_ends_in_the_database_when_its_client_goes(
    start_archive: StartArchive, database_url: str, request_line: bytes
) -> None:
    accept = b"text/html" if b"/?" in request_line else b"*/*"
    async with serving(start_archive, search_timeout_seconds=60) as served:
        assert (await served.archive.store(*ct_series(1))).status_code == 200
        locking, watching = [await asyncpg.connect(asyncpg_url(database_url)) for _ in range(2)]

        async def is_running() -> bool:
            return bool(await watching.fetchval(RUNNING))

        async def has_ended() -> bool:
            return not await is_running()

        try:
            # What reads studies waits for this lock, as long as any search may take.
            async with locking.transaction():
                await locking.execute("lock table study in access exclusive mode")
                _, writer = await asyncio.open_connection("127.0.0.1", served.port)
                writer.write(request_line + b" HTTP/1.1\r\nHost: archive\r\nAccept: " + accept + b"\r\n\r\n")
                await writer.drain()
                await eventually(is_running)
                writer.transport.abort()
                await eventually(has_ended)
        finally:
            await locking.close()
            await watching.close()
        answer = await served.send(b"GET /dicom-web/studies HTTP/1.1\r\nHost: archive\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
