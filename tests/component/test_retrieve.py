"""The retrieve service over a real folder and real files; only the index is a stand-in."""

import asyncio
import io
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless
from tests.pieces import in_pieces_of
from tests.pydicom_files import bundled, read

from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.errors import (
    DamagedObjectError,
    NotAcceptableError,
    NotFoundError,
    ObjectNotFoundError,
    UnauthenticatedError,
    UndecodableError,
)
from dicomweb_archive.imaging.transcode import to_explicit_little_endian
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.reading.instances import InstanceLocation, SegmentLocations
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.index.segments.locations import FileLayout, encode_locations, layouts_of
from dicomweb_archive.services.access import ANONYMOUS, Principal, PrincipalKind
from dicomweb_archive.services.bulkdata import BulkdataService
from dicomweb_archive.services.decoding import DecodingPool
from dicomweb_archive.services.packing import member_name
from dicomweb_archive.services.representation import Representation
from dicomweb_archive.services.retrieve import RetrieveService
from dicomweb_archive.storage.filesystem import FolderReader, FolderStore
from dicomweb_archive.storage.packs import Member, PackWriter
from dicomweb_archive.wire.media_types import parse_accept
from dicomweb_archive.wire.multipart import PartBegin, PartData, PartReader, parse_multipart_related
from dicomweb_archive.wire.resources import ServiceRoot

# One loop for the module, because its worker process belongs to one.
pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = ServiceRoot("https://archive.example/dicom-web")
DICOM = 'multipart/related; type="application/dicom"'
AS_STORED = f"{DICOM}; transfer-syntax=*"
OCTETS = 'multipart/related; type="application/octet-stream"'
SINGLE = "application/dicom"
AS_STORED_PIXELS = 'multipart/related; type="image/jpeg"; transfer-syntax=*'


@dataclass
class Index:
    """Stands in for the InstanceIndex: one study whose instances are where `keep` put them."""

    store: FolderStore
    locations: list[InstanceLocation] = field(default_factory=list)
    asked: list[Visibility] = field(default_factory=list)

    async def keep(self, key: str, *files: bytes) -> list[Scope]:
        pack = await PackWriter.create(self.store, key)
        scopes = []
        for data in files:
            scanned = scan(data)
            (place,) = await pack.append([Member(member_name(scanned.sop_instance_uid), data)])
            (layout,) = layouts_of([scanned])
            uids = scanned.study_instance_uid, scanned.series_instance_uid, scanned.sop_instance_uid
            self.locations.append(
                InstanceLocation(
                    *uids,
                    layout.sop_class_uid,
                    layout.transfer_syntax_uid,
                    key,
                    place.offset,
                    place.length,
                    place.digest,
                    layout.pixel_data,
                    layout.bulk,
                    layout.neutralised,
                    layout.pixel_format,
                )
            )
            scopes.append(Scope(*uids))
        await pack.close()
        return scopes

    async def locate(self, scope: Scope, visibility: Visibility) -> list[SegmentLocations]:
        self.asked.append(visibility)
        by_series = groupby(self.locations, key=attrgetter("study_instance_uid", "series_instance_uid"))
        return [segment_of(list(group)) for _, group in by_series]

    async def locate_instance(self, study: str, series: str, instance: str, visibility: Visibility) -> InstanceLocation:
        self.asked.append(visibility)
        for location in self.locations:
            if location.sop_instance_uid == instance:
                return location
        raise NotFoundError("there is none")


def segment_of(locations: list[InstanceLocation]) -> SegmentLocations:
    """Put what is said of each instance of a series as the index does."""
    layouts = [
        FileLayout(
            each.transfer_syntax_uid,
            each.sop_class_uid,
            each.pixel_data,
            each.bulk,
            each.neutralised,
            each.pixel_format,
        )
        for each in locations
    ]
    columns = ("sop_instance_uid", "object_key", "byte_offset", "byte_length", "digest")
    return SegmentLocations(
        1,
        locations[0].study_instance_uid,
        locations[0].series_instance_uid,
        range(len(locations)),
        *([getattr(each, name) for each in locations] for name in columns),
        locations=encode_locations(layouts),
    )


@dataclass(frozen=True)
class Received:
    """One part as a client sees it."""

    headers: dict[str, str]
    data: bytes


@pytest_asyncio.fixture(loop_scope="module")
async def store(tmp_path: Path) -> AsyncIterator[FolderStore]:
    opened = await FolderStore.open_folder(tmp_path / "objects")
    yield opened
    await opened.close()


@pytest.fixture
def index(store: FolderStore) -> Index:
    return Index(store)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[DecodingPool]:
    opened = DecodingPool(workers=1, timeout_seconds=60, memory_bytes=1024**3)
    yield opened
    await opened.close()


@pytest.fixture
def service(store: FolderStore, index: Index, pool: DecodingPool) -> RetrieveService:
    return RetrieveService(index, None, store, pool)  # type: ignore[arg-type]


@pytest.fixture
def bulkdata(store: FolderStore, index: Index, pool: DecodingPool) -> BulkdataService:
    return BulkdataService(index, store, pool)  # type: ignore[arg-type]


async def body(answer: Representation) -> bytes:
    data = b"".join([bytes(chunk) async for chunk in answer.chunks])
    assert answer.content_length in (None, len(data))
    return data


async def parts(answer: Representation) -> list[Received]:
    reader = PartReader(parse_multipart_related(answer.content_type).boundary)
    events = reader.feed(await body(answer))
    reader.finish()
    return list(collected(events))


def collected(events: list[object]) -> Iterator[Received]:
    received: list[Received] = []
    for event in events:
        if isinstance(event, PartBegin):
            received.append(Received(dict(event.head.headers), b""))
        elif isinstance(event, PartData):
            received[-1] = Received(received[-1].headers, received[-1].data + bytes(event.data))
    for part in received:
        assert part.headers["content-length"] == str(len(part.data))
    yield from received


def url(scope: Scope, rest: str = "") -> str:
    study, series, instance = scope.parameters()
    return f"{ROOT.url}/studies/{study}/series/{series}/instances/{instance}{rest}"


async def test_a_study_comes_back_byte_for_byte_with_its_length_known(service: RetrieveService, index: Index) -> None:
    files = [bundled(name) for name in ("MR_small.dcm", "CT_small.dcm", "MR_small_RLE.dcm", "rtplan.dcm")]
    scopes = [*await index.keep("one.zip", *files[:2]), *await index.keep("two.zip", *files[2:])]
    answer = await service.retrieve_instances(
        Scope(scopes[0].study_instance_uid), ANONYMOUS, parse_accept(AS_STORED), ROOT
    )
    assert answer.content_length is not None
    received = await parts(answer)
    assert [part.data for part in received] == files
    assert [part.headers["content-location"] for part in received] == [url(scope) for scope in scopes]
    assert received[2].headers["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.5"


async def test_without_a_transfer_syntax_only_what_must_be_is_converted(service: RetrieveService, index: Index) -> None:
    files = [bundled(name) for name in ("MR_small.dcm", "MR_small_RLE.dcm", "rtplan.dcm", "CT_small.dcm")]
    # Two of them are one instance in two encodings, which no pack holds.
    scopes = [*await index.keep("one.zip", files[0]), *await index.keep("two.zip", *files[1:])]
    for accepted in (DICOM, "*/*"):
        answer = await service.retrieve_instances(
            Scope(scopes[0].study_instance_uid), ANONYMOUS, parse_accept(accepted), ROOT
        )
        assert answer.content_length is None
        received = await parts(answer)
        expected = [files[0], to_explicit_little_endian(files[1]), to_explicit_little_endian(files[2]), files[3]]
        assert [part.data for part in received] == expected
        assert {part.headers["content-type"] for part in received} == {
            "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
        }


async def test_of_several_instances_an_undecodable_one_goes_as_stored(service: RetrieveService, index: Index) -> None:
    files = [bundled("JPEG2000-embedded-sequence-delimiter.dcm"), bundled("MR_small.dcm")]
    scopes = await index.keep("one.zip", *files)
    answer = await service.retrieve_instances(Scope(scopes[0].study_instance_uid), ANONYMOUS, parse_accept(DICOM), ROOT)
    received = await parts(answer)
    assert [part.data for part in received] == files
    assert received[0].headers["content-type"].endswith("=1.2.840.10008.1.2.4.91")


async def test_one_undecodable_instance_says_so(service: RetrieveService, index: Index) -> None:
    (scope,) = await index.keep("one.zip", bundled("JPEG2000-embedded-sequence-delimiter.dcm"))
    answer = await service.retrieve_instances(scope, ANONYMOUS, parse_accept(SINGLE), ROOT)
    with pytest.raises(UndecodableError):
        await body(answer)
    answer = await service.retrieve_instances(scope, ANONYMOUS, parse_accept(f"{SINGLE}; transfer-syntax=*"), ROOT)
    assert await body(answer) == bundled("JPEG2000-embedded-sequence-delimiter.dcm")


async def test_a_single_instance_has_length_type_and_tag(service: RetrieveService, index: Index) -> None:
    data = bundled("MR_small_RLE.dcm")
    (scope,) = await index.keep("one.zip", data)
    stored = await service.retrieve_instances(scope, ANONYMOUS, parse_accept(f"{SINGLE}; transfer-syntax=*"), ROOT)
    assert stored.content_length == len(data)
    assert stored.content_type == "application/dicom; transfer-syntax=1.2.840.10008.1.2.5"
    assert await body(stored) == data
    converted = await service.retrieve_instances(scope, ANONYMOUS, parse_accept(SINGLE), ROOT)
    assert await body(converted) == to_explicit_little_endian(data)
    assert stored.headers["ETag"].startswith('"')
    assert stored.headers["ETag"] != converted.headers["ETag"]


async def test_what_cannot_be_had_is_not_acceptable(service: RetrieveService, index: Index) -> None:
    (scope,) = await index.keep("one.zip", bundled("MR_small.dcm"))
    for accepted in ("image/png", f"{DICOM}; transfer-syntax=1.2.840.10008.1.2.4.50"):
        with pytest.raises(NotAcceptableError) as caught:
            await service.retrieve_instances(scope, ANONYMOUS, parse_accept(accepted), ROOT)
        assert caught.value.available
        with pytest.raises(NotAcceptableError):
            await service.retrieve_instances(Scope(scope.study_instance_uid), ANONYMOUS, parse_accept(accepted), ROOT)


@pytest.mark.parametrize(
    "name", ["MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm"]
)
async def test_a_frame_is_little_endian_pixels_whatever_is_stored(
    service: RetrieveService, index: Index, name: str
) -> None:
    (scope,) = await index.keep("one.zip", bundled(name))
    expected = read(bundled("MR_small.dcm")).PixelData
    answer = await service.retrieve_frames(scope, [1], ANONYMOUS, parse_accept("application/octet-stream"), ROOT)
    assert answer.content_type == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert answer.content_length == len(expected)
    assert await body(answer) == expected
    (part,) = await parts(await service.retrieve_frames(scope, [1], ANONYMOUS, parse_accept(OCTETS), ROOT))
    assert part.data == expected
    assert part.headers["content-location"] == url(scope, "/frames/1")


async def test_frames_come_in_the_order_asked_for(service: RetrieveService, index: Index) -> None:
    data = bundled("rtdose.dcm")
    (scope,) = await index.keep("one.zip", data)
    pixels = read(data).pixel_array
    answer = await service.retrieve_frames(scope, [3, 1, 15], ANONYMOUS, parse_accept(OCTETS), ROOT)
    assert answer.content_length is not None
    received = await parts(answer)
    assert [part.data for part in received] == [pixels[number - 1].astype("<u4").tobytes() for number in (3, 1, 15)]


async def test_compressed_frames_go_out_as_bare_codestreams(service: RetrieveService, index: Index) -> None:
    data = bundled("examples_ybr_color.dcm")
    (scope,) = await index.keep("one.zip", data)
    for accepted, kind in (
        ('multipart/related; type="image/jpeg"', "image/jpeg"),
        (f"{OCTETS}; transfer-syntax=*", None),
    ):
        answer = await service.retrieve_frames(scope, [1, 30], ANONYMOUS, parse_accept(accepted), ROOT)
        assert answer.content_length is not None
        received = await parts(answer)
        assert all(part.data.startswith(b"\xff\xd8") for part in received)
        for part in received:
            media_type, _, syntax = part.headers["content-type"].partition("; transfer-syntax=")
            assert media_type == kind or kind is None
            assert syntax == "1.2.840.10008.1.2.4.50"


async def test_frames_of_single_bits_are_packed_anew(service: RetrieveService, index: Index) -> None:
    dataset = read(bundled("liver_1frame.dcm"))
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 3, 3, 2
    dataset.PixelData = bytes([0b10101011, 0b11101110, 0b1, 0])
    (scope,) = await index.keep("one.zip", saved(dataset))
    received = await parts(await service.retrieve_frames(scope, [1, 2], ANONYMOUS, parse_accept(OCTETS), ROOT))
    assert [part.data for part in received] == [bytes([0b10101011, 0]), bytes([0b11110111, 0])]


def saved(dataset: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, **options)  # type: ignore[attr-defined]
    return buffer.getvalue()


@pytest.mark.parametrize("frames", [[0], [2], [1, 2]])
async def test_frames_that_are_not_there_are_not_found(
    service: RetrieveService, index: Index, frames: list[int]
) -> None:
    (scope,) = await index.keep("one.zip", bundled("MR_small.dcm"))
    with pytest.raises(NotFoundError, match="from 1 to 1"):
        await service.retrieve_frames(scope, frames, ANONYMOUS, parse_accept(None), ROOT)


async def test_an_instance_without_pixels_has_no_frames(service: RetrieveService, index: Index) -> None:
    (scope,) = await index.keep("one.zip", bundled("rtplan.dcm"))
    with pytest.raises(NotFoundError, match="no pixel data"):
        await service.retrieve_frames(scope, [1], ANONYMOUS, parse_accept(None), ROOT)


async def test_pixel_data_shorter_than_they_claim_are_refused(service: RetrieveService, index: Index) -> None:
    dataset = read(bundled("MR_small.dcm"))
    dataset.Rows = 65535
    (scope,) = await index.keep("one.zip", saved(dataset))
    with pytest.raises(UndecodableError, match="shorter"):
        await service.retrieve_frames(scope, [1], ANONYMOUS, parse_accept(None), ROOT)


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm"])
async def test_pixel_data_as_bulkdata_are_little_endian(bulkdata: BulkdataService, index: Index, name: str) -> None:
    (scope,) = await index.keep("one.zip", bundled(name))
    answer = await bulkdata.retrieve_value(scope, "7FE00010", ANONYMOUS, parse_accept(None), ROOT)
    (part,) = await parts(answer)
    assert part.data == read(bundled("MR_small.dcm")).PixelData
    assert part.headers["content-location"] == url(scope, "/bulkdata/7FE00010")


async def test_compressed_pixel_data_as_bulkdata(bulkdata: BulkdataService, index: Index) -> None:
    data = bundled("examples_ybr_color.dcm")
    (scope,) = await index.keep("one.zip", data)
    stored = await bulkdata.retrieve_value(
        scope, "7FE00010", ANONYMOUS, parse_accept('multipart/related; type="image/jpeg"'), ROOT
    )
    received = await parts(stored)
    assert len(received) == 30
    assert {part.headers["content-location"] for part in received} == {url(scope, "/bulkdata/7FE00010")}
    decoded = await bulkdata.retrieve_value(scope, "7FE00010", ANONYMOUS, parse_accept(OCTETS), ROOT)
    assert decoded.content_length is not None
    (part,) = await parts(decoded)
    assert part.data == read(to_explicit_little_endian(data)).PixelData


async def test_all_bulk_values_of_a_study_come_under_the_uris_of_the_metadata(
    bulkdata: BulkdataService, index: Index
) -> None:
    dataset = read(bundled("MR_small.dcm"))
    palette = bytes(range(256)) * 40
    dataset.add_new(0x00281201, "OW", palette)
    scopes = await index.keep("one.zip", saved(dataset), bundled("rtplan.dcm"), bundled("examples_ybr_color.dcm"))
    study = Scope(scopes[0].study_instance_uid)
    answer = await bulkdata.retrieve_bulkdata(study, ANONYMOUS, parse_accept(None), ROOT)
    assert answer.content_length is not None
    received = await parts(answer)
    assert [part.headers["content-location"] for part in received] == [
        url(scopes[0], "/bulkdata/00281201"),
        url(scopes[0], "/bulkdata/7FE00010"),
        url(scopes[2], "/bulkdata/7FE00010"),
    ]
    decoded = read(to_explicit_little_endian(bundled("examples_ybr_color.dcm"))).PixelData
    assert [part.data for part in received] == [palette, dataset.PixelData, decoded]
    pixels = await parts(await bulkdata.retrieve_pixel_data(study, ANONYMOUS, parse_accept(OCTETS), ROOT))
    assert [part.data for part in pixels] == [dataset.PixelData, decoded]
    stored = await parts(
        await bulkdata.retrieve_pixel_data(study, ANONYMOUS, parse_accept(f"{OCTETS}; transfer-syntax=*"), ROOT)
    )
    assert len(stored) == 31, "one part a frame of what is compressed"


async def test_each_value_is_negotiated_for_itself(bulkdata: BulkdataService, index: Index) -> None:
    scopes = await index.keep("one.zip", bundled("examples_ybr_color.dcm"), bundled("MR_small.dcm"))
    study = Scope(scopes[0].study_instance_uid)
    accepted = parse_accept(f"{AS_STORED_PIXELS}, {OCTETS};q=0.5")
    answer = await bulkdata.retrieve_pixel_data(study, ANONYMOUS, accepted, ROOT)
    assert answer.content_type.startswith('multipart/related; type="image/jpeg"')
    types = [part.headers["content-type"].partition(";")[0] for part in await parts(answer)]
    assert types == ["image/jpeg"] * 30 + ["application/octet-stream"]
    for accept in (AS_STORED_PIXELS, "application/octet-stream"):
        with pytest.raises(NotAcceptableError) as caught:
            await bulkdata.retrieve_pixel_data(study, ANONYMOUS, parse_accept(accept), ROOT)
        assert caught.value.available


async def test_of_several_values_frames_that_end_within_a_byte_go_as_stored(
    bulkdata: BulkdataService, index: Index
) -> None:
    dataset = read(bundled("liver_1frame.dcm"))
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 3, 3, 2
    dataset.PixelData = encapsulate([b"\x01\x02", b"\x03\x04"])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = RLELossless
    scopes = await index.keep("one.zip", saved(dataset), bundled("MR_small.dcm"))
    study = Scope(scopes[0].study_instance_uid)
    received = await parts(await bulkdata.retrieve_pixel_data(study, ANONYMOUS, parse_accept(OCTETS), ROOT))
    assert [part.data for part in received[:2]] == [b"\x01\x02", b"\x03\x04"]
    assert received[0].headers["content-type"] == f"application/octet-stream; transfer-syntax={RLELossless}"


async def test_a_resource_without_bulk_values_has_no_bulkdata(bulkdata: BulkdataService, index: Index) -> None:
    (scope,) = await index.keep("one.zip", bundled("rtplan.dcm"))
    for asked in (scope, Scope(scope.study_instance_uid)):
        with pytest.raises(NotFoundError, match="no bulkdata"):
            await bulkdata.retrieve_bulkdata(asked, ANONYMOUS, parse_accept(None), ROOT)
        with pytest.raises(NotFoundError, match="no pixel data"):
            await bulkdata.retrieve_pixel_data(asked, ANONYMOUS, parse_accept(None), ROOT)


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm"])
async def test_a_range_is_that_of_the_whole_stored_or_made(bulkdata: BulkdataService, index: Index, name: str) -> None:
    (scope,) = await index.keep("one.zip", bundled(name))
    accepted = parse_accept("application/octet-stream")
    whole = await body(await bulkdata.retrieve_value(scope, "7FE00010", ANONYMOUS, accepted, ROOT))
    for start, stop in ((0, 1), (100, 1001), (len(whole) - 1, len(whole)), (0, len(whole))):
        answer = await bulkdata.retrieve_value(scope, "7FE00010", ANONYMOUS, accepted, ROOT)
        assert answer.ranged is not None
        pieces = [bytes(piece) async for piece in answer.ranged(start, stop)]
        assert b"".join(pieces) == whole[start:stop]


class CountingPool:
    """A decoding pool that counts the frames it is asked for."""

    def __init__(self, pool: DecodingPool) -> None:
        self.pool = pool
        self.frames = 0

    async def decode_frame(self, *arguments: Any) -> bytes:
        self.frames += 1
        return await self.pool.decode_frame(*arguments)


async def test_decoded_frames_are_one_value_of_which_a_range_decodes_no_frame_before_it(
    store: FolderStore, index: Index, pool: DecodingPool
) -> None:
    counting = CountingPool(pool)
    bulkdata = BulkdataService(index, store, counting)  # type: ignore[arg-type]
    data = bundled("rtdose_rle.dcm")
    (scope,) = await index.keep("one.zip", data)
    expected = read(bundled("rtdose.dcm")).PixelData
    size = len(expected) // 15
    accepted = parse_accept("application/octet-stream")
    for start, stop, frames in ((0, 1, 1), (4 * size - 1, 4 * size + 1, 2), (15 * size - 2, 15 * size, 1)):
        answer = await bulkdata.retrieve_value(scope, "7FE00010", ANONYMOUS, accepted, ROOT)
        assert answer.content_length == len(expected)
        assert answer.ranged is not None
        counting.frames = 0
        assert b"".join([bytes(piece) async for piece in answer.ranged(start, stop)]) == expected[start:stop]
        assert counting.frames == frames


async def test_values_of_deflated_instances_are_inflated(
    service: RetrieveService, bulkdata: BulkdataService, index: Index
) -> None:
    data = bundled("image_dfl.dcm")
    (scope,) = await index.keep("one.zip", data)
    expected = read(data).PixelData
    bulk = await bulkdata.retrieve_value(scope, "7FE00010", ANONYMOUS, parse_accept("application/octet-stream"), ROOT)
    assert bulk.content_length == len(expected)
    assert await body(bulk) == expected
    frame = await service.retrieve_frames(scope, [1], ANONYMOUS, parse_accept("application/octet-stream"), ROOT)
    assert await body(frame) == expected


async def test_other_bulk_values_by_path(bulkdata: BulkdataService, index: Index) -> None:
    dataset = read(bundled("MR_small.dcm"))
    words = bytes(range(256)) * 40
    dataset.add_new(0x00281201, "OW", words)
    (scope,) = await index.keep("one.zip", saved(dataset))
    answer = await bulkdata.retrieve_value(scope, "00281201", ANONYMOUS, parse_accept("application/octet-stream"), ROOT)
    assert await body(answer) == words
    with pytest.raises(NotFoundError):
        await bulkdata.retrieve_value(scope, "00281202", ANONYMOUS, parse_accept(None), ROOT)


async def test_big_endian_words_are_turned_round(service: RetrieveService, index: Index) -> None:
    data = bundled("MR_small_bigendian.dcm")
    assert scan(data).transfer_syntax_uid == ExplicitVRBigEndian
    (scope,) = await index.keep("one.zip", data)
    answer = await service.retrieve_instances(scope, ANONYMOUS, parse_accept(SINGLE), ROOT)
    assert read(await body(answer)).PixelData == read(bundled("MR_small.dcm")).PixelData


async def test_words_are_turned_round_wherever_the_pieces_of_a_store_end(
    bulkdata: BulkdataService, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = read(bundled("MR_small_bigendian.dcm"))
    values = np.arange(1_000_000, dtype=np.uint16)
    dataset.Rows, dataset.Columns, dataset.PixelData = 1000, 1000, values.astype(">u2").tobytes()
    (scope,) = await index.keep("one.zip", saved(dataset))
    monkeypatch.setattr(FolderReader, "stream", in_pieces_of(99_999, FolderReader.stream))
    answer = await bulkdata.retrieve_value(scope, "7FE00010", ANONYMOUS, parse_accept("application/octet-stream"), ROOT)
    assert await body(answer) == values.astype("<u2").tobytes()


async def test_a_lying_deflated_stream_ends_with_an_error(bulkdata: BulkdataService, index: Index) -> None:
    (scope,) = await index.keep("one.zip", bundled("image_dfl.dcm"))
    assert index.locations[0].transfer_syntax_uid == DeflatedExplicitVRLittleEndian
    location = index.locations[0]
    index.locations[0] = replaced(location, byte_length=location.byte_length // 2)
    answer = await bulkdata.retrieve_value(scope, "7FE00010", ANONYMOUS, parse_accept("application/octet-stream"), ROOT)
    with pytest.raises(DamagedObjectError):
        await body(answer)
    index.locations[0] = replace(location, byte_offset=location.byte_offset + 200)
    with pytest.raises(DamagedObjectError):
        await body(await bulkdata.retrieve_value(scope, "7FE00010", ANONYMOUS, parse_accept(None), ROOT))


def replaced(location: InstanceLocation, **changes: object) -> InstanceLocation:
    return replace(location, **changes)  # type: ignore[arg-type]


async def test_missing_and_short_objects_are_found_before_the_first_byte(
    service: RetrieveService, index: Index, store: FolderStore
) -> None:
    (scope,) = await index.keep("one.zip", bundled("MR_small.dcm"))
    location = index.locations[0]
    for wrong, error in (
        (replaced(location, object_key="nowhere.zip"), ObjectNotFoundError),
        (replaced(location, byte_length=10**9), DamagedObjectError),
    ):
        index.locations[0] = wrong
        for asked in (scope, Scope(scope.study_instance_uid)):
            with pytest.raises(error):
                answer = await service.retrieve_instances(asked, ANONYMOUS, parse_accept(AS_STORED), ROOT)
                await anext(answer.chunks)


async def unzipped(answer: Representation) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(await body(answer))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def test_an_archive_holds_the_files_as_they_were_stored_unless_asked_otherwise(
    service: RetrieveService, index: Index
) -> None:
    names = ("MR_small_RLE.dcm", "CT_small.dcm", "JPEG2000-embedded-sequence-delimiter.dcm")
    files = [bundled(name) for name in names]
    scopes = [*await index.keep("one.zip", *files[:2]), *await index.keep("two.zip", files[2])]
    paths = [f"{scope.series_instance_uid}/{scope.sop_instance_uid}.dcm" for scope in scopes]
    study = Scope(scopes[0].study_instance_uid)
    for accepted in ("application/zip", "application/zip; transfer-syntax=*"):
        answer = await service.retrieve_instances(study, ANONYMOUS, parse_accept(accepted), ROOT)
        assert answer.content_type == "application/zip"
        assert answer.content_length is not None
        assert await unzipped(answer) == dict(zip(paths, files, strict=True))
    explicit = parse_accept("application/zip; transfer-syntax=1.2.840.10008.1.2.1")
    converted = await service.retrieve_instances(study, ANONYMOUS, explicit, ROOT)
    assert converted.content_length is None
    # The last cannot be decoded, so it goes as it is stored (8.7.3.4).
    assert await unzipped(converted) == dict(zip(paths, [to_explicit_little_endian(files[0]), *files[1:]], strict=True))
    one = await service.retrieve_instances(scopes[0], ANONYMOUS, parse_accept("application/zip"), ROOT)
    assert await unzipped(one) == {paths[0]: files[0]}
    with pytest.raises(NotAcceptableError):
        video = parse_accept("application/zip; transfer-syntax=1.2.840.10008.1.2.4.102")
        await service.retrieve_instances(study, ANONYMOUS, video, ROOT)


async def test_an_archive_of_what_is_missing_is_an_error_before_its_first_byte(
    service: RetrieveService, index: Index
) -> None:
    (scope,) = await index.keep("one.zip", bundled("MR_small.dcm"))
    location = index.locations[0]
    for wrong, error in (
        (replaced(location, object_key="nowhere.zip"), ObjectNotFoundError),
        (replaced(location, byte_length=10**9), DamagedObjectError),
        (replaced(location, byte_offset=location.byte_offset + 1), DamagedObjectError),
    ):
        index.locations[0] = wrong
        with pytest.raises(error):
            answer = await service.retrieve_instances(
                Scope(scope.study_instance_uid), ANONYMOUS, parse_accept("application/zip"), ROOT
            )
            await anext(answer.chunks)


async def test_who_may_not_read_is_told_before_anything_is_looked_up(
    service: RetrieveService, bulkdata: BulkdataService, index: Index
) -> None:
    (scope,) = await index.keep("one.zip", bundled("MR_small.dcm"))
    nobody = Principal("anonymous", PrincipalKind.ANONYMOUS, frozenset())
    with pytest.raises(UnauthenticatedError):
        await service.retrieve_instances(scope, nobody, parse_accept(None), ROOT)
    with pytest.raises(UnauthenticatedError):
        await service.retrieve_frames(scope, [1], nobody, parse_accept(None), ROOT)
    with pytest.raises(UnauthenticatedError):
        await bulkdata.retrieve_value(scope, "7FE00010", nobody, parse_accept(None), ROOT)
    with pytest.raises(UnauthenticatedError):
        await bulkdata.retrieve_bulkdata(scope, nobody, parse_accept(None), ROOT)
    with pytest.raises(UnauthenticatedError):
        await bulkdata.retrieve_pixel_data(scope, nobody, parse_accept(None), ROOT)
    assert index.asked == []


@pytest.mark.parametrize("accepted", [AS_STORED, "application/zip"])
async def test_an_answer_that_is_given_up_leaves_no_file_open(
    service: RetrieveService, index: Index, tmp_path: Path, accepted: str
) -> None:
    # More than one read, so that the object is opened and read ahead.
    large = read(bundled("MR_small.dcm"))
    large.Rows, large.Columns, large.PixelData = 1024, 1024, bytes(2 * 1024 * 1024)
    scopes = await index.keep("one.zip", bundled("CT_small.dcm"), saved(large))
    answer = await service.retrieve_instances(
        Scope(scopes[0].study_instance_uid), ANONYMOUS, parse_accept(accepted), ROOT
    )
    await anext(answer.chunks)
    await anext(answer.chunks)
    assert open_below(tmp_path)
    await answer.chunks.aclose()
    for _ in range(3000):
        if not open_below(tmp_path):
            break
        await asyncio.sleep(0.01)
    assert open_below(tmp_path) == []


def open_below(folder: Path) -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue
        if target.startswith(str(folder)):
            found.append(target)
    return found


async def test_fragments_without_a_table_cannot_be_told_apart(service: RetrieveService, index: Index) -> None:
    dataset = read(bundled("examples_ybr_color.dcm"))
    dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"] * 7, has_bot=False)
    (scope,) = await index.keep("one.zip", saved(dataset))
    with pytest.raises(UndecodableError, match="no offset table"):
        await service.retrieve_frames(scope, [1], ANONYMOUS, parse_accept('multipart/related; type="image/jpeg"'), ROOT)


async def test_frames_that_are_only_claimed_take_no_memory(bulkdata: BulkdataService, index: Index) -> None:
    dataset = read(bundled("examples_ybr_color.dcm"))
    dataset.NumberOfFrames = 20_000_000
    (scope,) = await index.keep("one.zip", saved(dataset))
    tracemalloc.start()
    try:
        with pytest.raises(UndecodableError):
            await bulkdata.retrieve_value(scope, "7FE00010", ANONYMOUS, parse_accept(AS_STORED_PIXELS), ROOT)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
