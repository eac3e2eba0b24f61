"""Retrieve Capabilities: what the services say they can do is what they do."""

import re
import xml.etree.ElementTree as ET

from tests.http.archive import ROOT, Archive
from tests.http.conftest import StartArchive

from dicomweb_archive.web.capabilities import describe_capabilities
from dicomweb_archive.web.openapi.document import describe
from dicomweb_archive.web.routing import ResourceRoute
from dicomweb_archive.wire.wadl import encode_wadl_xml

WADL = "{http://wadl.dev.java.net/2009/02}"
VARIABLES = {"StudyInstanceUID": "study", "SeriesInstanceUID": "series", "SOPInstanceUID": "instance"}


def methods_of(resource: ET.Element, path: str = "") -> dict[tuple[str, str], ET.Element]:
    """Collect the methods of a resource and all below it, by path and name."""
    found = {(path, method.attrib["name"]): method for method in resource.findall(f"{WADL}method")}
    for child in resource.findall(f"{WADL}resource"):
        found |= methods_of(child, f"{path}/{child.attrib['path']}")
    return found


async def test_capabilities_are_a_wadl_document_of_every_route(archive: Archive) -> None:
    for address in (ROOT, f"{ROOT}/"):
        answer = await archive.client.options(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/vnd.sun.wadl+xml"
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
        document = ET.fromstring(answer.content)
        assert document.tag == f"{WADL}application"
        (resources,) = document
        assert resources.attrib["base"] == "http://archive.example/dicom-web/"
    described = methods_of(resources)
    routed = {
        (re.sub(r":\w+}", "}", route.path).removeprefix(ROOT), method)
        for route in archive.app.routes
        if isinstance(route, ResourceRoute) and route.path.startswith(f"{ROOT}/") and route.path != f"{ROOT}/"
        for method in (route.methods or set()) - {"HEAD"}
    }
    ours = {(re.sub(r"{(\w+)}", _of_ours, path), name) for path, name in described}
    assert ours == routed
    identifiers = [method.attrib["id"] for method in described.values()]
    assert len(set(identifiers)) == len(identifiers)
    retrieve = described["/studies/{StudyInstanceUID}", "GET"]
    assert retrieve.attrib["id"] == "RetrieveStudy"
    media_types = {each.attrib.get("mediaType") for each in retrieve.iter(f"{WADL}representation")}
    assert {'multipart/related; type="application/dicom"', "application/zip"} <= media_types


def _of_ours(variable: re.Match[str]) -> str:
    return f"{{{VARIABLES.get(variable[1], variable[1]).replace('framelist', 'frames')}}}"


def test_a_search_names_every_key_that_must_be_matchable() -> None:
    document = encode_wadl_xml(describe_capabilities(describe(), "http://archive.example/dicom-web"))
    described = methods_of(ET.fromstring(document)[0])
    for path, count in (("/studies", 9), ("/series", 16), ("/instances", 19)):
        search = described[path, "GET"]
        names = [each.attrib["name"] for each in search.iter(f"{WADL}param") if each.attrib["style"] == "query"]
        tags = [name for name in names if name[:4].isdigit()]
        assert len(tags) == count, path
        assert len(names) == len(set(names))
        assert {"limit", "offset", "includefield", "fuzzymatching", "StudyInstanceUID", "0020000D"} <= set(names)
    assert {"RequestAttributesSequence.ScheduledProcedureStepID", "00400275.00400009"} <= set(names)


async def test_capabilities_can_be_json_and_are_had_anew_only_when_they_changed(archive: Archive) -> None:
    answer = await archive.client.get(f"{ROOT}/", headers={"accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"
    (resources,) = answer.json()["application"]["resources"]
    (studies,) = [each for each in resources["resource"] if each["path"] == "studies"]
    assert {method["id"] for method in studies["method"]} == {"SearchForStudies", "StoreInstances"}
    again = await archive.client.request(
        "OPTIONS", f"{ROOT}/", headers={"accept": "application/json", "if-none-match": answer.headers["etag"]}
    )
    assert again.status_code == 304
    assert (await archive.client.options(f"{ROOT}/", headers={"accept": "image/png"})).status_code == 406
    head = await archive.client.head(f"{ROOT}/", headers={"accept": "application/json"})
    assert head.headers["content-length"] == str(len(answer.content))


async def test_a_preflight_is_still_one(start_archive: StartArchive) -> None:
    async with start_archive(cors_origins=("https://viewer.example",)) as archive:
        asked = {"origin": "https://viewer.example", "access-control-request-method": "GET"}
        preflight = await archive.client.options(f"{ROOT}/", headers=asked)
        assert preflight.headers["access-control-allow-origin"] == "https://viewer.example"
        assert "wadl" not in preflight.headers["content-type"]
