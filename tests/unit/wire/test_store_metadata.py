"""Metadata are cut into their instances however they are cut into pieces."""

import json
import random

import pytest

from dicomweb_archive.errors import InvalidRequestError
from dicomweb_archive.wire.store_metadata import split_json_instances

INSTANCES = [
    {"a": ["[", "]", "}", '"', "\\", '\\"', "\\\\"]},
    {},
    {"00080018": {"vr": "UI", "Value": ["1.2", "]}"]}, "e": {}, "l": [], "m": [[], {"n": {"o": [1, "{"]}}, [[]]]},
    {"\\": {"b": [[], {}, "{[", "\u00e9\n"]}, "x": "y" * 50},
]


def pieces_of(text: bytes, size: int) -> list[bytes]:
    return [text[start : start + size] for start in range(0, len(text), size)]


@pytest.mark.parametrize("size", [*range(1, 12), 1000])
def test_any_pieces_give_the_same_instances(size: int) -> None:
    for text in (json.dumps(INSTANCES), json.dumps(INSTANCES, indent=2, ensure_ascii=False), " [ ] "):
        found = [json.loads(each) for each in split_json_instances(pieces_of(text.encode(), size))]
        assert found == json.loads(text)
    alone = [json.loads(each) for each in split_json_instances(pieces_of(b" \n{'a':'[b]'} ".replace(b"'", b'"'), size))]
    assert alone == [{"a": "[b]"}]


def test_an_instance_is_given_before_what_is_behind_it_is_read() -> None:
    def text():  # type: ignore[no-untyped-def]
        yield b'[{"a":1},'
        raise AssertionError

    assert next(split_json_instances(text())) == b'{"a":1}'


def test_garbled_text_is_refused_or_cut_the_same_whole_and_in_pieces() -> None:
    chance = random.Random(6)
    text = json.dumps(INSTANCES).encode()
    for _ in range(300):
        changed = bytearray(text)
        for _ in range(chance.randrange(1, 4)):
            changed[chance.randrange(len(changed))] = chance.choice(b'[]{}",\\ x')
        assert outcome([bytes(changed)]) == outcome(pieces_of(bytes(changed), chance.randrange(1, 9)))


def outcome(pieces: list[bytes]) -> list[bytes] | None:
    try:
        return list(split_json_instances(pieces))
    except InvalidRequestError:
        return None
