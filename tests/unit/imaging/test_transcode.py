"""Transcoding to Explicit VR Little Endian, held against pydicom's own reading of the same files."""

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import decompress
from tests.pydicom_files import bundled, bundled_names, read

from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.imaging.native import swap_words
from dicomweb_archive.imaging.pixel_format import PixelFormat
from dicomweb_archive.imaging.transcode import EXPLICIT_VR_LITTLE_ENDIAN, join_frames, to_explicit_little_endian

# Broken on purpose.
UNDECODABLE = {"JPEG2000-embedded-sequence-delimiter.dcm"}
# pydicom itself does not get through these.
NO_ORACLE = {"J2K_pixelrep_mismatch.dcm", "meta_missing_tsyntax.dcm", "JPEG-lossy.dcm", "JPGExtended.dcm"}
# None, big endian words that stay as they are, and Deflated Image Frame, which is younger than pydicom 3.0.
NOT_READ_BY_PYDICOM = {"", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.8.1"}
# Pixels of compressed files have tests of their own.
CHANGED_BY_DECODING = frozenset({0x7FE00010, 0x7FE00001, 0x7FE00002, 0x00280004, 0x00280006})
# Two bytes of a word each, by the sibling in little endian.
BIG_ENDIAN = {
    "MR_small_bigendian.dcm": "MR_small.dcm",
    "MR_small_expb.dcm": "MR_small.dcm",
    "rtdose_expb.dcm": "rtdose.dcm",
    "rtdose_expb_1frame.dcm": "rtdose_1frame.dcm",
    "SC_rgb_small_odd_big_endian.dcm": "SC_rgb_small_odd.dcm",
}


def differences(ours: Dataset, theirs: Dataset, skipped: frozenset[int], path: str = "") -> list[str]:
    found = []
    same_text = ours._character_set == theirs._character_set
    for tag in sorted(set(ours.keys()) | set(theirs.keys())):
        if tag.element == 0 or int(tag) in skipped:
            continue
        if tag not in ours or tag not in theirs:
            found.append(f"{path}{tag} is only on one side")
            continue
        if same_text and same_bytes(ours.get_item(tag), theirs.get_item(tag)):
            continue
        mine, other = ours[tag], theirs[tag]
        if mine.VR != other.VR:
            found.append(f"{path}{tag} {mine.VR} for {other.VR}")
        elif mine.VR == "SQ":
            for number, (item, other_item) in enumerate(zip(mine.value, other.value, strict=True)):
                found += differences(item, other_item, skipped, f"{path}{tag}[{number}]")
        elif not equal(mine.value, other.value):
            found.append(f"{path}{tag} differs")
    return found


def same_bytes(mine: object, other: object) -> bool:
    """Tell of elements that pydicom has not interpreted yet: of the same bytes it would make the same."""
    return (
        isinstance(mine, RawDataElement)
        and isinstance(other, RawDataElement)
        and bool(mine.value)
        and (
            (mine.VR, mine.value, mine.is_implicit_VR, mine.is_little_endian)
            == (other.VR, other.value, other.is_implicit_VR, other.is_little_endian)
        )
    )


def equal(mine: Any, other: Any) -> bool:
    if isinstance(mine, bytes) and isinstance(other, bytes):
        return mine == other or mine == other + b"\0"
    return bool(mine == other)


@pytest.mark.parametrize("name", sorted(set(bundled_names()) - UNDECODABLE - NO_ORACLE))
def test_pydicom_reads_the_same_from_the_transcoded_file(name: str) -> None:
    data = bundled(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = read(data)
        ours = read(to_explicit_little_endian(data))
        if "PixelData" in theirs and theirs.file_meta.TransferSyntaxUID.is_encapsulated:
            decompress(theirs, generate_instance_uid=False)
        assert ours.file_meta.TransferSyntaxUID == EXPLICIT_VR_LITTLE_ENDIAN
        # pydicom leaves the words of big endian pixels as they are: those have a test of their own.
        skipped = frozenset({0x7FE00010}) if name in BIG_ENDIAN or name == "ExplVR_BigEnd.dcm" else frozenset()
        assert differences(ours, theirs, skipped) == []


@pytest.mark.parametrize(("big", "little"), BIG_ENDIAN.items())
def test_big_endian_pixels_become_those_of_the_little_endian_sibling(big: str, little: str) -> None:
    expected = read(bundled(little)).PixelData
    found = read(to_explicit_little_endian(bundled(big))).PixelData
    assert found[: len(expected)] == expected


@pytest.mark.parametrize("name", sorted(UNDECODABLE))
def test_what_cannot_be_decoded_says_so_without_a_value(name: str) -> None:
    with pytest.raises(UndecodableError, match="cannot be decoded"):
        to_explicit_little_endian(bundled(name))


def test_the_bytes_of_wrong_values_survive() -> None:
    data = bundled("MR_small_implicit.dcm")
    wrong = data.replace(b"1600", b"16,0")
    assert wrong != data
    assert b"16,0" in to_explicit_little_endian(wrong)


def test_frames_of_single_bits_are_joined_without_gaps() -> None:
    pixels = PixelFormat(3, 1, 1, 1, 1, 0, "MONOCHROME2", 0, 3)
    assert join_frames([b"\x05", b"\x02", b"\x07"], pixels) == bytes([0b11010101, 0b1])


def test_bytes_behind_the_last_whole_word_stay() -> None:
    assert swap_words(b"\1\2\3\4\5", 2) == b"\2\1\4\3\5"
    assert swap_words(b"\1\2\3\4", 4) == b"\4\3\2\1"
    assert swap_words(b"", 8) == b""


@pytest.mark.real_data
def test_one_file_of_every_kind_of_real_data_is_read_the_same(real_data: Path) -> None:
    found: dict[tuple[Path, str], Path] = {}
    for path in sorted(real_data.rglob("*.dcm")):
        with suppress(InvalidDicomError):
            found.setdefault((path.parent, str(read_file_meta_info(path).get("TransferSyntaxUID", ""))), path)
    assert len(found) > 20
    for (_, syntax), path in found.items():
        if syntax in NOT_READ_BY_PYDICOM:
            continue
        data = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress(UndecodableError):
                ours = read(to_explicit_little_endian(data))
                assert differences(ours, read(data), CHANGED_BY_DECODING) == [], path.name
