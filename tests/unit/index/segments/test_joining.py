"""Merging segments: the rows are those that the instances would have had when stored together."""

import collections.abc
from dataclasses import replace

import orjson
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.factories import ct_series, image, part10
from tests.stored import segment_of

from dicomweb_archive.index.segments.building import SegmentContent, build_segment
from dicomweb_archive.index.segments.document import decode_document
from dicomweb_archive.index.segments.joining import KnownTerm, SegmentPart, ZoneBounds, merge_segments
from dicomweb_archive.index.segments.locations import decode_locations
from dicomweb_archive.index.segments.terms import LAST_CHARACTER, TEXT_LIMIT

SECRET = bytes(16)


class Paths(dict[str, int]):
    """Ids of paths, given out as they are asked for."""

    def __missing__(self, path: str) -> int:
        self[path] = len(self) + 1
        return self[path]


def part_of(content: SegmentContent, paths: Paths) -> SegmentPart:
    zones = [ZoneBounds(paths[zone.path], *zone[1:]) for zone in content.terms.zones]
    return SegmentPart(
        len(content.instances), content.terms.hashes, zones, content.common, content.columns, content.document,
        content.locations, content.large,
    )  # fmt: skip


def known_of(contents: collections.abc.Sequence[SegmentContent], paths: Paths) -> list[KnownTerm]:
    rows = {row.hash: row for content in contents for row in content.terms.dictionary}
    return [KnownTerm(row.hash, paths[row.path], row.text, row.number) for row in rows.values()]


@pytest.mark.parametrize("sizes", [(1,) * 5, (1, 3, 2), (1,) * 40, (36, 1, 4), (35, 35)])
def test_merged_segments_are_as_if_stored_together(sizes: tuple[int, ...]):
    files = ct_series(sum(sizes))
    # Something that a part has in all its instances, another in none, a third in some.
    stored = segment_of(files)
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    contents = [build_segment(segment_of(files[s : s + n]), SECRET) for s, n in zip(starts, sizes, strict=True)]
    together = build_segment(stored, SECRET)
    paths = Paths()
    merged = merge_segments([part_of(content, paths) for content in contents], known_of(contents, paths))
    assert merged is not None
    expected = part_of(together, paths)
    assert merged.instance_count == expected.instance_count
    assert list(merged.terms) == list(expected.terms)
    assert sorted(merged.zones) == sorted(expected.zones)
    assert orjson.loads(merged.common) == orjson.loads(expected.common)
    assert orjson.loads(merged.columns) == orjson.loads(expected.columns)
    assert decode_document(merged.document) == decode_document(expected.document)
    assert decode_locations(merged.locations) == decode_locations(expected.locations)


def part(
    terms: collections.abc.Sequence[int] = (), zones: collections.abc.Sequence[ZoneBounds] = (), **more: object
) -> SegmentPart:
    content = build_segment(segment_of(ct_series(1)), SECRET)
    whole = replace(part_of(content, Paths()), terms=terms, zones=zones, common="{}", columns="{}")
    return replace(whole, **more)  # type: ignore[arg-type]


def test_long_sequences_stay_apart_when_segments_are_merged():
    files = []
    for number, length in ((1, 2000), (2, 2000), (3, 1)):
        dataset = image(instance=number)
        step = Dataset()
        step.ScheduledProcedureStepID = "S1"
        dataset.RequestAttributesSequence = Sequence([step] * length)
        files.append(part10(dataset))
    contents = [build_segment(segment_of(part), SECRET) for part in (files[:2], files[2:])]
    paths = Paths()
    merged = merge_segments([part_of(content, paths) for content in contents], known_of(contents, paths))
    assert merged is not None
    together = build_segment(segment_of(files), SECRET)
    assert orjson.loads(merged.large or "") == orjson.loads(together.large or "")
    assert orjson.loads(merged.columns) == orjson.loads(together.columns)


def test_values_beside_a_zone_go_into_it_and_the_empty_value_stays_a_term():
    known = [KnownTerm(1, 7, "", None), KnownTerm(2, 7, "9", 9.0), KnownTerm(3, 8, "ct", None)]
    merged = merge_segments([part([1, 2, 3]), part([3], [ZoneBounds(7, 1.0, 5.0, None, None)])], known)
    assert merged is not None
    assert merged.terms == [1, 3]
    assert merged.zones == [ZoneBounds(7, 1.0, 9.0, None, None)]


def test_a_zone_of_numbers_that_meets_a_text_covers_every_text():
    merged = merge_segments(
        [part([2]), part([], [ZoneBounds(7, 1.0, 5.0, None, None)])], [KnownTerm(2, 7, "about 9", None)]
    )
    assert merged is not None
    assert merged.zones == [ZoneBounds(7, 1.0, 5.0, "", LAST_CHARACTER)]


def test_a_text_of_which_the_dictionary_may_hold_the_head_alone_bounds_what_begins_with_it():
    head = "z" * TEXT_LIMIT
    zones = [ZoneBounds(7, None, None, "b", "c")]
    merged = merge_segments([part([2]), part([], zones)], [KnownTerm(2, 7, head, None)])
    assert merged is not None
    assert merged.zones == [ZoneBounds(7, None, None, "b", head + LAST_CHARACTER)]


def test_what_only_some_instances_have_becomes_a_column_with_gaps():
    forms = [('{"A":["x"]}', "{}"), ("{}", "{}"), ('{"B":[1.0]}', '{"A":[["x"],null]}')]
    parts = [part(common=common, columns=columns) for common, columns in forms[:2]]
    parts.append(part(common=forms[2][0], columns=forms[2][1], instance_count=2, document=two_instances()))
    merged = merge_segments(parts, [])
    assert merged is not None
    assert orjson.loads(merged.common) == {}
    assert orjson.loads(merged.columns) == {"A": [["x"], None, ["x"], None], "B": [None, None, [1.0], [1.0]]}


def two_instances() -> bytes:
    return build_segment(segment_of(ct_series(2)), SECRET).document


def test_too_many_terms_for_one_segment_are_left_apart():
    assert merge_segments([part(range(15_000)), part(range(15_000, 25_000))], []) is None


def test_too_much_that_varies_for_one_segment_is_left_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dicomweb_archive.index.segments.joining.VARYING_LIMIT", 10)
    assert merge_segments([part(), part(document=two_instances(), instance_count=2)], []) is None
