"""The OpenAPI document: system routes by FastAPI, DICOMweb resources by hand."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from dicomweb_archive import __version__
from dicomweb_archive.web.dependencies import DICOMWEB
from dicomweb_archive.web.openapi.parameters import PATH_PARAMETERS
from dicomweb_archive.web.openapi.paths import dicomweb_paths, uri_paths
from dicomweb_archive.web.openapi.schemas import SCHEMAS
from dicomweb_archive.web.routers import (
    changes,
    checks,
    collections,
    conflicts,
    decisions,
    edits,
    inventory,
    jobs,
    keys,
    manifests,
    principal,
    publication,
    purges,
    submissions,
    system,
    webhooks,
)

TITLE = "dicomweb-archive"

SERVERS = [
    {"url": "/", "description": "What is published."},
    {
        "url": "/collections/{collection}",
        "description": "What is published of one collection.",
        "variables": {"collection": {"default": "default", "description": "Accession of the collection."}},
    },
    {
        "url": "/submissions/{submission}",
        "description": "One submission, for curators of its collection and for who has opened it.",
        "variables": {"submission": {"default": "submission", "description": "Name of the submission."}},
    },
]
"""What each DICOMweb resource lies below (`wire/roots.py`), in the words of OpenAPI: a path for each would be thrice
the description."""

JSON_ROUTERS = (
    system,
    principal,
    keys,
    jobs,
    changes,
    webhooks,
    collections,
    conflicts,
    manifests,
    decisions,
    submissions,
    publication,
    inventory,
    edits,
    checks,
    purges,
)
"""Routers of JSON resources of our own, which FastAPI describes."""


DESCRIPTION = """An open DICOMweb archive: store, search and retrieve DICOM instances (PS3.18).

Media types and their parameters are negotiated as PS3.18 8.7 says; `docs/conformance.md` has the details."""


def _with_path_parameters(path: str, operations: Mapping[str, Any]) -> dict[str, Any]:
    names = [name for name in PATH_PARAMETERS if f"{{{name}}}" in path]
    parameters = [{"name": name, "in": "path", "required": True, **PATH_PARAMETERS[name]} for name in names]
    return {"parameters": parameters, **operations} if parameters else dict(operations)


@cache
def describe() -> dict[str, Any]:
    """Return the OpenAPI document; the same whatever the settings are, and so made once."""
    document = get_openapi(
        title=TITLE,
        version=__version__,
        description=DESCRIPTION,
        routes=[route for described in JSON_ROUTERS for route in described.router.routes],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    paths = {
        DICOMWEB + path: {"servers": SERVERS, **_with_path_parameters(path, ops)}
        for path, ops in dicomweb_paths().items()
    }
    document["paths"] = {**paths, **uri_paths(), **document["paths"]}
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(SCHEMAS)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    # Either without credentials, or with the key.
    document["security"] = [{}, {"key": []}]
    return document


def install(app: FastAPI) -> None:
    """Make the app serve this description."""
    document = describe()
    # FastAPI asks its app for the document; assigning is the documented way to replace it.
    app.openapi = lambda: document  # type: ignore[method-assign]
