"""Mutated metadata, documents and pictures: an instance, an outcome or an expected error, and never anything else."""

import random
from pathlib import Path
from typing import Any, cast

import pytest
from tests.decoding import InProcess
from tests.factories import identified, image
from tests.multiparts import Part, bulk_part, json_part, metadata_of
from tests.unit.services.test_composition import XML, compose, rich, xml_part
from tests.unit.services.test_sent_media import picture

from dicomweb_archive.errors import ArchiveError
from dicomweb_archive.services.decoding import DecodingPool

SEEDS = 20
VALUES: tuple[Any, ...] = (
    *(None, "", [], {}, "x", 1, 1e300, True, [None], [[]], [{}], ["x"], [1], [{"Alphabetic": 5}], {"vr": "SQ"}),
    *("00100010", "7FE00010", "OB", "SQ", "PN", "bulk/0", "\ud800", ["\ud800"], "é"),
)
KEYS = ("Value", "vr", "BulkDataURI", "InlineBinary", "7FE00010", "00420011", "00280008", "00080005", "zz")
TEXTS = (b"", b"<", b"00", b'"', b"Item", b"</Value>", b"<Item>")


def mutate(chance: random.Random, model: Any) -> None:
    """Change something somewhere in a JSON document."""
    key = chance.choice(list(model) if isinstance(model, dict) else range(len(model))) if model else None
    if key is None:
        return
    if isinstance(model, dict) and chance.random() < 0.3:
        model[chance.choice(KEYS)] = chance.choice(VALUES)
    elif isinstance(model[key], (dict, list)) and chance.random() < 0.9:
        mutate(chance, model[key])
    else:
        model[key] = chance.choice(VALUES)


def garbled(chance: random.Random, data: bytes, pieces: tuple[bytes, ...]) -> bytes:
    """Put pieces in place of a few bytes, mostly near the beginning, or cut the rest."""
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        start = chance.randrange(min(len(changed), chance.choice((60, 700, 100_000))))
        changed[start : start + chance.randrange(3)] = chance.choice(pieces)
    return bytes(changed[: chance.randrange(len(changed))] if chance.random() < 0.2 else changed)


def mutated_models(chance: random.Random) -> list[Part]:
    models, bulk = metadata_of(rich(), image(instance=2))
    for _ in range(chance.randrange(1, 12)):
        mutate(chance, models)
    return [json_part(models), *bulk]


def garbled_document(chance: random.Random) -> list[Part]:
    (model, _), bulk = metadata_of(rich(), image(instance=2))
    return [({"Content-Type": XML}, garbled(chance, xml_part(model)[1], TEXTS)), *bulk]


def garbled_picture(chance: random.Random) -> list[Part]:
    kind = chance.choice(("JPEG", "PNG", "GIF", "JPEG2000"))
    sent = garbled(chance, picture(kind), tuple(bytes([number]) for number in range(256)))
    model = identified().to_json_dict() | {"7FE00010": {"vr": "OB", "BulkDataURI": "bulk/0"}}
    content_type = {"JPEG2000": "image/jp2"}.get(kind, f"image/{kind.lower()}")
    return [json_part([model]), bulk_part(sent, content_type=content_type)]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("make", [mutated_models, garbled_document, garbled_picture])
async def test_whatever_is_sent_is_judged(tmp_path: Path, make: Any) -> None:
    for seed in range(SEEDS):
        parts = make(random.Random(seed))
        try:
            assert await compose(parts, tmp_path, decoding=cast(DecodingPool, InProcess())), seed
        except ArchiveError:
            continue
