"""The conformance statement names the tests that hold its claims; here it is held to them."""

import re

import pytest
from pydicom.datadict import keyword_for_tag
from tests.conftest import REPOSITORY
from tests.hostile_instances import generated_kinds

from dicomweb_archive.dicom.attributes import INSTANCE_RETURN, SERIES_RETURN, STUDY_RETURN
from dicomweb_archive.dicom.query import Level
from dicomweb_archive.wire.search_parameters import parse_search

STATEMENT = REPOSITORY / "docs" / "conformance.md"


def defined_tests() -> set[str]:
    """Names of all test functions of the suite."""
    sources = (path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    return {name for source in sources for name in re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE)}


def test_every_test_that_the_statement_names_exists():
    named = set(re.findall(r"`(test_\w+)`", STATEMENT.read_text()))
    assert named
    assert named - defined_tests() == set()


def test_every_claim_in_a_table_of_claims_names_its_test():
    rows = re.findall(r"^\|(.+)\|$", STATEMENT.read_text(), re.MULTILINE)
    claims = [row for row in rows if row.count("|") == 1 and not row.startswith(("---", " claim "))]
    assert claims
    assert [row for row in claims if "`test_" not in row.split("|")[1]] == []


@pytest.mark.parametrize(("about", "least"), [("Retrieve", 26), ("Store", 17), ("Curation", 13)])
def test_every_line_of_a_comparison_names_its_test_or_says_why_there_is_none(about: str, least: int):
    section = re.split(r"\n##", STATEMENT.read_text().partition(f"## {about}, line by line")[2])[0]
    lines = [tuple(cell.strip() for cell in row.split("|")) for row in re.findall(r"^\|(.+)\|$", section, re.MULTILINE)]
    lines = lines[2:]
    assert len(lines) >= least
    assert {state for _, state, _ in lines} == {"yes", "no"}
    assert [name for name, state, held in lines if state == "yes" and "`test_" not in held] == []
    assert [name for name, state, why in lines if state == "no" and len(why.split()) < 8] == []


def test_every_kind_of_bad_input_is_generated_or_names_its_test():
    section = re.split(r"\n##", STATEMENT.read_text().partition("## Bad input, kind by kind")[2])[0]
    rows = [row.split("|") for row in re.findall(r"^\|( \d.+)\|$", section, re.MULTILINE)]
    kinds = [(number, kind, row) for row in rows for number, kind in re.findall(r"((\d+)\*?)", row[0])]
    assert sorted(int(kind) for _, kind, _ in kinds) == list(range(1, 39))
    assert {int(kind) for number, kind, _ in kinds if not number.endswith("*")} == generated_kinds()
    assert [number for number, _, row in kinds if number.endswith("*") and "`test_" not in row[2]] == []


def test_the_attributes_of_the_statement_are_those_that_match_and_are_returned():
    tables = {"study": STUDY_RETURN, "series": SERIES_RETURN, "instance": INSTANCE_RETURN}
    text = STATEMENT.read_text()
    for level, returned in tables.items():
        [row] = re.findall(rf"^\| {level} \| (.+) \|$", text, re.MULTILINE)
        keys, always, known = (cell.split(", ") for cell in row.split(" | "))
        # Types R and U of the tables are always there, C when known.
        types = {keyword_for_tag(line.tag): line.type for line in returned}
        assert set(always) == {name for name, kind in types.items() if kind in "RU"}
        assert set(known) == {name for name, kind in types.items() if kind == "C"}
        for key in keys:
            asked = parse_search([(key, "")], Level(level))
            assert (len(asked.query.keys), asked.warnings) == (1, ()), key
