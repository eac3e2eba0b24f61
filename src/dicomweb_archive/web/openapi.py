"""The OpenAPI description: system routes by FastAPI, DICOMweb resources by hand; `python -m` prints it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from dicomweb_archive import __version__
from dicomweb_archive.web.dependencies import DICOMWEB
from dicomweb_archive.web.routers import system
from dicomweb_archive.wire.series_list import MOST_SERIES

TITLE = "dicomweb-archive"
DESCRIPTION = """An open DICOMweb archive: store, search and retrieve DICOM instances (PS3.18).

Media types and their parameters are negotiated as PS3.18 8.7 says; `docs/conformance.md` has the details."""

_JSON = "application/dicom+json"
_XML = 'multipart/related; type="application/dicom+xml"'
_CSV = "text/csv"
_PARQUET = "application/vnd.apache.parquet"
_PART10 = 'multipart/related; type="application/dicom"'
_OCTETS = 'multipart/related; type="application/octet-stream"'
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_TEXT = {"schema": {"type": "string"}}
_DATA_SETS = {"schema": {"type": "array", "items": {"type": "object", "description": "A data set (PS3.18 F.2)."}}}

_STUDY = "/studies/{study}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"

_PROBLEMS: Mapping[int, str] = {
    400: "The request is malformed, or a known parameter has a value that does not fit.",
    401: "Credentials are missing or wrong.",
    404: "There is no such resource.",
    406: "No representation that the client accepts can be had.",
    409: "Nothing was stored; the payload says why for each instance.",
    410: "The resource was deleted.",
    413: "The request, or what it asks for, goes beyond a limit.",
    415: "The payload's media type is not supported.",
    416: "The range holds none of the bytes.",
    503: "The database or the object store is away; try again later.",
    507: "No room is left.",
}

_PATH_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "study": {"description": "Study Instance UID.", "schema": {"$ref": "#/components/schemas/UID"}},
    "series": {"description": "Series Instance UID.", "schema": {"$ref": "#/components/schemas/UID"}},
    "instance": {"description": "SOP Instance UID.", "schema": {"$ref": "#/components/schemas/UID"}},
    "frames": {
        "description": "Frame numbers from 1 on, separated by commas.",
        "schema": {"type": "string", "pattern": "^[1-9][0-9]*(,[1-9][0-9]*)*$"},
    },
    "frame": {"description": "Frame number, from 1.", "schema": {"type": "integer", "minimum": 1}},
    "path": {
        "description": "The element, as its BulkDataURI in the metadata has it.",
        "schema": {"type": "string"},
    },
}

_SEARCH_PARAMETERS: Sequence[Mapping[str, Any]] = (
    {
        "name": "match",
        "description": "Attributes to match, by keyword or tag, dotted through sequences: "
        "`PatientID=123`, `00080060=CT`, `StudyDate=20240101-`.",
        "style": "form",
        "explode": True,
        "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    {
        "name": "includefield",
        "description": "Attributes to return as well, or `all`.",
        "schema": {"type": "array", "items": {"type": "string"}},
    },
    {
        "name": "filter",
        "description": "A boolean filter over any attributes in CQL2 (an extension of ours), beside the keys: "
        "`KVP > 100 AND NOT CASEI(SeriesDescription) LIKE 'localizer%'`.",
        "schema": {"type": "string"},
    },
    {
        "name": "filter-lang",
        "description": "Language of the filter.",
        "schema": {"type": "string", "enum": ["cql2-text", "cql2-json"], "default": "cql2-text"},
    },
    {
        "name": "text",
        "description": "Words that begin words of the texts of one instance, in whatever attributes; phrases of whole "
        'words in quotation marks (an extension of ours): `chest "with contrast"`.',
        "schema": {"type": "string", "maxLength": 256},
    },
    {
        "name": "fuzzymatching",
        "description": "Whether each word of a person name begins a word of the stored one, in any order.",
        "schema": {"type": "boolean"},
    },
    {
        "name": "emptyvaluematching",
        "description": 'Whether `""` asks for attributes without a value.',
        "schema": {"type": "boolean"},
    },
    {
        "name": "multiplevaluematching",
        "description": "Whether values between backslashes must all be there: `ModalitiesInStudy=CT\\PT`.",
        "schema": {"type": "boolean"},
    },
    {"name": "limit", "description": "Size of the page.", "schema": {"type": "integer", "minimum": 0}},
    {"name": "offset", "description": "Results to skip.", "schema": {"type": "integer", "minimum": 0}},
    {
        "name": "orderby",
        "description": "Attributes to sort by, separated by commas, `-` before one that descends (an extension).",
        "schema": {"type": "string"},
    },
    {
        "name": "page_token",
        "description": "Where to go on; taken from the `Link` of the page before, never made up (an extension).",
        "schema": {"type": "string"},
    },
    {
        "name": "count",
        "description": "How results behind the page are counted; cheaply when left out (an extension).",
        "schema": {"type": "string", "enum": ["exact", "none"]},
    },
)
_NARROWING = ("match", "filter", "filter-lang", "text", "fuzzymatching", "emptyvaluematching", "multiplevaluematching")
_TAG_PARAMETERS: Sequence[Mapping[str, Any]] = (
    {
        "name": "prefix",
        "description": "The path begins with this, in tags or keywords.",
        "schema": {"type": "string", "maxLength": 200},
    },
    {
        "name": "q",
        "description": "Path, keyword, name or private creator contain this.",
        "schema": {"type": "string", "maxLength": 200},
    },
    {"name": "limit", "description": "Size of the page.", "schema": {"type": "integer", "minimum": 0}},
    {"name": "offset", "description": "Attributes to skip.", "schema": {"type": "integer", "minimum": 0}},
)
_FACET_PARAMETERS: Sequence[Mapping[str, Any]] = (
    {
        "name": "field",
        "description": "Attributes whose values are counted, by keyword, tag or dotted path, with commas between.",
        "required": True,
        "schema": {"type": "string"},
    },
    {
        "name": "limit",
        "description": "Most values of each field.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20},
    },
    {
        "name": "interval",
        "description": "Bins: `StudyDate:year,SliceThickness:0.5`; of dates year or month.",
        "schema": {"type": "string"},
    },
)
_RENDERING_PARAMETERS: Sequence[Mapping[str, Any]] = (
    {
        "name": "window",
        "description": "`center,width,function` with function linear, linear-exact or sigmoid.",
        "schema": {"type": "string"},
    },
    {
        "name": "viewport",
        "description": "`vw,vh` or `vw,vh,sx,sy,sw,sh`; negative sw or sh flip.",
        "schema": {"type": "string"},
    },
    {
        "name": "quality",
        "description": "Of JPEG.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100},
    },
)
_THUMBNAIL_VIEWPORT = {
    "name": "viewport",
    "in": "query",
    "description": "`vw,vh`: the size that the thumbnail fits into.",
    "schema": {"type": "string"},
}
_RANGE = {
    "name": "Range",
    "in": "header",
    "description": "One range of bytes, of a single part (RFC 9110 14).",
    "schema": {"type": "string"},
}
_PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_ACCEPT = {
    "name": "accept",
    "in": "query",
    "description": "Media types, for links that cannot set the Accept header (PS3.18 8.3.3.1).",
    "schema": {"type": "string"},
}


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
            "description": _PROBLEMS[status],
            "content": {"application/problem+json": {"schema": reference}},
        }
    return {"tags": [tag], "operationId": name, "summary": summary, "responses": responses}


def _search(name: str, summary: str) -> dict[str, Any]:
    content = {_JSON: _DATA_SETS, _XML: _BYTES, _CSV: _TEXT, _PARQUET: _BYTES}
    operation = _operation("search", name, summary, success={200: content}, problems=(400, 401, 406, 413, 503))
    operation["parameters"] = [{"in": "query", **parameter} for parameter in _SEARCH_PARAMETERS] + [_ACCEPT]
    return operation


def _tags(name: str, summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Tags"}}, _CSV: _TEXT}
    operation = _operation("search", name, summary, success={200: content}, problems=(400, 401, 404, 406, 413, 503))
    operation["parameters"] = [{"in": "query", **parameter} for parameter in _TAG_PARAMETERS] + [_ACCEPT]
    return operation


def _post_search(name: str, summary: str) -> dict[str, Any]:
    operation = _search(f"post_{name}", summary)
    operation["parameters"] = [_ACCEPT]
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Search"}}},
    }
    reference = {"$ref": "#/components/schemas/Problem"}
    unsupported = {"description": _PROBLEMS[415], "content": {"application/problem+json": {"schema": reference}}}
    operation["responses"]["415"] = unsupported
    return operation


def _post_searches() -> dict[str, dict[str, Any]]:
    """Every search again, with its parameters in a body."""
    return {
        f"{path}/search": {"post": _post_search(name, f"Search for {what}, with parameters in a body (an extension).")}
        for path, name, what in (
            ("/studies", "search_studies", "studies"),
            ("/series", "search_all_series", "series of all studies"),
            ("/instances", "search_all_instances", "instances of all studies"),
            (f"{_STUDY}/series", "search_series", "series of a study"),
            (f"{_STUDY}/instances", "search_instances_of_study", "instances of a study"),
            (f"{_SERIES}/instances", "search_instances", "instances of a series"),
        )
    }


def _facets(name: str, summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Facets"}}, _CSV: _TEXT}
    operation = _operation("search", name, summary, success={200: content}, problems=(400, 401, 406, 413, 503))
    keys = [parameter for parameter in _SEARCH_PARAMETERS if parameter["name"] in _NARROWING]
    operation["parameters"] = [{"in": "query", **parameter} for parameter in (*_FACET_PARAMETERS, *keys)] + [_ACCEPT]
    return operation


def _retrieve(name: str, summary: str, content: Mapping[str, Any]) -> dict[str, Any]:
    problems = (400, 401, 404, 406, 410, 503)
    operation = _operation("retrieve", name, summary, success={200: content}, problems=problems)
    operation["parameters"] = [_ACCEPT]
    return operation


def _capabilities(name: str) -> dict[str, Any]:
    content = {"application/vnd.sun.wadl+xml": _TEXT, "application/json": {"schema": {"type": "object"}}}
    operations = {}
    for method, identifier in (("options", name), ("get", f"get_{name}")):
        summary = "Describe what the services can do, as WADL (PS3.18 8.9)."
        operation = _operation("retrieve", identifier, summary, success={200: content}, problems=(400, 406))
        operations[method] = {**operation, "parameters": [_ACCEPT]}
    return operations


def _series_list() -> dict[str, Any]:
    operation = _operation(
        "retrieve",
        "retrieve_series_list",
        "Retrieve the series of a list as one archive (an extension of ours).",
        success={200: {"application/zip": _BYTES}},
        problems=(400, 401, 404, 406, 410, 413, 415, 503),
    )
    uids = {name: {"$ref": "#/components/schemas/UID"} for name in ("StudyInstanceUID", "SeriesInstanceUID")}
    entry = {"type": "object", "required": list(uids), "properties": uids, "additionalProperties": False}
    schema = {"type": "array", "minItems": 1, "maxItems": MOST_SERIES, "items": entry}
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {**operation, "parameters": [_ACCEPT]}


def _ranged(operation: dict[str, Any]) -> dict[str, Any]:
    """Say that of a single part a range of bytes may be had."""
    operation["parameters"] = [*operation["parameters"], _RANGE]
    operation["responses"]["206"] = {"description": "The range asked for, of a single part."}
    operation["responses"]["416"] = {"description": _PROBLEMS[416], "content": _PROBLEM_CONTENT}
    return operation


def _bulk_resources() -> dict[str, dict[str, Any]]:
    content = {_OCTETS: _BYTES}
    return {
        f"{path}/{suffix}": {"get": _retrieve(f"retrieve_{level}_{name}", f"Retrieve {what} of {whose}.", content)}
        for suffix, name, what in (
            ("bulkdata", "bulkdata", "all bulk values"),
            ("pixeldata", "pixel_data", "the pixel data"),
        )
        for path, level, whose in (
            (_STUDY, "study", "a study"),
            (_SERIES, "series", "a series"),
            (_INSTANCE, "instance", "an instance"),
        )
    }


def _rendered(name: str, summary: str, **documents: Any) -> dict[str, Any]:
    pictures = {"image/jpeg": _BYTES, "image/png": _BYTES, "image/gif": _BYTES}
    operation = _retrieve(name, summary, pictures | documents)
    operation["parameters"] = [{"in": "query", **parameter} for parameter in _RENDERING_PARAMETERS] + [_ACCEPT]
    return operation


def _thumbnail(name: str, summary: str) -> dict[str, Any]:
    operation = _rendered(name, summary)
    operation["parameters"] = [_THUMBNAIL_VIEWPORT, _ACCEPT]
    return operation


def _store(name: str, summary: str) -> dict[str, Any]:
    answer = {_JSON: {"schema": {"type": "object"}}, _XML: _BYTES}
    operation = _operation(
        "store", name, summary, success={200: answer, 202: answer}, problems=(400, 401, 406, 409, 413, 415, 503, 507)
    )
    operation["responses"]["409"]["content"] = answer
    operation["requestBody"] = {"required": True, "content": {_PART10: _BYTES, "application/dicom": _BYTES}}
    return operation


def _delete(name: str, summary: str) -> dict[str, Any]:
    return _operation("delete", name, summary, success={204: {}}, problems=(400, 401, 404, 410, 503))


def _dicomweb_paths() -> dict[str, dict[str, Any]]:
    instances = {_PART10: _BYTES, "application/zip": _BYTES}
    one_instance = {**instances, "application/dicom": _BYTES}
    metadata = {_JSON: _DATA_SETS, _XML: _BYTES}
    octets = {_OCTETS: _BYTES, "application/octet-stream": _BYTES}
    return {
        "/": _capabilities("retrieve_capabilities"),
        "": _capabilities("retrieve_capabilities_of_base"),
        "/studies": {
            "get": _search("search_studies", "Search for studies (PS3.18 10.6)."),
            "post": _store("store_instances", "Store instances (PS3.18 10.5)."),
        },
        "/series": {"get": _search("search_all_series", "Search for series of all studies.")},
        "/instances": {"get": _search("search_all_instances", "Search for instances of all studies.")},
        f"{_STUDY}/series": {"get": _search("search_series", "Search for series of a study.")},
        f"{_STUDY}/instances": {"get": _search("search_instances_of_study", "Search for instances of a study.")},
        f"{_SERIES}/instances": {"get": _search("search_instances", "Search for instances of a series.")},
        **_post_searches(),
        "/studies/facets": {"get": _facets("count_studies", "Count values among studies (an extension of ours).")},
        "/series/facets": {"get": _facets("count_series", "Count values among series (an extension of ours).")},
        "/instances/facets": {
            "get": _facets("count_instances", "Count values among instances (an extension of ours).")
        },
        "/tags": {"get": _tags("list_tags", "List the attributes that there are (an extension of ours).")},
        f"{_STUDY}/tags": {
            "get": _tags("list_tags_of_study", "List the attributes of a study (an extension of ours).")
        },
        _STUDY: {
            "get": _retrieve("retrieve_study", "Retrieve the instances of a study (PS3.18 10.4).", instances),
            "post": _store("store_instances_of_study", "Store instances of one study."),
            "delete": _delete("delete_study", "Delete a study (an extension of ours)."),
        },
        _SERIES: {
            "get": _retrieve("retrieve_series", "Retrieve the instances of a series.", instances),
            "delete": _delete("delete_series", "Delete a series (an extension of ours)."),
        },
        _INSTANCE: {
            "get": _ranged(_retrieve("retrieve_instance", "Retrieve an instance.", one_instance)),
            "delete": _delete("delete_instance", "Delete an instance (an extension of ours)."),
        },
        "/series/zip": {"post": _series_list()},
        f"{_STUDY}/metadata": {
            "get": _retrieve("retrieve_study_metadata", "Retrieve the metadata of a study's instances.", metadata)
        },
        f"{_SERIES}/metadata": {
            "get": _retrieve("retrieve_series_metadata", "Retrieve the metadata of a series' instances.", metadata)
        },
        f"{_INSTANCE}/metadata": {
            "get": _retrieve("retrieve_instance_metadata", "Retrieve the metadata of an instance.", metadata)
        },
        f"{_INSTANCE}/frames/{{frames}}": {
            "get": _ranged(_retrieve("retrieve_frames", "Retrieve frames of an instance.", octets))
        },
        f"{_INSTANCE}/rendered": {
            "get": _rendered(
                "retrieve_rendered_instance",
                "Retrieve the first frame of an instance as a picture, or its PDF document.",
                **{"application/pdf": _BYTES},
            )
        },
        f"{_INSTANCE}/frames/{{frame}}/rendered": {
            "get": _rendered("retrieve_rendered_frame", "Retrieve a frame as a picture (PS3.18 10.4.1.1.3).")
        },
        f"{_STUDY}/thumbnail": {
            "get": _thumbnail("retrieve_study_thumbnail", "Retrieve a small picture of a study (PS3.18 10.4.1.1.4).")
        },
        f"{_SERIES}/thumbnail": {
            "get": _thumbnail("retrieve_series_thumbnail", "Retrieve a small picture of a series.")
        },
        f"{_INSTANCE}/thumbnail": {
            "get": _thumbnail("retrieve_instance_thumbnail", "Retrieve a small picture of an instance.")
        },
        f"{_INSTANCE}/frames/{{frame}}/thumbnail": {
            "get": _thumbnail("retrieve_frame_thumbnail", "Retrieve a small picture of a frame.")
        },
        f"{_INSTANCE}/bulkdata/{{path}}": {
            "get": _ranged(_retrieve("retrieve_bulkdata", "Retrieve a bulk value that metadata refer to.", octets))
        },
        **_bulk_resources(),
    }


def _with_path_parameters(path: str, operations: Mapping[str, Any]) -> dict[str, Any]:
    names = [name for name in _PATH_PARAMETERS if f"{{{name}}}" in path]
    parameters = [{"name": name, "in": "path", "required": True, **_PATH_PARAMETERS[name]} for name in names]
    return {"parameters": parameters, **operations} if parameters else dict(operations)


def describe() -> dict[str, Any]:
    """Return the OpenAPI document; the same whatever the settings are."""
    document = get_openapi(
        title=TITLE,
        version=__version__,
        description=DESCRIPTION,
        routes=system.router.routes,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    paths = {DICOMWEB + path: _with_path_parameters(path, ops) for path, ops in _dicomweb_paths().items()}
    document["paths"] = {**paths, **document["paths"]}
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(_SCHEMAS)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    # Either without credentials, or with the key.
    document["security"] = [{}, {"key": []}]
    return document


_SCHEMAS = {
    "UID": {"type": "string", "maxLength": 64, "pattern": r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*$"},
    "Search": {
        "type": "object",
        "description": "Parameters of a search by name, as in a query string; attributes to match among them.",
        "properties": {
            "filter": {"type": ["object", "string"], "description": "CQL2, as JSON or as text."},
            "filter-lang": {"type": "string", "enum": ["cql2-text", "cql2-json"]},
            "text": {"type": "string", "maxLength": 256},
            "includefield": {"type": ["array", "string"], "items": {"type": "string"}},
            "limit": {"type": "integer", "minimum": 0},
            "offset": {"type": "integer", "minimum": 0},
            "orderby": {"type": ["array", "string"], "items": {"type": "string"}},
            "count": {"type": "string", "enum": ["exact", "none"]},
            "page_token": {"type": "string", "description": "Of the page before; not beside offset."},
        },
        "additionalProperties": {"type": ["string", "number", "boolean", "array"]},
        "examples": [
            {
                "filter": {"op": ">", "args": [{"property": "KVP"}, 100]},
                "Modality": "CT",
                "includefield": ["StudyDescription"],
                "limit": 10,
            }
        ],
    },
    "Tags": {
        "type": "object",
        "required": ["total", "series", "complete", "tags"],
        "properties": {
            "total": {"type": "integer", "description": "How many attributes pass the filter."},
            "series": {"type": "integer", "description": "How many series there are."},
            "complete": {"type": "boolean", "description": "Whether every series has been counted."},
            "tags": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "path": {"type": "string", "description": "Tags joined by dots, as a search writes them."},
                        "keyword": {"type": ["string", "null"]},
                        "name": {"type": ["string", "null"]},
                        "vr": {"type": "string"},
                        "private_creator": {"type": ["string", "null"]},
                        "series": {"type": "integer", "description": "In how many series it occurs."},
                        "varies": {"type": "boolean"},
                        "varies_in": {"type": "integer", "description": "In how many series it varies."},
                        "creators": {
                            "type": "object",
                            "description": "Parameters that a search has to say with a private path.",
                            "additionalProperties": {"type": "string"},
                        },
                    },
                },
            },
        },
    },
    "Facets": {
        "type": "object",
        "required": ["level", "total", "facets"],
        "properties": {
            "level": {"type": "string", "enum": ["study", "series", "instance"]},
            "total": {"type": "integer", "description": "How many match."},
            "facets": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "field": {"type": "string", "description": "As it was asked for."},
                        "vr": {"type": "string"},
                        "distinct": {"type": "integer", "description": "How many values there are altogether."},
                        "values": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "properties": {
                                    "value": {"type": ["string", "number"]},
                                    "upto": {"type": "number", "description": "Where a bin of numbers ends."},
                                    "count": {"type": "integer", "description": "How many hold it."},
                                },
                            },
                        },
                    },
                },
            },
        },
    },
    "Problem": {
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"type": "string", "format": "uri", "description": "Stable name of the kind of problem."},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "request_id": {"type": "string", "description": "The id under which the log has it."},
        },
    },
}


def install(app: FastAPI) -> None:
    """Make the app serve this description."""
    document = describe()
    # FastAPI asks its app for the document; assigning is the documented way to replace it.
    app.openapi = lambda: document  # type: ignore[method-assign]


def main() -> None:
    """Write the description to the file named by the first argument, or to standard output."""
    text = orjson.dumps(describe(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_bytes(text)
    else:
        sys.stdout.buffer.write(text)


if __name__ == "__main__":
    main()
