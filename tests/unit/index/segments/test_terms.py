"""Terms: every distinct value of a segment is found, by a hash that only this archive can compute."""

import pytest

from dicomweb_archive.dicom.instance import Element
from dicomweb_archive.dicom.matching import is_empty
from dicomweb_archive.index.segments.terms import (
    DISTINCT_LIMIT,
    PATH_LIMIT,
    TERMS_LIMIT,
    TEXT_LIMIT,
    SegmentTerms,
    TermCollector,
    equality_form,
    step_name,
    term_hash,
)

SECRET = bytes(range(16))


def text(vr: str, *values: str | None) -> Element:
    return Element(vr, b'{"vr":"%b","Value":[...]}' % vr.encode(), values)


def empty(vr: str) -> Element:
    return Element(vr, b'{"vr":"%b"}' % vr.encode())


def sequence(*items: dict[int, Element], json: bytes = b'{"vr":"SQ","Value":[{}]}') -> Element:
    return Element("SQ", json, items)


def collect(attributes: dict[int, Element]) -> SegmentTerms:
    collector = TermCollector()
    for tag, element in attributes.items():
        collector.add(step_name(tag, attributes), element)
    return collector.finish(SECRET)


def values_of(terms: SegmentTerms, path: str) -> set[str]:
    return {row.text for row in terms.dictionary if row.path == path}


def test_a_term_is_a_signed_hash_that_depends_on_secret_path_and_text():
    hashes = {
        term_hash(secret, path, value)
        for secret in (SECRET, bytes(16))
        for path in ("00080060", "00080061")
        for value in ("CT", "MR", "")
    }
    assert len(hashes) == 12
    assert all(-(2**63) <= value < 2**63 for value in hashes)
    assert min(hashes) < 0 < max(hashes)


def test_each_value_of_several_is_a_term_with_its_dictionary_row():
    terms = collect({0x00080008: text("CS", "ORIGINAL", None, "PRIMARY", "ORIGINAL")})
    assert values_of(terms, "00080008") == {"ORIGINAL", "PRIMARY"}
    assert terms.hashes == sorted(term_hash(SECRET, "00080008", v) for v in ("ORIGINAL", "PRIMARY"))
    assert [row.hash for row in terms.dictionary] == terms.hashes
    assert terms.paths == {"00080008": "CS"}


@pytest.mark.parametrize(
    "element",
    [
        pytest.param(empty("LO"), id="zero length"),
        pytest.param(text("LO", None, None), id="only empty values"),
        pytest.param(text("PN", "^^"), id="nothing left when normalised"),
        pytest.param(sequence(json=b'{"vr":"SQ"}'), id="sequence without items"),
        pytest.param(empty("OB"), id="empty binary"),
    ],
)
def test_present_but_empty_is_a_term(element: Element):
    assert values_of(collect({0x00104000: element}), "00104000") == {""}


@pytest.mark.parametrize(
    "element",
    [
        pytest.param(Element("OW", b'{"vr":"OW","BulkDataURI":"\x1a7FE00010"}', (), True), id="bulk"),
        pytest.param(Element("UN", b'{"vr":"UN","InlineBinary":"AAAA"}'), id="inline binary"),
    ],
)
def test_binary_and_bulk_values_are_no_terms(element: Element):
    terms = collect({0x7FE00010: element})
    assert terms.hashes == []
    assert terms.paths == {}


def test_values_in_items_are_found_by_their_path():
    item = {0x00400009: text("SH", "STEP1"), 0x00400007: empty("LO")}
    terms = collect({0x00400275: sequence(item, {0x00400009: text("SH", "STEP2")})})
    assert values_of(terms, "00400275.00400009") == {"STEP1", "STEP2"}
    assert values_of(terms, "00400275.00400007") == {""}


def test_private_elements_go_by_their_creator_in_every_data_set_and_item():
    item = {0x00290011: text("LO", "ACME 2"), 0x00291130: text("LO", "inner")}
    attributes = {
        0x00290010: text("LO", "ACME"),
        0x00291001: text("LO", "one"),
        0x00291002: sequence(item),
        0x00311005: text("LO", "nobody's"),
    }
    terms = collect(attributes)
    assert values_of(terms, '0029"ACME"01') == {"one"}
    assert values_of(terms, '0029"ACME"02.0029"ACME 2"30') == {"inner"}
    assert values_of(terms, "00290010") == {"ACME"}
    assert values_of(terms, "00311005") == {"nobody's"}


def test_numbers_and_dates_carry_their_number():
    terms = collect({0x00180050: text("DS", "05.0"), 0x00080020: text("DA", "20240131", "yesterday")})
    rows = {(row.path, row.text): row.number for row in terms.dictionary}
    assert rows["00180050", "5"] == 5.0
    assert rows["00080020", "20240131"] is not None
    assert rows["00080020", "yesterday"] is None


def test_many_distinct_values_become_a_zone_and_the_empty_one_stays_a_term():
    many = [str(number) for number in range(DISTINCT_LIMIT + 1)]
    terms = collect({0x00200013: text("IS", *many)})
    assert values_of(terms, "00200013") == set()
    assert terms.zones == [("00200013", 0.0, float(DISTINCT_LIMIT), None, None, 1.0)]
    collector = TermCollector()
    collector.add("00200013", text("IS", *many))
    collector.add("00200013", empty("IS"))
    assert values_of(collector.finish(SECRET), "00200013") == {""}
    assert values_of(collect({0x00200013: text("IS", *many[:-1])}), "00200013") == set(many[:-1])


def test_a_zone_of_texts_bounds_every_value_also_the_long_ones():
    values = [f"v{number:03}" for number in range(40)] + ["w" * (TEXT_LIMIT + 5)]
    (zone,) = collect({0x00204000: text("LT", *values)}).zones
    assert (zone.low, zone.high) == (None, None)
    assert all(zone.low_text <= value <= zone.high_text for value in values)


def test_a_zone_of_mixed_values_bounds_numbers_and_texts():
    (zone,) = collect({0x00200013: text("IS", *map(str, range(40)), "n/a")}).zones
    assert (zone.low, zone.high) == (0.0, 39.0)
    assert zone.low_text <= "n/a" <= zone.high_text


def test_the_hash_covers_a_long_value_of_which_the_dictionary_keeps_a_prefix():
    one, other = "x" * 600 + "1", "x" * 600 + "2"
    terms = collect({0x00104000: text("LT", one, other)})
    assert terms.hashes == sorted(term_hash(SECRET, "00104000", value) for value in (one, other))
    assert values_of(terms, "00104000") == {"x" * TEXT_LIMIT}


def test_the_form_for_rechecks_holds_texts_numbers_and_items():
    collector = TermCollector()
    item = {0x00100010: text("PN", "Doé^John=土井"), 0x00104000: empty("LT")}
    assert collector.add("a", text("DS", "1.50", None, "x")) == [1.5, "x"]
    assert collector.add("b", sequence(item)) == [{"00100010": ["doe^john", "土井"], "00104000": []}]
    assert collector.add("d", empty("LO")) == []


def test_a_long_text_is_its_beginning_for_patterns_and_a_digest_for_equality():
    one, other = "y" * TEXT_LIMIT + "1", "y" * TEXT_LIMIT + "2"
    collector = TermCollector()
    assert collector.add("a", text("LT", one)) == ["y" * TEXT_LIMIT, equality_form(one)]
    assert collector.add("b", text("LT", other))[1] != equality_form(one)
    assert collector.add("c", text("LT", one[: TEXT_LIMIT - 1])) == [one[: TEXT_LIMIT - 1]]


@pytest.mark.parametrize(
    "element",
    [
        pytest.param(Element("OW", b'{"vr":"OW","BulkDataURI":"\x1a7FE00010"}', (), True), id="bulk"),
        pytest.param(Element("UN", b'{"vr":"UN","InlineBinary":"AAAA"}'), id="inline binary"),
    ],
)
def test_what_cannot_be_compared_is_known_to_be_there(element: Element):
    assert TermCollector().add("a", element) == [None]
    assert not is_empty(element)


def test_two_blocks_of_one_creator_are_one_path_in_an_item():
    item = {
        0x00290010: text("LO", "ACME"),
        0x00290011: text("LO", "ACME"),
        0x00291001: text("LO", "first"),
        0x00291101: text("LO", "second"),
    }
    (form,) = TermCollector().add("00081140", sequence(item))
    assert form['0029"ACME"01'] == ["first", "second"]


def test_numbers_without_finite_value_are_texts():
    collector = TermCollector()
    assert collector.add("a", Element("FD", b'{"vr":"FD","Value":[null]}', (float("nan"), float("inf")))) == [
        "nan",
        "inf",
    ]
    assert all(row.number is None for row in collector.finish(SECRET).dictionary)


def test_hostile_paths_and_numbers_of_terms_stay_within_bounds():
    collector = TermCollector()
    deep = text("LO", "x")
    for _ in range(64):
        deep = sequence({0x00081140: deep})
    collector.add("00081140", deep)
    for number in range(TERMS_LIMIT + 10):
        collector.add(f"00081140.{number:08X}", text("LO", "x"))
    collector.add("00080060", text("CS", "CT"))
    terms = collector.finish(SECRET)
    assert len(terms.hashes) == TERMS_LIMIT
    assert values_of(terms, "00080060") == {"CT"}
    assert max(map(len, terms.paths)) <= PATH_LIMIT


@pytest.mark.parametrize("creator", ["", "  ", "AC\x00ME", "\ud800"], ids=["empty", "blank", "nul", "surrogate"])
def test_odd_creators_give_storable_paths(creator: str):
    attributes = {0x00290010: text("LO", creator), 0x00291001: text("LO", "one")}
    terms = collect(attributes)
    assert all("\0" not in path for path in terms.paths)
    assert all(path.encode() for path in terms.paths)
