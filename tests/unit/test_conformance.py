"""The conformance statement names the tests that hold its claims; here it is held to them."""

import re

from tests.conftest import REPOSITORY

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
