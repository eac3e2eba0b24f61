"""Health, metrics, API pages, and the description of the API."""

import re
from pathlib import Path

import orjson
import pytest
from tests.factories import ct_series
from tests.http.archive import Archive
from tests.http.conftest import StartArchive

from dicomweb_archive.app import create_app
from dicomweb_archive.errors import SetupError
from dicomweb_archive.settings import Settings
from dicomweb_archive.web.openapi.document import describe
from dicomweb_archive.web.routing import ResourceRoute

REPOSITORY = Path(__file__).resolve().parents[2]


async def test_the_root_points_to_the_doors(archive: Archive) -> None:
    answer = await archive.client.get("/")
    assert answer.json()["dicomweb"] == "http://archive.example/dicom-web"
    assert answer.json()["documentation"] == "http://archive.example/docs"


async def test_a_running_archive_is_alive_and_ready(archive: Archive) -> None:
    assert (await archive.client.get("/health/live")).json() == {"status": "alive"}
    answer = await archive.client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "database": True, "storage": True, "room": True}


async def test_a_full_disk_keeps_nobody_from_reading(start_archive: StartArchive) -> None:
    async with start_archive(free_space_watermark_bytes=2**60) as archive:
        answer = await archive.client.get("/health/ready")
        assert answer.status_code == 200
        assert answer.json()["status"] == "degraded"


async def test_without_its_database_the_archive_is_unavailable_and_says_when_to_come_again(
    archive: Archive,
) -> None:
    await archive.app.state.services.health.database.close()
    ready = await archive.client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["database"] is False
    assert (await archive.client.get("/health/live")).status_code == 200
    search = await archive.get("/studies")
    assert search.status_code == 503
    assert search.headers["retry-after"]
    assert (await archive.store(*ct_series(1))).status_code == 503


async def test_metrics_count_requests_by_template(archive: Archive) -> None:
    await archive.store(*ct_series(2), b"bad")
    await archive.get("/studies/1.2.3/metadata")
    text = (await archive.client.get("/metrics")).text
    assert 'dicomweb_requests_total{method="POST",route="/dicom-web/studies",status="202"} 1.0' in text
    assert 'route="/dicom-web/studies/{study}/metadata",status="404"} 1.0' in text
    assert 'dicomweb_store_instances_total{outcome="stored"} 2.0' in text
    assert 'dicomweb_store_instances_total{outcome="refused"} 1.0' in text
    assert "1.2.3" not in text


async def test_the_api_pages_need_no_other_host(archive: Archive) -> None:
    for page in ("/docs", "/redoc"):
        answer = await archive.client.get(page)
        assert answer.status_code == 200
        links = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
        assert links
        assert all(link.startswith("/") for link in links)
        for link in links:
            assert (await archive.client.get(link)).status_code == 200


def test_the_committed_description_is_the_present_one() -> None:
    committed = (REPOSITORY / "openapi" / "openapi.json").read_bytes()
    assert orjson.loads(committed) == describe(), "run `make openapi`"


async def test_the_description_is_served_and_names_every_route(archive: Archive) -> None:
    described = (await archive.client.get("/openapi.json")).json()
    assert described == describe()
    named = {
        (path, method.upper())
        for path, operations in described["paths"].items()
        for method in operations
        if method not in ("parameters", "servers")
    }
    routed = {
        (re.sub(r":\w+}", "}", route.path), method)
        for route in archive.app.routes
        if isinstance(route, ResourceRoute)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert {entry for entry in named if entry[0].startswith(("/dicom-web", "/wado"))} == routed
    assert {("/health/live", "GET"), ("/health/ready", "GET"), ("/metrics", "GET"), ("/", "GET")} <= named


def test_the_description_has_every_parameter_of_a_search() -> None:
    """A standard parameter, or one of ours, that no page of the API shows is one that nobody finds."""
    paths = describe()["paths"]
    searched = {parameter["name"] for parameter in paths["/dicom-web/studies"]["get"]["parameters"]}
    standard = {"fuzzymatching", "includefield", "limit", "offset", "emptyvaluematching", "multiplevaluematching"}
    assert searched == standard | {"match", "accept", "filter", "filter-lang", "text", "orderby", "count", "page_token"}
    counted = {parameter["name"] for parameter in paths["/dicom-web/studies/facets"]["get"]["parameters"]}
    narrowing = {
        "match",
        "filter",
        "filter-lang",
        "text",
        "fuzzymatching",
        "emptyvaluematching",
        "multiplevaluematching",
    }
    assert counted == narrowing | {"field", "interval", "limit", "accept"}


async def test_an_app_without_a_database_says_what_to_set(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path))
    with pytest.raises(SetupError, match="DATABASE_URL"):
        async with app.router.lifespan_context(app):
            pass


async def test_viewers_of_named_origins_may_call(start_archive: StartArchive) -> None:
    async with start_archive(cors_origins=("https://viewer.example",)) as archive:
        preflight = {
            "origin": "https://viewer.example",
            "access-control-request-method": "GET",
            "access-control-request-headers": "accept,authorization,content-encoding",
        }
        answer = await archive.client.options("/dicom-web/studies", headers=preflight)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://viewer.example"
        answer = await archive.get("/studies", headers={"origin": "https://viewer.example"})
        assert answer.headers["access-control-allow-origin"] == "https://viewer.example"
        assert "Warning" in answer.headers["access-control-expose-headers"]
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        foreign = await archive.get("/studies", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers
        # Errors too, or a viewer could not read why.
        broken = await archive.get("/studies/abc", headers={"origin": "https://viewer.example"})
        assert broken.headers["access-control-allow-origin"] == "https://viewer.example"
        # To curate: changes by revision, whose ETags are read, also without a body and where no key is asked for.
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            asked = {
                **preflight,
                "access-control-request-method": method,
                "access-control-request-headers": "if-match,content-type",
            }
            assert (await archive.client.options("/submissions/x/approve", headers=asked)).status_code == 200
        shown = await archive.client.get("/collections/default", headers={"origin": "https://viewer.example"})
        assert {"ETag", "Location"} <= set(shown.headers["access-control-expose-headers"].split(", "))
        for origin, status in (("https://viewer.example", 404), ("https://evil.example", 403)):
            sent = {"origin": origin, "sec-fetch-site": "cross-site"}
            assert (await archive.client.post("/jobs/99999/cancel", headers=sent)).status_code == status


async def test_a_proxy_prefix_is_part_of_every_url(start_archive: StartArchive) -> None:
    async with start_archive(root_path="/archive") as archive:
        for prefix in ("", "/archive"):
            answer = await archive.client.get(f"{prefix}/dicom-web/studies")
            assert answer.status_code == 200
            assert (await archive.client.get(f"{prefix}/static-offline-docs/swagger-ui.css")).status_code == 200
        stored = await archive.store(*ct_series(1))
        location = stored.headers["location"]
        assert location.startswith("http://archive.example/archive/dicom-web/studies/")
        assert (await archive.client.get(location)).status_code == 200
        assert "/archive/openapi.json" in (await archive.client.get("/docs")).text
