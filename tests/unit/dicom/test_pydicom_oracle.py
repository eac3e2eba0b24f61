"""Scanner against pydicom: the same JSON for every file, or a difference that the table below explains."""

import json
import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from tests.pydicom_files import bundled_paths

from dicomweb_archive.dicom.instance import BULK_MARKER, ScannedInstance
from dicomweb_archive.dicom.part10 import EXPLICIT_VR_BIG_ENDIAN, scan
from dicomweb_archive.dicom.values import WORD_BYTES
from dicomweb_archive.errors import InvalidInstanceError

DIFFERENCES = {
    "character_set": "(0008,0005) is ISO_IR 192: the JSON is UTF-8 (PS3.18 F.2, F.4)",
    "group_length": "group lengths have no place in JSON (PS3.18 F.2.2)",
    "padding": "Data Set Trailing Padding has no significance (PS3.10 7.2)",
    "null": "an empty value among several is null (PS3.18 F.2.5)",
    "no_value": "a sequence without items has no Value (PS3.18 F.2.5)",
    "spaces": "spaces around CS and others are padding (PS3.5 6.2)",
    "empty_group": "only the non-empty groups of a name (PS3.18 F.2.2)",
    "bulk": "what the metadata leave out has a BulkDataURI (PS3.18 F.2.2, 10.4.1.1.2)",
    "byte_order": "InlineBinary is little endian (PS3.18 F.2.7)",
    "big_endian_unknown": "a private UN is little endian everywhere (PS3.5 6.2.2), pydicom swaps it",
    "number_as_text": "what is no number is carried as string (PS3.18 F.2.3)",
}

# pydicom's own test files that are no instances to keep, and why.
REFUSED = {
    "ExplVR_BigEndNoMeta.dcm": "no DICM",
    "ExplVR_LitEndNoMeta.dcm": "no DICM",
    "no_meta.dcm": "no DICM",
    "rtstruct.dcm": "no DICM",
    "meta_missing_tsyntax.dcm": "no Transfer Syntax UID",
    "MR_truncated.dcm": "ends too early",
    "rtplan_truncated.dcm": "ends too early",
    "JPEGLSNearLossless_08.dcm": "Study Instance UID",
    "JPEGLSNearLossless_16.dcm": "Study Instance UID",
    "SC_rgb_jls_lossy_line.dcm": "Study Instance UID",
    "SC_rgb_jls_lossy_sample.dcm": "Study Instance UID",
    "chrSQEncoding.dcm": "SOP Class UID",
    "chrSQEncoding1.dcm": "SOP Class UID",
    "UN_sequence.dcm": "SOP Class UID",
    "empty_charset_LEI.dcm": "SOP Class UID",
    "nested_priv_SQ.dcm": "SOP Class UID",
    "no_meta_group_length.dcm": "SOP Class UID",
    "priv_SQ.dcm": "SOP Class UID",
}


def explain(ours: dict[str, Any] | None, theirs: dict[str, Any] | None, tag: str, big_endian: bool) -> str | None:
    """Name the difference of one element by the table above; `None` when it has no excuse."""
    if tag.endswith("0000"):
        return "group_length" if ours is None else None
    if tag == "FFFCFFFC":
        return "padding" if ours is None else None
    if ours is None or theirs is None:
        return None
    if ours["vr"] != theirs["vr"]:
        private_unknown = int(tag[:4], 16) % 2 and ours["vr"] == "UN" and big_endian
        return "big_endian_unknown" if private_unknown else None
    if tag == "00080005":
        return "character_set" if ours["Value"] == ["ISO_IR 192"] else None
    if "BulkDataURI" in ours:
        return "bulk" if ours["BulkDataURI"].endswith(tag) else None
    if ours["vr"] == "SQ":
        return "no_value" if "Value" not in ours and theirs["Value"] == [] else None
    if ours["vr"] in WORD_BYTES and big_endian:
        return "byte_order" if len(ours["InlineBinary"]) == len(theirs["InlineBinary"]) else None
    return explain_values(ours, theirs)


def explain_values(ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    mine, other = ours.get("Value", []), theirs.get("Value", [])
    if ours["vr"] == "PN":
        other = [{k: v for k, v in name.items() if v} or None if name else None for name in other]
        return "empty_group" if mine == other else None
    if [value or None for value in other] == mine:
        return "null"
    stripped = [value.strip() or None for value in other if isinstance(value, str)]
    return "spaces" if stripped == mine or (stripped == [None] and not mine) else None


def differences(ours: dict[str, Any], theirs: dict[str, Any], *, big_endian: bool) -> Iterator[tuple[str, str | None]]:
    """Compare two data sets in the JSON model; yields (tag, explanation) for each element that differs."""
    for tag in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(tag), theirs.get(tag)
        if mine == other:
            continue
        items, other_items = (mine or {}).get("Value", []), (other or {}).get("Value", [])
        if mine and other and mine["vr"] == other["vr"] == "SQ" and len(items) == len(other_items) > 0:
            for inner, other_inner in zip(items, other_items, strict=True):
                yield from differences(inner, other_inner, big_endian=big_endian)
        else:
            yield tag, explain(mine, other, tag, big_endian)


def our_json(found: ScannedInstance) -> dict[str, Any]:
    """Merge the elements' JSON, strictly: what JSON does not know fails the test."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    text = b"{%b}" % b",".join(b'"%08X":%b' % (tag, element.json) for tag, element in found.base.items())
    return dict(json.loads(text.decode().replace(BULK_MARKER, ""), parse_constant=refuse))


def their_json(path: Path) -> dict[str, Any]:
    """What pydicom makes of a file; elements that it raises on are left out."""
    result = {}
    for element in dcmread(path):
        try:
            result.update({f"{element.tag:08X}": element.to_json_dict(lambda _: "", 10**9)})
        except (ValueError, TypeError, OverflowError):
            result[f"{element.tag:08X}"] = {"vr": "unreadable"}
    return json.loads(json.dumps(result, default=str)) | {}


def unexplained(path: Path) -> list[str]:
    """Scan a file, compare it with pydicom's reading, and list the tags whose difference has no excuse."""
    data = path.read_bytes()
    try:
        found = scan(data)
    except InvalidInstanceError:
        return []
    ours = our_json(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            theirs = their_json(path)
        finally:
            logging.disable(logging.NOTSET)
    left = {tag for tag, element in theirs.items() if element["vr"] == "unreadable"}
    found_differences = differences(
        {tag: v for tag, v in ours.items() if tag not in left},
        {tag: v for tag, v in theirs.items() if tag not in left},
        big_endian=found.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN,
    )
    return [tag for tag, reason in found_differences if reason not in DIFFERENCES]


BUNDLED = [path for path in bundled_paths() if not path.name.startswith("DICOMDIR")]


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.name)
def test_pydicoms_own_files_read_the_same(path: Path) -> None:
    assert unexplained(path) == []


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.name)
def test_pydicoms_own_files_are_kept_or_refused_for_a_reason(path: Path) -> None:
    if path.name not in REFUSED:
        assert scan(path.read_bytes()).base
        return
    with pytest.raises(InvalidInstanceError, match=REFUSED[path.name]):
        scan(path.read_bytes())


@pytest.mark.real_data
def test_real_files_read_the_same(real_data: Path) -> None:
    # A few of each series: their instances differ in values, not in form. Series of one protocol, of which only numbers
    # tell the names apart, count as one.
    seen: Counter[str] = Counter()
    bad = {}
    for path in sorted(p for p in real_data.rglob("*") if p.is_file()):
        kind = re.sub(r"\d+", "#", str(path.parent))
        seen[kind] += 1
        many = path.parent.name.startswith(("mr_", "ct_ge", "SE0")) or path.parent.name[0].isdigit()
        if many and seen[kind] > 3:
            continue
        if tags := unexplained(path):
            bad[str(path.relative_to(real_data))] = tags
    assert bad == {}
