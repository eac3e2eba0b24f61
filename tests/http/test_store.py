"""STOW-RS: what is stored, what is refused, and that a broken request leaves nothing behind."""

import asyncio
import gzip
import sys
import threading
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian
from tests.factories import ROOT as UID
from tests.factories import ct_series, identified, image, part10
from tests.http.archive import BOUNDARY, RELATED, Archive, related, values_of
from tests.http.conftest import StartArchive
from tests.multiparts import body_of, bulk_part, json_part, related_type

from dicomweb_archive.wire import store_response

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

RETRIEVE_URL, FAILED, STORED, OTHER = "00081190", "00081198", "00081199", "0008119A"
COMMENT = "00000902"
FAILURE_REASON, SOP_INSTANCE = "00081197", "00081155"


def reasons(answer: Any) -> list[int]:
    """Return the failure reasons of an answer, of instances and of unreadable parts."""
    items = values_of(answer.json(), FAILED) + values_of(answer.json(), OTHER)
    return [values_of(item, FAILURE_REASON)[0] for item in items]


async def retrieved(archive: Archive, number: int = 1) -> bytes:
    answer = await archive.get(
        f"/studies/{UID}.1/series/{UID}.1.1/instances/{UID}.1.1.{number}",
        headers={"accept": "application/dicom; transfer-syntax=*"},
    )
    assert answer.status_code == 200
    return answer.content


async def test_a_series_is_stored_and_each_instance_referenced(archive: Archive) -> None:
    answer = await archive.store(*ct_series(3))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    assert answer.headers["location"] == f"http://archive.example/dicom-web/studies/{UID}.1"
    assert answer.headers["content-location"] == answer.headers["location"]
    document = answer.json()
    assert FAILED not in document
    assert values_of(document, RETRIEVE_URL) == [answer.headers["location"]]
    references = values_of(document, STORED)
    assert [values_of(item, SOP_INSTANCE) for item in references] == [[f"{UID}.1.1.{n}"] for n in (1, 2, 3)]
    assert values_of(references[0], RETRIEVE_URL) == [
        f"http://archive.example/dicom-web/studies/{UID}.1/series/{UID}.1.1/instances/{UID}.1.1.1"
    ]
    assert await archive.stored_instances() == 3


async def test_one_request_may_hold_many_series_interleaved(archive: Archive) -> None:
    columns = [ct_series(2, study=study, series=series) for study in (1, 2) for series in range(1, 5)]
    interleaved = [instance for row in zip(*columns, strict=True) for instance in row]
    answer = await archive.store(*interleaved)
    assert answer.status_code == 200
    assert answer.headers["location"] == "http://archive.example/dicom-web/studies"
    assert await archive.stored_instances() == 16
    assert len((await archive.get("/series")).json()) == 8


async def test_a_single_part_is_an_instance(archive: Archive) -> None:
    (instance,) = ct_series(1)
    answer = await archive.post(instance, content_type="application/dicom")
    assert answer.status_code == 200
    assert await retrieved(archive) == instance


async def test_the_answer_can_be_xml(archive: Archive) -> None:
    answer = await archive.store(*ct_series(1), headers={"accept": "application/dicom+xml"})
    assert answer.status_code == 200
    assert b"<NativeDicomModel" in answer.content
    assert b'keyword="ReferencedSOPSequence"' in answer.content


async def test_an_unacceptable_answer_is_refused_before_anything_is_stored(archive: Archive) -> None:
    answer = await archive.store(*ct_series(1), headers={"accept": "image/png"})
    assert answer.status_code == 406
    assert await archive.stored_instances() == 0


async def test_the_same_bytes_again_are_success_and_stored_once(archive: Archive) -> None:
    instances = ct_series(2)
    assert (await archive.store(*instances)).status_code == 200
    packs = archive.files()
    answer = await archive.store(*instances)
    assert answer.status_code == 200
    assert len(values_of(answer.json(), STORED)) == 2
    assert archive.files() == packs


async def test_other_bytes_under_a_known_uid_are_a_conflict_and_change_nothing(archive: Archive) -> None:
    (first,) = ct_series(1)
    (other,) = ct_series(1, PatientName="Somebody^Else")
    await archive.store(first)
    answer = await archive.store(other)
    assert answer.status_code == 409
    assert reasons(answer) == [0xA902]
    assert await retrieved(archive) == first


async def test_a_uid_twice_in_one_request_is_stored_once(archive: Archive) -> None:
    first, second = ct_series(2)
    answer = await archive.store(first, second, first)
    assert answer.status_code == 200
    assert await archive.stored_instances() == 2


async def test_a_uid_twice_with_other_bytes_is_a_conflict_of_the_later_part(archive: Archive) -> None:
    (first,) = ct_series(1)
    (other,) = ct_series(1, PatientName="Somebody^Else")
    answer = await archive.store(first, other)
    assert answer.status_code == 202
    assert reasons(answer) == [0xA902]
    assert await retrieved(archive) == first


async def test_one_bad_part_does_not_hinder_the_others(archive: Archive) -> None:
    first, second = ct_series(2)
    answer = await archive.store(first, b"no instance at all" * 10, second)
    assert answer.status_code == 202
    assert "warning" in answer.headers
    assert reasons(answer) == [0xC000]
    assert await archive.stored_instances() == 2


async def test_instances_of_another_study_than_the_path_names_are_refused(archive: Archive) -> None:
    here, there = ct_series(1, study=1) + ct_series(1, study=2)
    answer = await archive.store(here, there, study=f"{UID}.1")
    assert answer.status_code == 202
    assert reasons(answer) == [0xA901]
    # The UID says which instance it was; the comment has room for the whole reason.
    (item,) = answer.json()[FAILED]["Value"]
    assert item["00081155"]["Value"] == [f"{UID}.2.1.1"]
    assert item[COMMENT]["Value"] == ["Instance belongs to another study than the URL names"]
    answer = await archive.store(there, study=f"{UID}.3")
    assert answer.status_code == 409
    assert await archive.stored_instances() == 1


def cut(number: int) -> bytes:
    (instance,) = ct_series(1)
    return instance[:number]


BAD_INSTANCES: dict[str, bytes] = {
    "empty": b"",
    "text": b"Dear archive, please keep this.",
    "zip": b"PK\x03\x04" + bytes(200),
    "pdf": b"%PDF-1.7\n" + bytes(200),
    "preamble alone": bytes(128) + b"DICM",
    "cut in file meta": cut(200),
    "cut in the header": cut(600),
    "cut in pixel data": cut(-10),
    "no study uid": part10(identified(StudyInstanceUID="")),
    "no series uid": part10(identified(SeriesInstanceUID="")),
    "path as uid": part10(identified(SOPInstanceUID="1.2.3/../../4")),
    "line break in uid": part10(identified(SOPInstanceUID="1.2.3\r\nx: y")),
    "quote in uid": part10(identified(StudyInstanceUID="1.2'; drop")),
    "wild card as uid": part10(identified(SeriesInstanceUID="*")),
    "too long a uid": part10(identified(SOPInstanceUID="1." + "2" * 197)),
    "directory": part10(identified(sop_class="1.2.840.10008.1.3.10")),
    "executable without dicm": b"MZ" + bytes(500),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_what_is_no_instance_is_refused_and_leaves_nothing(archive: Archive) -> None:
    for name, instance in BAD_INSTANCES.items():
        answer = await archive.store(instance)
        assert answer.status_code == 409, name
        assert len(reasons(answer)) == 1
        assert archive.files() == []
    assert await archive.stored_instances() == 0


async def test_a_deflate_bomb_is_refused(archive: Archive) -> None:
    bomb = identified()
    bomb.add_new(0x00091001, "OB", b"")
    head = part10(bomb, DeflatedExplicitVRLittleEndian)
    meta_end = head.index(b"1.2.840.10008.1.2.1.99") + len(b"1.2.840.10008.1.2.1.99")
    # A private OB of 128 MiB of zeros, in 128 KiB.
    length = 128 * 1024 * 1024
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(b"\x09\x00\x02\x10OB\x00\x00" + length.to_bytes(4, "little"))
    for _ in range(128):
        body += packer.compress(bytes(1024 * 1024))
    meta = head[: meta_end + 200]
    meta_length = int.from_bytes(meta[140:144], "little")
    answer = await archive.store(meta[: 144 + meta_length] + body + packer.flush())
    assert answer.status_code == 409
    assert archive.files() == []


@pytest.mark.parametrize("preamble", [b"MZ" + bytes(126), b"\x7fELF" + bytes(124), b"#!/bin/sh\n".ljust(128, b"\0")])
async def test_an_executable_preamble_is_never_served_back(archive: Archive, preamble: bytes) -> None:
    instance = part10(image(), preamble=preamble)
    answer = await archive.store(instance)
    assert answer.status_code == 202
    given = await retrieved(archive)
    assert given == bytes(128) + instance[128:]
    # What was sent, and what the archive gave out, both count as the same.
    assert (await archive.store(instance)).status_code == 202
    assert (await archive.store(given)).status_code == 200
    assert await archive.stored_instances() == 1


async def test_a_tiff_preamble_stays(archive: Archive) -> None:
    instance = part10(image(), preamble=(b"II*\x00" + b"\x08\x00\x00\x00").ljust(128, b"\1"))
    assert (await archive.store(instance)).status_code == 200
    assert await retrieved(archive) == instance


async def test_the_boundary_within_pixel_data_is_data(archive: Archive) -> None:
    dataset = image(rows=64, columns=64)
    text = f"\r\n--{BOUNDARY}x\r\n--{BOUNDARY}\n\r\n-{BOUNDARY}--".encode()
    dataset.PixelData = text + bytes(64 * 64 * 2 - len(text))
    instance = part10(dataset)
    assert (await archive.store(instance)).status_code == 200
    assert await retrieved(archive) == instance


MALFORMED: dict[str, tuple[str, bytes]] = {
    "no boundary": ('multipart/related; type="application/dicom"', related(ct_series(1))),
    "wrong boundary": (RELATED.replace(BOUNDARY, "another"), related(ct_series(1))),
    "long boundary": (RELATED.replace(BOUNDARY, "x" * 10_000), related(ct_series(1))),
    "control character in boundary": (RELATED.replace(BOUNDARY, '"a\tb"'), related(ct_series(1))),
    "empty body": (RELATED, b""),
    "closing alone": (RELATED, related([])),
    "cut in a part": (RELATED, related(ct_series(2))[:-200]),
    "no closing after good parts": (RELATED, related(ct_series(2), close=False)),
    "header of a megabyte": (RELATED, related([b""], content_type="x" * 1024 * 1024)),
    "header without end": (RELATED, f"--{BOUNDARY}\r\nContent-Type: a".encode() + b"x" * 100_000),
    "many header lines": (RELATED, f"--{BOUNDARY}\r\n".encode() + b"A: b\r\n" * 20_000 + b"\r\n"),
    "long content type": ("multipart/related; x=" + "y" * 60_000, related(ct_series(1))),
    "single part without bytes": ("application/dicom", b""),
}


async def test_a_malformed_body_is_400_and_nothing_of_it_is_stored(archive: Archive) -> None:
    for name, (content_type, body) in MALFORMED.items():
        answer = await archive.post(body, content_type=content_type)
        assert answer.status_code == 400, name
        assert answer.headers["content-type"] == "application/problem+json"
        assert archive.files() == []
    assert await archive.stored_instances() == 0


async def test_too_many_parts_are_413(start_archive: StartArchive) -> None:
    async with start_archive(max_request_parts=50) as archive:
        answer = await archive.post(related([b""] * 51))
        assert answer.status_code == 413
        assert archive.files() == []


@pytest.mark.parametrize("accept", ["application/dicom+json", "application/dicom+xml"])
async def test_an_answer_of_many_outcomes_keeps_nobody_waiting(
    archive: Archive, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()
    build = store_response.build

    def watched(*arguments: Any) -> Any:
        threads.add(threading.current_thread())
        return build(*arguments)

    monkeypatch.setattr(store_response, "build", watched)
    answer = await archive.post(related([b"no instance"] * 500), headers={"accept": accept})
    assert answer.status_code == 409
    assert threading.main_thread() not in threads


async def test_too_large_an_instance_is_413(start_archive: StartArchive) -> None:
    async with start_archive(max_instance_bytes=1000) as archive:
        answer = await archive.store(*ct_series(2))
        assert answer.status_code == 413
        assert archive.files() == []
        # No part of it is too large, but one of them stands in it twice.
        named, model = {"vr": "OB", "BulkDataURI": "bulk/0"}, identified().to_json_dict()
        few = {tag: model[tag] for tag in ("00080016", "00080018", "0020000D", "0020000E")}
        body = body_of([json_part(few | {"00420011": named, "7FE00010": named}), bulk_part(bytes(350))])
        assert (await archive.post(body, content_type=related_type())).status_code == 413
        assert archive.files() == []


async def test_an_instance_announced_as_too_large_is_413_before_a_byte_is_read(start_archive: StartArchive) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError
        yield b""

    async with start_archive(max_instance_bytes=1000) as archive:
        for length in ("1001", "4294967296", "99999999999999999999"):
            answer = await archive.post(never(), content_type="application/dicom", headers={"content-length": length})
            assert answer.status_code == 413
            assert answer.json()["type"].endswith(":too-large")


OTHER_TYPES = {
    "plain json": "application/json",
    "plain xml": "application/xml",
    "pictures alone": "image/jpeg",
    "picture parts": 'multipart/related; type="image/jpeg"; boundary=x',
    "form": "multipart/form-data; boundary=x",
    "zip": "application/zip",
    "text": "text/plain",
}


async def test_other_payloads_are_415_and_never_read(archive: Archive) -> None:
    for name, content_type in OTHER_TYPES.items():
        answer = await archive.post(b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>", content_type=content_type)
        assert answer.status_code == 415, name
        assert answer.json()["supported"]


async def test_a_payload_without_type_is_415(archive: Archive) -> None:
    answer = await archive.client.post("/dicom-web/studies", content=b"x")
    assert answer.status_code == 415


async def test_a_compressed_payload_is_stored_as_it_was_before(archive: Archive) -> None:
    first, second = ct_series(2)
    answer = await archive.post(gzip.compress(related([first])), headers={"content-encoding": "gzip"})
    assert answer.status_code == 200
    assert await retrieved(archive) == first
    answer = await archive.post(zstd.compress(related([second])), headers={"content-encoding": "zstd"})
    assert answer.status_code == 200
    assert await retrieved(archive, 2) == second


async def test_other_codings_and_bombs_are_refused_and_leave_nothing(archive: Archive) -> None:
    body = related(ct_series(1))
    bomb = gzip.compress(related(ct_series(1))[:-100] + bytes(64 * 1024 * 1024))
    cases = [("br", body, 415), ("gzip, gzip", body, 415), ("deflate", body, 415)]
    cases += [("gzip", body, 400), ("gzip", gzip.compress(body)[:-4], 400), ("gzip", bomb, 413)]
    for coding, sent, status in cases:
        answer = await archive.post(sent, headers={"content-encoding": coding})
        assert answer.status_code == status
        assert answer.headers.get("accept-encoding") == ("gzip, zstd" if status == 415 else None)
        assert archive.files() == []


@pytest.mark.parametrize("part_type", ["text/plain", "multipart/related; boundary=inner", "application/pdf"])
async def test_parts_of_another_type_are_refused_one_by_one(archive: Archive, part_type: str) -> None:
    answer = await archive.post(related(ct_series(1), content_type=part_type))
    assert answer.status_code == 409
    assert reasons(answer) == [0xC003]


async def test_parts_without_a_type_are_taken_as_instances(archive: Archive) -> None:
    answer = await archive.post(related(ct_series(1), content_type=None))
    assert answer.status_code == 200


async def test_any_chunking_of_the_body_stores_the_same(archive: Archive) -> None:
    instances = ct_series(2)
    body = related(instances)

    async def drip() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    assert (await archive.post(drip())).status_code == 200
    assert await retrieved(archive, 2) == instances[1]


async def test_a_large_instance_streams_into_a_pack_of_its_own(start_archive: StartArchive) -> None:
    async with start_archive(hold_instance_bytes=10_000) as archive:
        small, large = ct_series(1)[0], part10(image(PixelData=bytes(2_000_000), instance=2))
        answer = await archive.store(small, large)
        assert answer.status_code == 200
        assert len(archive.files()) == 2
        assert await retrieved(archive, 2) == large
        # Again: nothing is written a second time.
        assert (await archive.store(large)).status_code == 200
        assert len(archive.files()) == 2
        conflict = await archive.store(part10(image(PixelData=bytes(2_000_000), instance=2, PatientID="X")))
        assert conflict.status_code == 409
        assert reasons(conflict) == [0xA902]
        # It is kept beside the other, and once however often it comes.
        assert len(archive.files()) == 3
        await archive.store(part10(image(PixelData=bytes(2_000_000), instance=2, PatientID="X")))
        assert len(archive.files()) == 3
        assert await retrieved(archive, 2) == large


async def test_a_large_bad_instance_is_refused_and_the_rest_goes_on(start_archive: StartArchive) -> None:
    async with start_archive(hold_instance_bytes=10_000) as archive:
        good = ct_series(1)[0]
        large = part10(image(PixelData=bytes(2_000_000), instance=2))
        answer = await archive.store(large[:-1000], b"x" * 50_000, good)
        assert answer.status_code == 202
        assert len(reasons(answer)) == 2
        (named,) = answer.json()[FAILED]["Value"]
        assert named["00081155"]["Value"] == [f"{UID}.1.1.2"]
        (unnamed,) = answer.json()[OTHER]["Value"]
        assert unnamed[COMMENT]["Value"][0].startswith("part 2: ")
        assert len(archive.files()) == 1
        mismatch = await archive.store(large, study=f"{UID}.9")
        assert reasons(mismatch) == [0xA901]
        assert len(archive.files()) == 1


async def test_a_large_executable_preamble_is_neutralised_too(start_archive: StartArchive) -> None:
    async with start_archive(hold_instance_bytes=10_000) as archive:
        instance = part10(image(PixelData=bytes(2_000_000)), preamble=b"MZ" + bytes(126))
        assert (await archive.store(instance)).status_code == 202
        assert await retrieved(archive) == bytes(128) + instance[128:]
        assert (await archive.store(instance)).status_code == 202
        assert (await archive.store(await retrieved(archive))).status_code == 200


async def test_packs_are_closed_when_they_are_full(start_archive: StartArchive) -> None:
    async with start_archive(pack_bytes=3000) as archive:
        # More than are written at once.
        instances = ct_series(70)
        assert (await archive.store(*instances)).status_code == 200
        assert len(archive.files()) > 1
        for number in (1, 65, 70):
            assert await retrieved(archive, number) == instances[number - 1]


async def test_too_little_room_is_507_before_the_body_is_read(start_archive: StartArchive) -> None:
    async with start_archive(free_space_watermark_bytes=2**60) as archive:

        async def never() -> AsyncIterator[bytes]:
            raise AssertionError("the body was read")
            yield b""

        answer = await archive.post(never())
        assert answer.status_code == 507
        assert answer.json()["type"].endswith(":storage-full")
        assert (await archive.get("/studies")).status_code == 200


async def test_many_clients_storing_the_same_instance_store_it_once(archive: Archive) -> None:
    (instance,) = ct_series(1)
    answers = await asyncio.gather(*(archive.store(instance) for _ in range(16)))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert await archive.stored_instances() == 1
    assert len(archive.files()) == 1


async def test_of_many_contents_under_one_uid_exactly_one_wins(archive: Archive) -> None:
    contents = [ct_series(1, PatientID=f"P{number}")[0] for number in range(16)]
    answers = await asyncio.gather(*(archive.store(content) for content in contents))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 15
    (winner,) = [c for c, answer in zip(contents, answers, strict=True) if answer.status_code == 200]
    assert await retrieved(archive) == winner
    # The others are kept as conflicts.
    assert len(archive.files()) == 16


async def test_storing_needs_the_key_when_there_is_one(start_archive: StartArchive) -> None:
    async with start_archive(api_key="secret") as archive:
        assert (await archive.store(*ct_series(1))).status_code == 401
        wrong = {"authorization": "Bearer wrong"}
        assert (await archive.store(*ct_series(1), headers=wrong)).status_code == 401
        right = {"authorization": "Bearer secret"}
        assert (await archive.store(*ct_series(1), headers=right)).status_code == 200


async def test_odd_attributes_of_files_are_named_and_kept_as_they_came(archive: Archive) -> None:
    odd = []
    for number in (1, 2, 3):
        # As long as what they stand for, so that all else stays in its place.
        data = part10(image(instance=number, PatientID="LATIN", SliceThickness="1.50", study=77))
        data = data.replace(b"LATIN ", b"L\xc4TIN ").replace(b"1.50", b"wide")
        odd.append(data.replace(b"ISO_IR 100", b"ISO_IR 192"))
    answer = await archive.store(*odd, part10(image(instance=4, study=77)))
    assert answer.status_code == 202
    items = values_of(answer.json(), STORED)
    assert [item.get("00081196") for item in items] == [{"vr": "US", "Value": [0xB007]}] * 3 + [None]
    for item in items[:3]:
        said = {values_of(each, "00720026")[0]: values_of(each, COMMENT)[0] for each in values_of(item, "00741048")}
        assert said["00180050"] == "Not a number"
        assert "00100020" in said
        assert not any("TIN" in text or "wide" in text for text in said.values())
    again = await archive.store(odd[0])
    assert (again.status_code, values_of(values_of(again.json(), STORED)[0], "00081196")) == (202, [0xB007])
