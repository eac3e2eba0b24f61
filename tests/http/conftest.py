"""The whole archive in process: a real PostgreSQL, a temporary folder, requests over ASGI."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.database import TestServer, database_server, database_url
from tests.http.archive import ROOT, Archive, values_of
from tests.viewer_builds import write_tarball

from dicomweb_archive.app import create_app
from dicomweb_archive.cli.viewer.installation import install_viewer
from dicomweb_archive.cli.viewer.release import Release
from dicomweb_archive.settings import Settings

__all__ = ["database_server", "database_url"]

StartArchive = Callable[..., AbstractAsyncContextManager[Archive]]


@pytest.fixture(scope="session")
def small_viewer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installed viewer of a few small files."""
    folder = tmp_path_factory.mktemp("viewer")
    digest = write_tarball(folder / "build.tgz")
    install_viewer(folder / "build.tgz", folder / "viewer", Release("@ohif/app", None, digest))
    return folder / "viewer"


@asynccontextmanager
async def _started(**chosen: Any) -> AsyncIterator[Archive]:
    settings = Settings(
        **{
            "public_url": "http://archive.example",
            "free_space_watermark_bytes": 0,
            # There is no work beside the requests, for which an archive looks as soon as it starts.
            "job_slots": 0,
            # On a machine that is busy enough, any search takes longer than it may take by default.
            "search_timeout_seconds": 60,
            **chosen,
        }
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://archive.example") as client:
            yield Archive(app, client, settings)


@pytest.fixture
def start_archive(database_url: str, tmp_path: Path, small_viewer: Path) -> StartArchive:
    """Start archives with settings of the test's own."""

    def start(**overrides: Any) -> AbstractAsyncContextManager[Archive]:
        places = {"data_dir": tmp_path, "database_url": database_url, "viewer_dir": small_viewer}
        return _started(**{**places, **overrides})

    return start


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An open, empty archive."""
    async with start_archive() as archive:
        yield archive


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_archive(
    database_server: TestServer, tmp_path_factory: pytest.TempPathFactory, small_viewer: Path
) -> AsyncIterator[Archive]:
    """An open archive for a whole module, in whose loop its tests run too: they say so by a mark.

    A decoding process takes most of a second to start, and this one starts it once.
    """
    name = await database_server.borrow_database()
    url = database_server.url_of(name)
    async with _started(
        data_dir=tmp_path_factory.mktemp("shared"), database_url=url, viewer_dir=small_viewer
    ) as shared:
        yield shared
    database_server.return_database(name)


@pytest_asyncio.fixture(loop_scope="module")
async def emptied_archive(shared_archive: Archive) -> AsyncIterator[Archive]:
    """The archive of the module, from which everything is deleted after the test."""
    yield shared_archive
    for study in (await shared_archive.get("/studies")).json():
        (uid,) = values_of(study, "0020000D")
        assert (await shared_archive.client.delete(f"{ROOT}/studies/{uid}")).status_code == 204
