"""Bodies of manifests are read in steps, and say where they are wrong as others do."""

import json
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError

from dicomweb_archive.web.routers.manifests import MOST_INSTANCES, read_manifest


def body(count: int, **replaced: Any) -> bytes:
    instances: list[Any] = [{"sop_instance_uid": f"1.2.{number}"} for number in range(count)]
    for place, instance in replaced.items():
        instances[int(place.removeprefix("at_"))] = instance
    return json.dumps({"instances": instances, "totals": {"studies": 1}}).encode()


def places(text: bytes) -> list[tuple[Any, ...]]:
    with pytest.raises(RequestValidationError) as refused:
        read_manifest(text)
    return [error["loc"] for error in refused.value.errors()]


def test_all_instances_are_read_in_their_order() -> None:
    document = read_manifest(body(1100))
    assert [each.sop_instance_uid for each in document.instances] == [f"1.2.{number}" for number in range(1100)]
    assert document.totals.studies == 1
    assert read_manifest(b"{}").instances == []


def test_what_is_wrong_is_named_where_it_is_and_only_the_first_of_many() -> None:
    assert places(body(1100, at_1050={"sop_instance_uid": "x"})) == [("body", "instances", 1050, "sop_instance_uid")]
    assert places(body(1100, at_3={"sop_instance_uid": "1.2", "z": 1})) == [("body", "instances", 3, "z")]
    assert len(places(b'{"instances":[' + b",".join([b"1"] * 400) + b"]}")) == 20
    for text in (b"{", b"[]", b"1", b"\xff", b'{"totals":1}', b'{"instances":{}}', b'{"instances":null}', b'{"x":1}'):
        assert places(text)[0][0] == "body"
    assert places(b'{"instances":[' + b",".join([b"1"] * (MOST_INSTANCES + 1)) + b"]}") == [("body", "instances")]
