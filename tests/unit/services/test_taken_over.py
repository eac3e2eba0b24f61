"""Jobs that somebody else begins again."""

from types import SimpleNamespace
from typing import Any

from dicomweb_archive.services.access import EVERY_ROLE, Principal, PrincipalKind
from dicomweb_archive.services.submissions.conflict_decisions import conflict_decisions_kind


def test_decisions_on_conflicts_are_those_of_who_begins_them_again() -> None:
    service: Any = SimpleNamespace()
    taken_over = conflict_decisions_kind(service).taken_over
    assert taken_over is not None
    two = Principal("two", PrincipalKind.KEY_HOLDER, EVERY_ROLE)
    asked = {
        "submission": "a",
        "asked": {},
        "ruling": {"decision": "keep", "actor": "one", "reason": "", "comment": ""},
    }
    taken = taken_over(asked, two)
    assert taken == {**asked, "ruling": {**asked["ruling"], "actor": "two"}}
