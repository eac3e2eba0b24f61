"""What the DICOMweb services can do, taken from the description of the API (PS3.18 8.9, Annex H)."""

import re
from collections.abc import Mapping
from typing import Any

from dicomweb_archive.dicom.tags import format_tag, tag_of
from dicomweb_archive.web.dependencies import DICOMWEB
from dicomweb_archive.wire.wadl import Node, application, describe_parameter

# Names of variables and transactions in Annex H, where they are not those of our routes.
_VARIABLES = {
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
    "frames": "framelist",
}
_TRANSACTIONS = {
    "search_studies": "SearchForStudies",
    "search_series": "SearchForStudySeries",
    "search_instances": "SearchForStudySeriesInstances",
    "search_instances_of_study": "SearchForStudyInstances",
    "search_all_series": "SearchForSeries",
    "search_all_instances": "SearchForInstances",
    "store_instances_of_study": "StoreStudyInstances",
}

# PS3.18 Table 10.6.1-5: keys that every server matches, and the levels of each search (Table 10.6.1-4).
_STUDY_KEYS = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ModalitiesInStudy",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "StudyInstanceUID",
    "StudyID",
)
_SERIES_KEYS = (
    "Modality",
    "SeriesInstanceUID",
    "SeriesNumber",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "RequestAttributesSequence.ScheduledProcedureStepID",
    "RequestAttributesSequence.RequestedProcedureID",
)
_INSTANCE_KEYS = ("SOPClassUID", "SOPInstanceUID", "InstanceNumber")
_KEYS_OF_SEARCHES = {
    "search_studies": _STUDY_KEYS,
    "search_series": _SERIES_KEYS,
    "search_instances": _INSTANCE_KEYS,
    "search_instances_of_study": _SERIES_KEYS + _INSTANCE_KEYS,
    "search_all_series": _STUDY_KEYS + _SERIES_KEYS,
    "search_all_instances": _STUDY_KEYS + _SERIES_KEYS + _INSTANCE_KEYS,
}
_MULTIPLE = {"includefield"}


def describe_capabilities(api: Mapping[str, Any], base: str) -> Node:
    """Describe the services at `base`, a URL without a slash at the end.

    Args:
        api: the OpenAPI document.
    """
    root, resources = application(f"{base}/")
    for path, operations in api["paths"].items():
        # The service itself is where this description is had, which it does not describe (Annex H).
        steps = path.removeprefix(DICOMWEB).strip("/")
        if not path.startswith(f"{DICOMWEB}/") or not steps:
            continue
        resource = resources
        for step in steps.split("/"):
            resource = resource.resource(_template(step))
        for method, operation in operations.items():
            if method not in ("parameters", "servers"):
                _describe_method(resource, method.upper(), operation)
    return root


def _template(step: str) -> str:
    variable = re.fullmatch(r"{(\w+)}", step)
    return step if variable is None else f"{{{_VARIABLES.get(variable[1], variable[1])}}}"


def _describe_method(resource: Node, name: str, operation: Mapping[str, Any]) -> None:
    identifier = operation["operationId"]
    camel = "".join(word.capitalize() for word in identifier.split("_"))
    method = resource.child("method", name=name, id=_TRANSACTIONS.get(identifier, camel))
    request = method.child("request")
    media_types = list(operation["responses"].get("200", {}).get("content", {}))
    if media_types:
        describe_parameter(request, "Accept", "header", media_types)
    for parameter in operation.get("parameters", ()):
        _describe_parameter(request, identifier, parameter)
    for media_type in operation.get("requestBody", {}).get("content", {}):
        request.child("representation", mediaType=media_type)
    for content, statuses in _by_content(operation["responses"]).items():
        response = method.child("response", status=" ".join(statuses))
        for media_type in content:
            response.child("representation", mediaType=media_type)


def _describe_parameter(request: Node, identifier: str, parameter: Mapping[str, Any]) -> None:
    name = parameter["name"]
    if name != "match":
        describe_parameter(request, name, parameter["in"], parameter["schema"].get("enum", ()))
        if name in _MULTIPLE:
            request.children[-1].attributes["repeating"] = "true"
        return
    for key in _KEYS_OF_SEARCHES.get(identifier, ()):
        for spelling in (key, _by_tags(key)):
            describe_parameter(request, spelling, "query")


def _by_tags(key: str) -> str:
    return ".".join(format_tag(tag) for keyword in key.split(".") if (tag := tag_of(keyword)) is not None)


def _by_content(responses: Mapping[str, Any]) -> dict[tuple[str, ...], list[str]]:
    """Group statuses by the media types of their payloads."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for status, response in responses.items():
        grouped.setdefault(tuple(response.get("content", ())), []).append(status)
    return grouped
