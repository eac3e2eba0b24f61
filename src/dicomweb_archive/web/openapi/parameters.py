"""Parameters of the OpenAPI description: of paths, searches, facets and pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

from dicomweb_archive.wire.rendering import COLOUR_SPACES

PATH_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
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
SEARCH_PARAMETERS: Sequence[Mapping[str, Any]] = (
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
METADATA_FIELDS = {
    "name": "includefield",
    "in": "query",
    "description": "Attributes wanted of each instance beside its UIDs, all without it (an extension of ours): "
    "keywords, tags, and dotted paths, by which sequences come whole.",
    "schema": {"type": "array", "items": {"type": "string"}},
}
NARROWING = ("match", "filter", "filter-lang", "text", "fuzzymatching", "emptyvaluematching", "multiplevaluematching")
TAG_PARAMETERS: Sequence[Mapping[str, Any]] = (
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
FACET_PARAMETERS: Sequence[Mapping[str, Any]] = (
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
RENDERING_PARAMETERS: Sequence[Mapping[str, Any]] = (
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
    {
        "name": "annotation",
        "description": "What is written into the corners: `patient`, `technique` or both, separated by a comma.",
        "schema": {"type": "string", "pattern": "^(patient|technique)(,(patient|technique))?$"},
    },
    {
        "name": "iccprofile",
        "description": "The colours described as they are, or converted to a space and described; not of GIF.",
        "schema": {"type": "string", "enum": ["no", "yes", *COLOUR_SPACES], "default": "no"},
    },
)
URI_PARAMETERS: Sequence[Mapping[str, Any]] = (
    {"name": "requestType", "required": True, "schema": {"type": "string", "enum": ["WADO"]}},
    *(
        {"name": f"{name}UID", "required": True, "schema": {"$ref": "#/components/schemas/UID"}}
        for name in ("study", "series", "object")
    ),
    {
        "name": "contentType",
        "description": "`application/dicom`, or rendered media types with weights; what Accept names when left out.",
        "schema": {"type": "string"},
    },
    {"name": "charset", "description": "Character sets; none is converted.", "schema": {"type": "string"}},
    {
        "name": "transferSyntax",
        "description": "UID of one transfer syntax, or `*` for the stored one (an extension of ours).",
        "schema": {"type": "string"},
    },
    {"name": "anonymize", "description": "Refused with 406.", "schema": {"type": "string", "enum": ["yes"]}},
    {"name": "frameNumber", "description": "Frame to render.", "schema": {"type": "integer", "minimum": 1}},
    {"name": "imageAnnotation", "description": "`patient`, `technique`.", "schema": {"type": "string"}},
    {
        "name": "imageQuality",
        "description": "Of JPEG.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100},
    },
    {"name": "rows", "description": "Largest height.", "schema": {"type": "integer", "minimum": 1, "maximum": 4096}},
    {"name": "columns", "description": "Largest width.", "schema": {"type": "integer", "minimum": 1, "maximum": 4096}},
    {
        "name": "region",
        "description": "`xmin,ymin,xmax,ymax` in fractions of the image.",
        "schema": {"type": "string"},
    },
    {"name": "windowCenter", "description": "With `windowWidth`.", "schema": {"type": "number"}},
    {"name": "windowWidth", "description": "With `windowCenter`.", "schema": {"type": "number", "minimum": 1}},
    {
        "name": "presentationUID",
        "description": "Refused with 406, as is `presentationSeriesUID`.",
        "schema": {"$ref": "#/components/schemas/UID"},
    },
    {"name": "presentationSeriesUID", "schema": {"$ref": "#/components/schemas/UID"}},
)
THUMBNAIL_VIEWPORT = {
    "name": "viewport",
    "in": "query",
    "description": "`vw,vh`: the size that the thumbnail fits into.",
    "schema": {"type": "string"},
}
RANGE = {
    "name": "Range",
    "in": "header",
    "description": "One range of bytes, of a single part (RFC 9110 14).",
    "schema": {"type": "string"},
}
ACCEPT = {
    "name": "accept",
    "in": "query",
    "description": "Media types, for links that cannot set the Accept header (PS3.18 8.3.3.1).",
    "schema": {"type": "string"},
}
