"""Which answers are pages, which are data, and what each of them may do in a browser."""

import pytest

from dicomweb_archive.web.security_headers import SecurityHeaders

PREFIXES = ["", "/archive", "/studies"]


def headers_of(path: str, *, root_path: str = "", cross_origin: bool = False) -> dict[str, str]:
    table = SecurityHeaders(root_path=root_path, cross_origin=cross_origin)
    return {name.decode(): value.decode() for name, value in table.of(root_path + path)}


def policy_of(path: str, root_path: str) -> dict[str, str]:
    directives = headers_of(path, root_path=root_path)["content-security-policy"].split("; ")
    return {name: sources for name, _, sources in (directive.partition(" ") for directive in directives)}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/studies/1.2.3",
        "/collections",
        "/submissions/abc/findings",
        "/webhooks",
        "/status",
        "/sign-in",
        "/sign-out",
        "/assets/a.css",
    ],
    ids=str,
)
def test_our_own_pages_run_and_load_what_lies_beside_them_and_nothing_inline(path: str, prefix: str) -> None:
    policy = policy_of(path, prefix)
    assert policy["default-src"] == "'none'"
    for directive in ("script-src", "style-src", "img-src", "connect-src", "font-src", "form-action"):
        assert policy[directive] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    "path",
    [
        "/dicom-web/studies",
        "/dicom-web/studies/1.2.3",
        "/collections/COL-1/dicom-web/studies/1.2.3",
        "/dicom-web/studies/1.2.3/series/1/instances/1/rendered",
        "/health/live",
        "/metrics",
        "/openapi.json",
        "/nowhere",
        "//studies/1.2.3",
        "/studiesandmore",
        "/docsandmore",
    ],
)
def test_whatever_is_no_page_is_data_that_a_browser_runs_nothing_of(path: str, prefix: str) -> None:
    policy = policy_of(path, prefix)
    assert policy == {"default-src": "'none'", "frame-ancestors": "'none'", "sandbox": ""}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("path", ["/docs", "/docs/oauth2-redirect", "/redoc", "/static-offline-docs/swagger-ui.css"])
def test_the_api_pages_may_run_their_inline_scripts(path: str, prefix: str) -> None:
    policy = policy_of(path, prefix)
    assert "'unsafe-inline'" in policy["default-src"]
    # Their buttons store and delete: no other page may lay itself over them.
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
    assert policy["form-action"] == "'self'"


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("path", ["/ohif", "/ohif/", "/ohif/viewer", "/ohif/app-config.js"])
def test_the_viewer_is_isolated_and_runs_no_inline_script(path: str, prefix: str) -> None:
    headers = headers_of(path, root_path=prefix)
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    policy = policy_of(path, prefix)
    assert policy["script-src"] == "'self' 'unsafe-eval'"
    # Nothing that the viewer holds can be sent to another host.
    assert policy["connect-src"] == "'self' data: blob:"


@pytest.mark.parametrize("path", ["/", "/studies/1", "/docs", "/ohif/", "/dicom-web/studies", "/nowhere"])
def test_no_answer_is_guessed_at_or_tells_where_one_came_from(path: str) -> None:
    headers = headers_of(path)
    assert headers["x-content-type-options"] == "nosniff"
    own_page = path in ("/", "/studies/1")
    # Forms of our own pages name their origin, by which they are known.
    assert headers["referrer-policy"] == ("same-origin" if own_page else "no-referrer")


def test_only_data_may_be_embedded_by_other_origins_where_they_may_call() -> None:
    assert headers_of("/dicom-web/studies")["cross-origin-resource-policy"] == "same-origin"
    shared = headers_of("/dicom-web/studies", cross_origin=True)
    assert shared["cross-origin-resource-policy"] == "cross-origin"
    assert headers_of("/studies/1", cross_origin=True)["cross-origin-resource-policy"] == "same-origin"
