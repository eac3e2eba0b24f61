"""Metadata and bulk data become instances: the bytes that a Part 10 file of the same data set has."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from tests.decoding import InProcess
from tests.factories import identified, image
from tests.multiparts import BOUNDARY, JSON, Part, body_of, bulk_part, json_part, metadata_of

from dicomweb_archive.dicom import status
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.status import AttributeNote, StoreOutcome
from dicomweb_archive.dicom.xml_model import encode_native_xml
from dicomweb_archive.errors import InvalidRequestError, OverloadedError, RequestTooLargeError
from dicomweb_archive.services.composition.composing import Composing
from dicomweb_archive.services.composition.limits import CompositionLimits
from dicomweb_archive.services.composition.service import CompositionService
from dicomweb_archive.services.composition.shared import LARGE_TEXT_BYTES, Shared
from dicomweb_archive.services.decoding import DecodingPool
from dicomweb_archive.wire.multipart import Event, PartBegin, PartData, PartEnd, PartHead, PartJudged, PartReader

XML = "application/dicom+xml"
Composed = list[tuple[bytes, tuple[AttributeNote, ...]] | StoreOutcome]


async def events_of(parts: Sequence[Part], chunk_bytes: int = 100_000) -> AsyncIterator[Event]:
    """Send parts as a body, in chunks."""
    body = body_of(parts)
    reader = PartReader(BOUNDARY)
    for start in range(0, len(body), chunk_bytes):
        for event in reader.feed(body[start : start + chunk_bytes]):
            yield event
    reader.finish()


async def compose(
    parts: Sequence[Part],
    folder: Path,
    *,
    chunk_bytes: int = 100_000,
    limits: CompositionLimits | None = None,
    decoding: DecodingPool | None = None,
) -> Composed:
    """Return each instance that is composed, with its notes, and each outcome that is known before."""
    service = CompositionService(cast(DecodingPool, decoding), folder, limits or CompositionLimits())
    found: Composed = []
    notes: tuple[AttributeNote, ...] = ()
    data = b""
    async for event in service.compose(events_of(parts, chunk_bytes)):
        if isinstance(event, PartJudged):
            found.append(event.outcome)
        elif isinstance(event, PartBegin):
            notes, data = event.notes, b""
        elif isinstance(event, PartData):
            data += event.data
        else:
            found.append((data, notes))
    return found


async def one(parts: Sequence[Part], folder: Path) -> Dataset:
    """Return the one instance of a request, about which there is nothing to say."""
    ((data, notes),) = cast(list[tuple[bytes, tuple[AttributeNote, ...]]], await compose(parts, folder))
    assert notes == ()
    scan(data)
    return dcmread(BytesIO(data))


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def failures(composed: Composed) -> list[int | None]:
    return [outcome.failure for outcome in composed if isinstance(outcome, StoreOutcome)]


def rich() -> Dataset:
    dataset = image(rows=32, columns=32)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset["PixelData"].VR = "OW"
    dataset.PatientName = "Müller^Jörg=山田^太郎=やまだ^たろう"
    dataset.PatientComments = "Two\nlines"
    dataset.OtherPatientIDs = ["A", "B"]
    dataset.add_new(0x00189346, "FD", [0.1, -1e300])
    dataset.add_new(0x00280106, "US", 65535)
    dataset.add_new(0x00080305, "SV", [-(2**63)])
    dataset.FrameIncrementPointer = [0x00181063]
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3"
    item.private_block(0x0009, "PHANTOM_02", create=True).add_new(0x10, "OB", bytes(range(256)) * 2)
    item.ReferencedFrameNumber = [1, 2, 3]
    dataset.ReferencedImageSequence = Items([item, Dataset()])
    dataset.EncapsulatedDocument = b"odd"
    return dataset


@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_json_and_bulk_data_give_the_data_set_that_was_written(tmp_path: Path) -> None:
    dataset = rich()
    models, bulk = metadata_of(dataset)
    assert len(bulk) == 2
    made = await one([json_part(models), *bulk], tmp_path)
    assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert made.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert made.PixelData == dataset.PixelData
    assert made.EncapsulatedDocument == b"odd\0"
    del made.EncapsulatedDocument, dataset.EncapsulatedDocument
    assert made.to_json_dict() == dataset.to_json_dict()


@pytest.mark.parametrize("chunk_bytes", [7, 1000])
@pytest.mark.parametrize("memory_bytes", [0, 3000])
async def test_any_chunking_and_any_memory_give_the_same_instances(
    tmp_path: Path, chunk_bytes: int, memory_bytes: int
) -> None:
    models, bulk = metadata_of(*(image(instance=number, rows=32, columns=32) for number in (1, 2, 3)))
    parts = [json_part(models), *bulk]
    limits = CompositionLimits(memory_bytes=memory_bytes)
    assert await compose(parts, tmp_path, chunk_bytes=chunk_bytes, limits=limits) == await compose(parts, tmp_path)
    # What waits has no name, so that nothing of it can outlive its process.
    assert left_in(tmp_path) == []


async def test_bulk_data_may_come_in_any_order_even_before_their_metadata(tmp_path: Path) -> None:
    models, bulk = metadata_of(image(instance=1), image(instance=2))
    straight = await compose([json_part(models), *bulk], tmp_path)
    turned = await compose([*bulk[::-1], json_part(models)], tmp_path)
    assert straight == turned


async def test_of_two_early_parts_of_one_name_one_is_of_use(tmp_path: Path) -> None:
    models, bulk = metadata_of(image())
    composed = await compose([bulk[0], bulk[0], json_part(models)], tmp_path)
    assert [type(each) for each in composed] == [tuple, StoreOutcome]
    assert failures(composed) == [status.BULKDATA_UNUSED]


async def test_two_instances_may_share_a_part(tmp_path: Path) -> None:
    models, bulk = metadata_of(image(instance=1), image(instance=2))
    models[1]["7FE00010"]["BulkDataURI"] = models[0]["7FE00010"]["BulkDataURI"]
    first, second = await compose([json_part(models), bulk[0]], tmp_path)
    pixels = [dcmread(BytesIO(cast(tuple[bytes, Any], made)[0])).PixelData for made in (first, second)]
    assert pixels == [bulk[0][1]] * 2


@pytest.mark.parametrize("memory_bytes", [0, 1 << 20])
async def test_instances_may_share_a_part_wherever_it_stands(tmp_path: Path, memory_bytes: int) -> None:
    models, (bulk, other) = metadata_of(image(instance=1), image(instance=2))
    models[1]["7FE00010"]["BulkDataURI"] = models[0]["7FE00010"]["BulkDataURI"]
    both, (first, second) = json_part(models), (json_part([model]) for model in models)
    limits = CompositionLimits(memory_bytes=memory_bytes)
    straight = await compose([both, bulk], tmp_path)
    for parts in ([bulk, both], [bulk, first, second], [first, bulk, second], [first, second, bulk]):
        assert await compose(parts, tmp_path, limits=limits) == straight
    # What is small is kept for longer; nothing else is, since metadata may never name it again.
    late = await compose([first, bulk, other, second], tmp_path, limits=limits)
    assert failures(late) == ([] if memory_bytes else [status.BULKDATA_MISSING]) + [status.BULKDATA_UNUSED]


async def test_what_is_made_of_shared_parts_is_bounded(tmp_path: Path) -> None:
    datasets = [image(instance=number, rows=64, columns=64) for number in range(1, 6)]
    models, bulk = metadata_of(*datasets)
    for model in models:
        model["7FE00010"]["BulkDataURI"] = "bulk/0"
    allowance = len(bulk[0][1]) * 2
    limits = CompositionLimits(repeated_bytes=allowance)
    composed = await compose([json_part(models), bulk[0]], tmp_path, limits=limits)
    # Once as it came, as often again as it came, and the allowance.
    assert [type(each) for each in composed] == [tuple] * 4 + [StoreOutcome]
    assert failures(composed) == [status.OUT_OF_RESOURCES]


async def test_one_part_named_many_times_in_an_instance_is_bounded(tmp_path: Path) -> None:
    model = identified().to_json_dict()
    model |= {f"0009{0x1000 + number:04X}": {"vr": "OB", "BulkDataURI": "x"} for number in range(10)}
    parts = [json_part([model]), bulk_part(bytes(1000), "x")]
    assert failures(await compose(parts, tmp_path, limits=CompositionLimits(repeated_bytes=7000))) == [0xA700]
    assert failures(await compose(parts, tmp_path, limits=CompositionLimits(repeated_bytes=8000))) == []


async def test_how_often_parts_are_shared_is_bounded(tmp_path: Path) -> None:
    models, _ = metadata_of(image(instance=1), image(instance=2), image(instance=3))
    for model in models:
        model["00280008"] = {"vr": "IS", "Value": [10]}
        model["7FE00010"]["BulkDataURI"] = "x"
    frames = [({"Content-Type": "image/jpeg", "Content-Location": "x"}, b"no picture") for _ in range(10)]
    metadata = [json_part([model]) for model in models]
    for parts in ([*metadata, *frames], [*frames, *metadata]):
        with pytest.raises(RequestTooLargeError):
            await compose(parts, tmp_path, limits=CompositionLimits(shared_parts=19))
        composed = await compose(parts, tmp_path, limits=CompositionLimits(shared_parts=20))
        assert failures(composed)[-1:] == [status.CANNOT_UNDERSTAND]


async def test_what_all_requests_hold_is_bounded_and_given_back(tmp_path: Path) -> None:
    models, bulk = metadata_of(image(instance=1), image(instance=2))
    parts = [json_part(models), *bulk]
    service = CompositionService(cast(DecodingPool, None), tmp_path, CompositionLimits(all_held_bytes=8000))
    waiting = [service.compose(events_of([parts[0], bulk_part(b"", "x"), parts[1]])) for _ in range(2)]
    begun = await anext(waiting[0])
    assert isinstance(begun, PartBegin)
    with pytest.raises(OverloadedError):
        await anext(waiting[1])
    await cast(AsyncGenerator[Event], waiting[0]).aclose()
    for _ in range(3):
        found = [event async for event in service.compose(events_of(parts))]
        assert sum(isinstance(event, PartEnd) for event in found) == 2


async def test_metadata_that_wait_take_little_memory(tmp_path: Path) -> None:
    (model,), _ = metadata_of(image())
    model |= {f"0009{0x1000 + number:04X}": {"vr": "UT", "Value": ["x" * 20_000]} for number in range(10)}
    text, instances = json.dumps(model).encode(), 40

    async def events() -> AsyncIterator[Event]:
        yield PartBegin(PartHead({"content-type": JSON}))
        for number in range(instances):
            yield PartData((b"," if number else b"[") + text)
        yield PartData(b"]")
        yield PartEnd()

    service = CompositionService(cast(DecodingPool, None), tmp_path, CompositionLimits(memory_bytes=0))
    tracemalloc.start()
    try:
        async for event in service.compose(events()):
            assert isinstance(event, PartJudged)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < instances * len(text) * 2 // 3


async def test_long_metadata_are_read_one_after_the_other(tmp_path: Path) -> None:
    model = identified().to_json_dict()
    long = model | {"00104000": {"vr": "LT", "Value": ["x" * LARGE_TEXT_BYTES]}}
    shared = Shared(cast(DecodingPool, None), tmp_path, CompositionLimits())

    async def composed(of: Any) -> int:
        return len([event async for event in Composing(shared).events(events_of([json_part([of])]))])

    async with shared.large_texts:
        waiting = asyncio.create_task(composed(long))
        assert await composed(model) > 2
        assert not waiting.done()
    assert await waiting > 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "PDF"])
async def test_what_is_put_in_stands_in_its_place(tmp_path: Path, kind: str) -> None:
    model = identified().to_json_dict()
    for tag in ("00280001", "00280003", "00280005", "00280007", "00280101", "00281000", "00282111", "00282113"):
        model[tag] = {"vr": "LO", "Value": ["x"]}
    model |= {"00420010": {"vr": "LO", "Value": ["x"]}, "00420014": {"vr": "LO", "Value": ["x"]}}
    del model["00280101"]
    tag, sent = "7FE00010", BytesIO()
    if kind == "PDF":
        tag = "00420011"
    else:
        Image.new("L", (9, 9)).save(sent, kind)
    model[tag] = {"vr": "OB", "BulkDataURI": "bulk/0"}
    content_type = "application/pdf" if kind == "PDF" else f"image/{kind.lower()}"
    parts = [json_part([model]), bulk_part(sent.getvalue(), content_type=content_type)]
    ((data, _),) = cast(Any, await compose(parts, tmp_path, decoding=cast(DecodingPool, InProcess())))
    scanned = scan(data)
    assert "out_of_order" not in scanned.remarks
    assert len(set(scanned.attributes()) & {int(each, 16) for each in model}) >= len(model) - 1


async def test_numbers_keep_the_digits_that_were_sent(tmp_path: Path) -> None:
    text = json.dumps(identified().to_json_dict())
    text = (
        text[:-1] + ', "00180050": {"vr": "DS", "Value": [0.50, "1.250"]}, "00201041": {"vr": "DS", "Value": [-1E2]}}'
    )
    made = await one([({"Content-Type": JSON}, text.encode())], tmp_path)
    assert made.get_item(0x00180050).value == b"0.50\\1.250"
    assert made.get_item(0x00201041).value == b"-1E2"


ODD_ATTRIBUTES: dict[str, tuple[dict[str, Any], int]] = {
    "a word for a number": ({"00280010": {"vr": "US", "Value": ["many"]}}, status.ELEMENTS_DISCARDED),
    "a number beyond its range": ({"00280010": {"vr": "US", "Value": [70000]}}, status.ELEMENTS_DISCARDED),
    "an object for a text": ({"00104000": {"vr": "LT", "Value": [{}]}}, status.ELEMENTS_DISCARDED),
    "a value that is no list": ({"00104000": {"vr": "LT", "Value": "x"}}, status.ELEMENTS_DISCARDED),
    "no base64": ({"00091010": {"vr": "OB", "InlineBinary": "?"}}, status.ELEMENTS_DISCARDED),
    "bulk data of a name": ({"00100010": {"vr": "PN", "BulkDataURI": "x"}}, status.ELEMENTS_DISCARDED),
    "bulk data of a sequence": ({"00081140": {"vr": "SQ", "BulkDataURI": "x"}}, status.ELEMENTS_DISCARDED),
    "a sequence as binary": ({"00081140": {"vr": "SQ", "InlineBinary": "AAAA"}}, status.ELEMENTS_DISCARDED),
    "no value representation": ({"00091011": {"Value": ["x"]}}, status.ELEMENTS_DISCARDED),
    "an element of a command": ({"00000110": {"vr": "US", "Value": [1]}}, status.ELEMENTS_DISCARDED),
    "a word for a decimal": ({"00180050": {"vr": "DS", "Value": ["thick"]}}, status.SOP_CLASS_MISMATCH_WARNING),
    "a long decimal": ({"00180050": {"vr": "DS", "Value": [0.1234567890123456]}}, status.COERCED),
}


@pytest.mark.parametrize("case", ODD_ATTRIBUTES)
async def test_an_odd_attribute_is_named_and_does_not_hinder_its_instance(tmp_path: Path, case: str) -> None:
    attribute, warning = ODD_ATTRIBUTES[case]
    ((_, notes),) = cast(Any, await compose([json_part([identified().to_json_dict() | attribute])], tmp_path))
    assert [(f"{note.tag:08X}", note.warning) for note in notes] == [(next(iter(attribute)), warning)]


async def test_an_odd_attribute_in_a_sequence_is_named_with_its_item(tmp_path: Path) -> None:
    item = {"00080104": {"vr": "LO", "Value": [[]]}}
    model = identified().to_json_dict() | {"00081032": {"vr": "SQ", "Value": [{}, item]}}
    ((_, notes),) = cast(Any, await compose([json_part([model])], tmp_path))
    assert notes == (AttributeNote(0x00080104, status.ELEMENTS_DISCARDED, "Not text", ((0x00081032, 2),)),)


async def test_missing_and_unused_bulk_data_fail_and_nothing_else(tmp_path: Path) -> None:
    models, bulk = metadata_of(image(instance=1), image(instance=2))
    composed = await compose([json_part(models), bulk[1], bulk_part(b"x", "elsewhere"), ({}, b"y")], tmp_path)
    assert failures(composed) == [status.BULKDATA_UNUSED, status.BULKDATA_MISSING, status.BULKDATA_UNUSED]
    missing = cast(StoreOutcome, composed[2])
    assert missing.sop_instance_uid == image(instance=1).SOPInstanceUID
    assert isinstance(composed[0], tuple)


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "http://127.0.0.1:1/canary", "", "../../secret"])
async def test_a_bulk_data_uri_is_compared_and_never_followed(tmp_path: Path, uri: str) -> None:
    models, _ = metadata_of(image())
    models[0]["7FE00010"]["BulkDataURI"] = uri
    assert failures(await compose([json_part(models)], tmp_path)) == [status.BULKDATA_MISSING]


NO_DATA_SETS: dict[str, Any] = {
    "a keyword for a tag": {"PatientID": {"vr": "LO", "Value": ["1"]}},
    "one tag spelt twice": {"0020000d": {"vr": "UI"}, "0020000D": {"vr": "UI"}},
    "a text for an attribute": {"00100020": "1"},
    "a list for an item": {"00081032": {"vr": "SQ", "Value": [["x"]]}},
}


@pytest.mark.parametrize("case", NO_DATA_SETS)
async def test_an_instance_that_is_no_data_set_is_refused_alone(tmp_path: Path, case: str) -> None:
    composed = await compose([json_part([NO_DATA_SETS[case], identified().to_json_dict()])], tmp_path)
    assert failures(composed) == [status.METADATA_UNREADABLE]
    assert len(composed) == 2


async def test_an_attribute_twice_in_the_text_is_refused(tmp_path: Path) -> None:
    text = b'[{"00100020":{"vr":"LO","Value":["1"]},"00100020":{"vr":"LO","Value":["2"]}}]'
    assert failures(await compose([({"Content-Type": JSON}, text)], tmp_path)) == [status.METADATA_UNREADABLE]


async def test_sequences_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    item: dict[str, Any] = {}
    for _ in range(66):
        item = {"00081140": {"vr": "SQ", "Value": [item]}}
    assert failures(await compose([json_part([item])], tmp_path)) == [status.LIMIT_EXCEEDED]


NO_JSON = {
    "nothing": b"",
    "blanks": b" \r\n",
    "text": b"Dear archive",
    "cut": b'[{"00100020":{"vr"',
    "a number": b"[1]",
    "no comma": b"[{}{}]",
    "a comma too many": b"[{},]",
    "a bracket too many": b"[{}]]",
    "another bracket": b"[{}}",
    "more behind": b"[{}] {}",
    "not a number": b'[{"00180050":{"vr":"DS","Value":[NaN]}}]',
    "no UTF-8": b'[{"00100020":{"vr":"LO","Value":["\xff"]}}]',
    "lists 100,000 deep": b"[" * 100_000,
    "objects 100,000 deep": b'[{"a":' + b'{"a":' * 100_000,
    "an endless text": b'["' + b'\\"' * 100_000,
}


@pytest.mark.parametrize("case", NO_JSON)
async def test_what_is_no_json_array_of_objects_ends_the_request(tmp_path: Path, case: str) -> None:
    with pytest.raises(InvalidRequestError):
        await compose([({"Content-Type": JSON}, NO_JSON[case])], tmp_path)


async def test_more_objects_than_an_instance_may_have_are_refused_before_they_are_read(tmp_path: Path) -> None:
    # Counted in the text as it stands, so a text of braces will do.
    text = b'[{"00104000":{"vr":"LT","Value":["' + b"{" * 400_001 + b'"]}}]'
    assert failures(await compose([({"Content-Type": JSON}, text)], tmp_path)) == [status.LIMIT_EXCEEDED]


async def test_metadata_that_wait_are_bounded(tmp_path: Path) -> None:
    models, _ = metadata_of(image())
    with pytest.raises(RequestTooLargeError):
        await compose([json_part(models)] * 3, tmp_path, limits=CompositionLimits(held_bytes=5000))


async def test_names_of_parts_that_wait_are_bounded(tmp_path: Path) -> None:
    early = [bulk_part(b"", f"{number}" * 4000) for number in range(2)]
    with pytest.raises(RequestTooLargeError):
        await compose(early, tmp_path, limits=CompositionLimits(held_bytes=5000))


async def test_a_transfer_encoding_of_a_part_is_refused(tmp_path: Path) -> None:
    models, bulk = metadata_of(image())
    bulk[0][0]["Content-Transfer-Encoding"] = "base64"
    composed = await compose([json_part(models), *bulk], tmp_path)
    assert failures(composed) == [status.PART_NOT_SUPPORTED, status.BULKDATA_MISSING]


def xml_part(model: dict[str, Any]) -> Part:
    return {"Content-Type": XML}, encode_native_xml(json.dumps(model).encode())


@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_xml_and_bulk_data_give_the_same_instance_as_json(tmp_path: Path) -> None:
    models, bulk = metadata_of(rich(), image(instance=2))
    from_json = await compose([json_part(models), *bulk], tmp_path)
    first, second = (xml_part(model) for model in models)
    assert await compose([first, second, *bulk], tmp_path) == from_json
    assert await compose([first, *bulk[:2], second, bulk[2]], tmp_path) == from_json


async def test_private_attributes_of_xml_get_a_block_of_their_creator(tmp_path: Path) -> None:
    model = identified().to_json_dict()
    text = xml_part(model)[1].replace(
        b"</NativeDicomModel>",
        b'<DicomAttribute tag="00190002" vr="LO" privateCreator="A"><Value number="1">1</Value></DicomAttribute>'
        b'<DicomAttribute tag="00190002" vr="LO" privateCreator="B"><Value number="2">2</Value></DicomAttribute>'
        b'<DicomAttribute tag="00191203" vr="LO" privateCreator="A"/></NativeDicomModel>',
    )
    made = await one([({"Content-Type": XML}, text)], tmp_path)
    assert made.private_block(0x19, "A")[0x02].value == "1"
    assert made.private_block(0x19, "B")[0x02].value == ["", "2"]
    assert made.private_block(0x19, "A")[0x03].is_empty


NO_XML: dict[str, bytes] = {
    "nothing": b"",
    "text": b"Dear archive",
    "cut": b"<NativeDicomModel><DicomAttribute",
    "another document": b"<html/>",
    "an unknown encoding": b'<?xml version="1.0" encoding="x-none"?><NativeDicomModel/>',
    "a document type": b'<!DOCTYPE NativeDicomModel SYSTEM "file:///etc/passwd"><NativeDicomModel/>',
    "expanding entities": b'<!DOCTYPE N [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><NativeDicomModel/>',
    "an entity from elsewhere": b'<!DOCTYPE N [<!ENTITY % a SYSTEM "http://127.0.0.1:1/canary"> %a;]><N/>',
}


@pytest.mark.parametrize("case", NO_XML)
async def test_what_is_no_native_model_ends_the_request(tmp_path: Path, case: str) -> None:
    with pytest.raises(InvalidRequestError):
        await compose([({"Content-Type": XML}, NO_XML[case])], tmp_path)


_ATTRIBUTE = b'<DicomAttribute tag="00081140" vr="SQ">'
NO_NATIVE_DATA_SETS: dict[str, tuple[bytes, int]] = {
    "too deep": ((_ATTRIBUTE + b'<Item number="1">') * 5000, status.LIMIT_EXCEEDED),
    "a tag twice": (b'<DicomAttribute tag="00080005"/>' * 2, status.METADATA_UNREADABLE),
    "no tag": (b"<DicomAttribute/>", status.METADATA_UNREADABLE),
    "a value by itself": (b"<Value/>", status.METADATA_UNREADABLE),
    "a value far away": (_ATTRIBUTE + b'<Value number="99999999"/>', status.METADATA_UNREADABLE),
    "values far from each other": (
        b'<DicomAttribute tag="00091010" vr="LO">'
        + b"".join(b'<Value number="%d"/>' % (1001 * number) for number in range(1, 1100)),
        status.LIMIT_EXCEEDED,
    ),
    "attributes in one another": (_ATTRIBUTE * 2, status.METADATA_UNREADABLE),
    "documents in one another": (b"<NativeDicomModel>", status.METADATA_UNREADABLE),
}


@pytest.mark.parametrize("case", NO_NATIVE_DATA_SETS)
async def test_a_native_model_that_is_no_data_set_is_refused_alone(tmp_path: Path, case: str) -> None:
    content, failure = NO_NATIVE_DATA_SETS[case]
    parts = [({"Content-Type": XML}, b"<NativeDicomModel>" + content), xml_part(identified().to_json_dict())]
    composed = await compose(parts, tmp_path)
    assert failures(composed) == [failure]
    assert len(composed) == 2


async def test_a_large_value_takes_little_memory_while_it_waits(tmp_path: Path) -> None:
    models, _ = metadata_of(image())
    chunk, chunks = bytes(64 * 1024), 512

    async def events() -> AsyncIterator[Event]:
        head, data = json_part(models)
        for headers, pieces in ((head, [data]), (bulk_part(b"")[0], [chunk] * chunks)):
            yield PartBegin(PartHead({name.lower(): value for name, value in headers.items()}))
            for piece in pieces:
                # As if they came from a socket: each is memory of its own.
                yield PartData(bytes(bytearray(piece)))
            yield PartEnd()

    service = CompositionService(cast(DecodingPool, None), tmp_path, CompositionLimits(memory_bytes=1024 * 1024))
    tracemalloc.start()
    try:
        size = 0
        async for event in service.compose(events()):
            size += len(event.data) if isinstance(event, PartData) else 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > chunks * len(chunk)
    assert peak < 8 * 1024 * 1024
