"""The matcher, the scanner and the XML model agree on pydicom's own files."""

from xml.etree import ElementTree

import pytest
from tests.pydicom_files import bundled_paths

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.comparable_values import normalise
from dicomweb_archive.dicom.instance import Element, ScannedInstance
from dicomweb_archive.dicom.matching import matches
from dicomweb_archive.dicom.matching_keys import Key, SingleValue
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.dicom.xml_model import encode_native_xml
from dicomweb_archive.errors import InvalidInstanceError


def scanned_files() -> list[ScannedInstance]:
    instances = []
    for path in bundled_paths():
        try:
            instances.append(scan(path.read_bytes()))
        except InvalidInstanceError:
            continue
    assert len(instances) > 20
    return instances


@pytest.fixture(scope="module")
def instances() -> list[ScannedInstance]:
    return scanned_files()


def own_keys(tag: int, element: Element) -> list[Key]:
    path = AttributePath((PathStep(tag),), element.vr)
    return [
        Key(path, SingleValue(str(value)))
        for value in element.values
        if isinstance(value, str | int | float) and normalise(element.vr, value)
    ]


def test_every_instance_is_found_by_each_of_its_own_values(instances: list[ScannedInstance]) -> None:
    for instance in instances:
        attributes = instance.attributes()
        keys = [key for tag, element in attributes.items() for key in own_keys(tag, element)]
        assert keys
        assert matches(attributes, SearchQuery(Level.INSTANCE, tuple(keys)))


def test_no_instance_is_found_by_the_values_of_another(instances: list[ScannedInstance]) -> None:
    by_instance = [(instance, instance.attributes()) for instance in instances]
    for instance, attributes in by_instance:
        query = SearchQuery(Level.INSTANCE, tuple(own_keys(0x00080018, attributes[0x00080018])))
        found = [other for other, its in by_instance if matches(its, query)]
        assert {other.sop_instance_uid for other in found} == {instance.sop_instance_uid}


def test_the_json_of_every_instance_has_an_xml_form(instances: list[ScannedInstance]) -> None:
    for instance in instances:
        attributes = instance.attributes()
        members = (b'"%08X":%s' % (tag, element.json.replace(b"\x1a", b"")) for tag, element in attributes.items())
        document = ElementTree.fromstring(encode_native_xml(b"{" + b",".join(members) + b"}"))
        assert len(document) == len(attributes)
