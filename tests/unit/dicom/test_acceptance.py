"""Acceptance rules of collections."""

import pytest

from dicomweb_archive.dicom.acceptance import AcceptanceRule, AcceptanceRules

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
PLAIN = "1.2.840.10008.1.2.1"
JPEG_LS = "1.2.840.10008.1.2.4.80"

RULES = AcceptanceRules(
    sop_classes=frozenset({CT}),
    transfer_syntaxes=frozenset({PLAIN}),
    sites=frozenset({"Utrecht", "Graz"}),
    attributes=frozenset({"00100010"}),
    safe_private=frozenset({'0021"OURS 1.0"01'}),
    approved_values=frozenset({"*"}),
)


@pytest.mark.parametrize(
    ("sop_class", "transfer_syntax", "broken"),
    [
        pytest.param(CT, PLAIN, None, id="taken"),
        pytest.param(MR, PLAIN, AcceptanceRule.SOP_CLASSES, id="other-class"),
        pytest.param(CT, JPEG_LS, AcceptanceRule.TRANSFER_SYNTAXES, id="other-syntax"),
        pytest.param(MR, JPEG_LS, AcceptanceRule.SOP_CLASSES, id="the-class-is-named-first"),
    ],
)
def test_an_instance_is_held_against_both_lists(
    sop_class: str, transfer_syntax: str, broken: AcceptanceRule | None
) -> None:
    assert RULES.broken_by(sop_class_uid=sop_class, transfer_syntax_uid=transfer_syntax) is broken


def test_rules_that_name_nothing_take_everything() -> None:
    free = AcceptanceRules()
    assert free.broken_by(sop_class_uid=MR, transfer_syntax_uid=JPEG_LS) is None
    assert free.takes_site("")
    assert free.document() == {}


@pytest.mark.parametrize(
    ("site", "taken"), [("Graz", True), (" Graz ", True), ("graz", False), ("", False), ("Gra", False)]
)
def test_a_site_counts_as_written(site: str, taken: bool) -> None:
    assert RULES.takes_site(site) is taken


def test_rules_come_back_from_the_form_in_which_they_are_kept() -> None:
    assert AcceptanceRules.of_document(RULES.document()) == RULES
    assert AcceptanceRules.of_document({}) == AcceptanceRules()
    assert list(RULES.document()["sites"]) == ["Graz", "Utrecht"]
