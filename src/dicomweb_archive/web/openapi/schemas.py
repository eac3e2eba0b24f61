"""Schemas and contents of the OpenAPI description, and what each problem status means."""

from collections.abc import Mapping

JSON = "application/dicom+json"
XML = 'multipart/related; type="application/dicom+xml"'
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
PART10 = 'multipart/related; type="application/dicom"'
OCTETS = 'multipart/related; type="application/octet-stream"'
BYTES = {"schema": {"type": "string", "format": "binary"}}
TEXT = {"schema": {"type": "string"}}
DATA_SETS = {"schema": {"type": "array", "items": {"type": "object", "description": "A data set (PS3.18 F.2)."}}}
PROBLEMS: Mapping[int, str] = {
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
PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
SCHEMAS = {
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
