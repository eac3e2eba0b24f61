"""What somebody has written into the form of an edit counts, or is refused: nothing of it is passed over."""

import pytest

from dicomweb_archive.errors import InvalidRequestError
from dicomweb_archive.web.pages.curation.rule_form import ConditionRow, Deed, RuleRow, rules_of
from dicomweb_archive.web.pages.curation.rule_form import Test as Asks


@pytest.mark.parametrize(
    "row",
    [
        RuleRow("StationName", Deed.SET, old="CT1", new="CT2"),
        RuleRow("StationName", Deed.DROP, old="CT1", new="CT2"),
        RuleRow("StationName", Deed.REMOVE, old="CT1"),
        RuleRow("StationName", Deed.REMOVE, new="CT2"),
        RuleRow("StationName", Deed.REMOVE, vr="SH"),
        RuleRow("StationName", Deed.MAP, old="CT1", new="CT2", vr="SH"),
        RuleRow("StationName", Deed.SET, new="CT2", when=(ConditionRow("Modality", Asks.PRESENT, "CT"),)),
        RuleRow("StationName", Deed.SET, new="CT2", when=(ConditionRow("Modality", Asks.ABSENT, "CT"),)),
    ],
)
def test_a_field_that_would_count_for_nothing_is_refused(row: RuleRow) -> None:
    with pytest.raises(InvalidRequestError, match="count for nothing"):
        rules_of([row])


def test_fields_that_count_are_taken() -> None:
    when = (ConditionRow("Modality", Asks.IS, "CT"), ConditionRow("KVP", Asks.PRESENT))
    rows = [
        RuleRow("StationName", Deed.SET, new="CT2", vr="SH", when=when),
        RuleRow("StationName", Deed.MAP, old="a\nb", new="c"),
        RuleRow("StationName", Deed.DROP, old="a"),
        RuleRow("StationName", Deed.REPLACE, old="a", new="b"),
        RuleRow("StationName", Deed.REMOVE),
    ]
    assert [rule["action"] for rule in rules_of(rows)] == ["set", "map", "map", "replace", "remove"]
