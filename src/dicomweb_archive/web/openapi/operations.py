"""Operations of the OpenAPI description: what each family of transactions takes and answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from dicomweb_archive.web.openapi.parameters import (
    ACCEPT,
    FACET_PARAMETERS,
    METADATA_FIELDS,
    NARROWING,
    RANGE,
    RENDERING_PARAMETERS,
    SEARCH_PARAMETERS,
    TAG_PARAMETERS,
    THUMBNAIL_VIEWPORT,
    URI_PARAMETERS,
)
from dicomweb_archive.web.openapi.schemas import (
    BYTES,
    CSV,
    DATA_SETS,
    JSON,
    PARQUET,
    PART10,
    PROBLEM_CONTENT,
    PROBLEMS,
    TEXT,
    XML,
)
from dicomweb_archive.wire.series_list import MOST_SERIES


def _operation(
    tag: str, name: str, summary: str, *, success: Mapping[int, Mapping[str, Any]], problems: Sequence[int]
) -> dict[str, Any]:
    responses: dict[str, Any] = {
        str(status): {"description": "Done.", **({"content": content} if content else {})}
        for status, content in success.items()
    }
    for status in problems:
        reference = {"$ref": "#/components/schemas/Problem"}
        responses[str(status)] = {
            "description": PROBLEMS[status],
            "content": {"application/problem+json": {"schema": reference}},
        }
    return {"tags": [tag], "operationId": name, "summary": summary, "responses": responses}


def search(name: str, summary: str) -> dict[str, Any]:
    content = {JSON: DATA_SETS, XML: BYTES, CSV: TEXT, PARQUET: BYTES}
    operation = _operation("search", name, summary, success={200: content}, problems=(400, 401, 406, 413, 503))
    operation["parameters"] = [{"in": "query", **parameter} for parameter in SEARCH_PARAMETERS] + [ACCEPT]
    return operation


def tags(name: str, summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Tags"}}, CSV: TEXT}
    operation = _operation("search", name, summary, success={200: content}, problems=(400, 401, 404, 406, 413, 503))
    operation["parameters"] = [{"in": "query", **parameter} for parameter in TAG_PARAMETERS] + [ACCEPT]
    return operation


def post_search(name: str, summary: str) -> dict[str, Any]:
    operation = search(f"post_{name}", summary)
    operation["parameters"] = [ACCEPT]
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Search"}}},
    }
    reference = {"$ref": "#/components/schemas/Problem"}
    unsupported = {"description": PROBLEMS[415], "content": {"application/problem+json": {"schema": reference}}}
    operation["responses"]["415"] = unsupported
    return operation


def facets(name: str, summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Facets"}}, CSV: TEXT}
    operation = _operation("search", name, summary, success={200: content}, problems=(400, 401, 406, 413, 503))
    keys = [parameter for parameter in SEARCH_PARAMETERS if parameter["name"] in NARROWING]
    operation["parameters"] = [{"in": "query", **parameter} for parameter in (*FACET_PARAMETERS, *keys)] + [ACCEPT]
    return operation


def retrieve(name: str, summary: str, content: Mapping[str, Any]) -> dict[str, Any]:
    problems = (400, 401, 404, 406, 410, 503)
    operation = _operation("retrieve", name, summary, success={200: content}, problems=problems)
    operation["parameters"] = [ACCEPT]
    return operation


def metadata(name: str, summary: str) -> dict[str, Any]:
    operation = retrieve(name, summary, {JSON: DATA_SETS, XML: BYTES})
    operation["parameters"] = [METADATA_FIELDS, ACCEPT]
    return operation


def capabilities(name: str) -> dict[str, Any]:
    content = {"application/vnd.sun.wadl+xml": TEXT, "application/json": {"schema": {"type": "object"}}}
    operations = {}
    for method, identifier in (("options", name), ("get", f"get_{name}")):
        summary = "Describe what the services can do, as WADL (PS3.18 8.9)."
        operation = _operation("retrieve", identifier, summary, success={200: content}, problems=(400, 406))
        operations[method] = {**operation, "parameters": [ACCEPT]}
    return operations


def series_list() -> dict[str, Any]:
    operation = _operation(
        "retrieve",
        "retrieve_series_list",
        "Retrieve the series of a list as one archive (an extension of ours).",
        success={200: {"application/zip": BYTES}},
        problems=(400, 401, 404, 406, 410, 413, 415, 503),
    )
    uids = {name: {"$ref": "#/components/schemas/UID"} for name in ("StudyInstanceUID", "SeriesInstanceUID")}
    entry = {"type": "object", "required": list(uids), "properties": uids, "additionalProperties": False}
    schema = {"type": "array", "minItems": 1, "maxItems": MOST_SERIES, "items": entry}
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {**operation, "parameters": [ACCEPT]}


def ranged(operation: dict[str, Any]) -> dict[str, Any]:
    """Say that of a single part a range of bytes may be had."""
    operation["parameters"] = [*operation["parameters"], RANGE]
    operation["responses"]["206"] = {"description": "The range asked for, of a single part."}
    operation["responses"]["416"] = {"description": PROBLEMS[416], "content": PROBLEM_CONTENT}
    return operation


_PICTURES = {"image/jpeg": BYTES, "image/png": BYTES, "image/gif": BYTES}
_SEVERAL_PICTURES = {f'multipart/related; type="{name}"': BYTES for name in _PICTURES}
_RENDERED_WHOLE = ("text/html", "text/plain", "application/pdf", "video/mp4", "video/mpeg", "video/H265")


def _rendered(name: str, summary: str, content: Mapping[str, Any]) -> dict[str, Any]:
    operation = retrieve(name, summary, content)
    operation["parameters"] = [{"in": "query", **parameter} for parameter in RENDERING_PARAMETERS] + [ACCEPT]
    return operation


def rendered(name: str, summary: str) -> dict[str, Any]:
    return _rendered(name, summary, _PICTURES | _SEVERAL_PICTURES)


def rendered_instance(name: str, summary: str) -> dict[str, Any]:
    """Describe what is one picture, several, a report as a page, or a document or video that goes as it is."""
    return _rendered(name, summary, _PICTURES | _SEVERAL_PICTURES | dict.fromkeys(_RENDERED_WHOLE, BYTES))


def rendered_set(name: str, summary: str) -> dict[str, Any]:
    return _rendered(name, summary, _SEVERAL_PICTURES | {"multipart/related": BYTES})


def uri(name: str, summary: str) -> dict[str, Any]:
    operation = retrieve(name, summary, _PICTURES | dict.fromkeys((*_RENDERED_WHOLE, "application/dicom"), BYTES))
    operation["parameters"] = [{"in": "query", **parameter} for parameter in URI_PARAMETERS]
    return ranged(operation)


def thumbnail(name: str, summary: str) -> dict[str, Any]:
    operation = retrieve(name, summary, _PICTURES)
    operation["parameters"] = [THUMBNAIL_VIEWPORT, ACCEPT]
    return operation


_STORED = (PART10, "application/dicom", f'multipart/related; type="{JSON}"', JSON, XML, "application/dicom+xml")


def store(name: str, summary: str) -> dict[str, Any]:
    answer = {JSON: {"schema": {"type": "object"}}, XML: BYTES}
    operation = _operation(
        "store", name, summary, success={200: answer, 202: answer}, problems=(400, 401, 406, 409, 413, 415, 503, 507)
    )
    operation["responses"]["409"]["content"] = answer
    operation["requestBody"] = {"required": True, "content": dict.fromkeys(_STORED, BYTES)}
    return operation


def delete(name: str, summary: str) -> dict[str, Any]:
    return _operation("delete", name, summary, success={204: {}}, problems=(400, 401, 404, 410, 503))
