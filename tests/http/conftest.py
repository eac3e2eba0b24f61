"""The whole archive in process: a real PostgreSQL, a temporary folder, requests over ASGI."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.database import database_server, database_url
from tests.http.archive import Archive
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


@pytest.fixture
def start_archive(database_url: str, tmp_path: Path, small_viewer: Path) -> StartArchive:
    """Start archives with settings of the test's own."""

    @asynccontextmanager
    async def start(**overrides: Any) -> AsyncIterator[Archive]:
        chosen: dict[str, Any] = {
            "data_dir": tmp_path,
            "database_url": database_url,
            "public_url": "http://archive.example",
            "free_space_watermark_bytes": 0,
            # Each start reads all of it: of the real one some hundred files.
            "viewer_dir": small_viewer,
            # Nor is there work beside the requests, for which an archive looks as soon as it starts.
            "job_slots": 0,
            # On a machine that is busy enough, any search takes longer than it may take by default.
            "search_timeout_seconds": 60,
            **overrides,
        }
        settings = Settings(**chosen)
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://archive.example") as client:
                yield Archive(app, client, settings)

    return start


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An open, empty archive."""
    async with start_archive() as archive:
        yield archive
