"""Paths of the DICOMweb resources (PS3.18 10), each with its operations."""

from typing import Any

from dicomweb_archive.web.dependencies import WADO_URI
from dicomweb_archive.web.openapi.operations import (
    capabilities,
    delete,
    facets,
    metadata,
    post_search,
    ranged,
    rendered,
    rendered_instance,
    rendered_set,
    retrieve,
    search,
    series_list,
    store,
    tags,
    thumbnail,
    uri,
)
from dicomweb_archive.web.openapi.schemas import BYTES, OCTETS, PART10
from dicomweb_archive.wire.media_types import FRAME_MEDIA_TYPES

_STUDY = "/studies/{study}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"


def _post_searches() -> dict[str, dict[str, Any]]:
    """Every search again, with its parameters in a body."""
    return {
        f"{path}/search": {"post": post_search(name, f"Search for {what}, with parameters in a body (an extension).")}
        for path, name, what in (
            ("/studies", "search_studies", "studies"),
            ("/series", "search_all_series", "series of all studies"),
            ("/instances", "search_all_instances", "instances of all studies"),
            (f"{_STUDY}/series", "search_series", "series of a study"),
            (f"{_STUDY}/instances", "search_instances_of_study", "instances of a study"),
            (f"{_SERIES}/instances", "search_instances", "instances of a series"),
        )
    }


def _bulk_resources() -> dict[str, dict[str, Any]]:
    content = {OCTETS: BYTES}
    return {
        f"{path}/{suffix}": {"get": retrieve(f"retrieve_{level}_{name}", f"Retrieve {what} of {whose}.", content)}
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


def uri_paths() -> dict[str, dict[str, Any]]:
    return {WADO_URI: {"get": uri("retrieve_by_uri", "Retrieve an instance by WADO-URI (PS3.18 9).")}}


def dicomweb_paths() -> dict[str, dict[str, Any]]:
    instances = {PART10: BYTES, "application/zip": BYTES}
    one_instance = {**instances, "application/dicom": BYTES}
    octets = {OCTETS: BYTES, "application/octet-stream": BYTES}
    frames = octets | dict.fromkeys(sorted({*FRAME_MEDIA_TYPES.values()}), BYTES)
    return {
        "/": capabilities("retrieve_capabilities"),
        "": capabilities("retrieve_capabilities_of_base"),
        "/studies": {
            "get": search("search_studies", "Search for studies (PS3.18 10.6)."),
            "post": store("store_instances", "Store instances (PS3.18 10.5)."),
        },
        "/series": {"get": search("search_all_series", "Search for series of all studies.")},
        "/instances": {"get": search("search_all_instances", "Search for instances of all studies.")},
        f"{_STUDY}/series": {"get": search("search_series", "Search for series of a study.")},
        f"{_STUDY}/instances": {"get": search("search_instances_of_study", "Search for instances of a study.")},
        f"{_SERIES}/instances": {"get": search("search_instances", "Search for instances of a series.")},
        **_post_searches(),
        "/studies/facets": {"get": facets("count_studies", "Count values among studies (an extension of ours).")},
        "/series/facets": {"get": facets("count_series", "Count values among series (an extension of ours).")},
        "/instances/facets": {"get": facets("count_instances", "Count values among instances (an extension of ours).")},
        "/tags": {"get": tags("list_tags", "List the attributes that there are (an extension of ours).")},
        f"{_STUDY}/tags": {"get": tags("list_tags_of_study", "List the attributes of a study (an extension of ours).")},
        _STUDY: {
            "get": retrieve("retrieve_study", "Retrieve the instances of a study (PS3.18 10.4).", instances),
            "post": store("store_instances_of_study", "Store instances of one study."),
            "delete": delete("delete_study", "Delete a study (an extension of ours)."),
        },
        _SERIES: {
            "get": retrieve("retrieve_series", "Retrieve the instances of a series.", instances),
            "delete": delete("delete_series", "Delete a series (an extension of ours)."),
        },
        _INSTANCE: {
            "get": ranged(retrieve("retrieve_instance", "Retrieve an instance.", one_instance)),
            "delete": delete("delete_instance", "Delete an instance (an extension of ours)."),
        },
        "/series/zip": {"post": series_list()},
        f"{_STUDY}/metadata": {
            "get": metadata("retrieve_study_metadata", "Retrieve the metadata of a study's instances.")
        },
        f"{_SERIES}/metadata": {
            "get": metadata("retrieve_series_metadata", "Retrieve the metadata of a series' instances.")
        },
        f"{_INSTANCE}/metadata": {
            "get": metadata("retrieve_instance_metadata", "Retrieve the metadata of an instance.")
        },
        f"{_INSTANCE}/frames/{{frames}}": {
            "get": ranged(retrieve("retrieve_frames", "Retrieve frames of an instance.", frames))
        },
        f"{_STUDY}/rendered": {
            "get": rendered_set("retrieve_rendered_study", "Retrieve what can be shown of a study (PS3.18 10.4.1.1.3).")
        },
        f"{_SERIES}/rendered": {
            "get": rendered_set("retrieve_rendered_series", "Retrieve what can be shown of a series.")
        },
        f"{_INSTANCE}/rendered": {
            "get": rendered_instance(
                "retrieve_rendered_instance", "Retrieve an instance as pictures, document or video."
            )
        },
        f"{_INSTANCE}/frames/{{frames}}/rendered": {
            "get": rendered("retrieve_rendered_frames", "Retrieve frames of an instance as pictures.")
        },
        f"{_STUDY}/thumbnail": {
            "get": thumbnail("retrieve_study_thumbnail", "Retrieve a small picture of a study (PS3.18 10.4.1.1.4).")
        },
        f"{_SERIES}/thumbnail": {
            "get": thumbnail("retrieve_series_thumbnail", "Retrieve a small picture of a series.")
        },
        f"{_INSTANCE}/thumbnail": {
            "get": thumbnail("retrieve_instance_thumbnail", "Retrieve a small picture of an instance.")
        },
        f"{_INSTANCE}/frames/{{frame}}/thumbnail": {
            "get": thumbnail("retrieve_frame_thumbnail", "Retrieve a small picture of a frame.")
        },
        f"{_INSTANCE}/bulkdata/{{path}}": {
            "get": ranged(retrieve("retrieve_bulkdata", "Retrieve a bulk value that metadata refer to.", octets))
        },
        **_bulk_resources(),
    }
