"""Acceptance rules: which instances a collection takes, and from which sites."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class AcceptanceRule(StrEnum):
    """Which rule something breaks; the names are those of the rules in JSON."""

    SOP_CLASSES = "sop_classes"
    TRANSFER_SYNTAXES = "transfer_syntaxes"
    SITES = "sites"
    ATTRIBUTES = "attributes"
    SAFE_PRIVATE = "safe_private"
    APPROVED_VALUES = "approved_values"


@dataclass(frozen=True, slots=True)
class AcceptanceRules:
    """What a collection takes; a rule that names nothing lets everything pass.

    A collection that takes nothing is a closed one, so no rule needs to say that.

    Attributes:
        sop_classes: SOP Class UIDs.
        transfer_syntaxes: Transfer Syntax UIDs, as instances are sent.
        sites: names of sites, as submissions give them.
        attributes: standard attributes that instances may hold, as paths of tags or as a tag alone, at any place.
            Others are taken too: a check names them before anything is published.
        safe_private: private attributes known to hold nothing of a person, besides those that the standard knows.
        approved_values: attributes, all values of which a curator has to approve before a submission is approved, named
            as in the two before; `*`: of all. It keeps nothing from being stored.
    """

    sop_classes: frozenset[str] = frozenset()
    transfer_syntaxes: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    safe_private: frozenset[str] = frozenset()
    approved_values: frozenset[str] = frozenset()

    @classmethod
    def of_document(cls, document: Mapping[str, Iterable[str]]) -> Self:
        """Read the rules from the form in which they are kept; see `document`."""
        return cls(**{rule.value: frozenset(document.get(rule.value, ())) for rule in AcceptanceRule})

    def document(self) -> dict[str, Sequence[str]]:
        """Return the rules that name something, in the form in which they are kept and sent as JSON."""
        listed: dict[str, frozenset[str]] = {rule.value: getattr(self, rule.value) for rule in AcceptanceRule}
        return {name: sorted(values) for name, values in listed.items() if values}

    def broken_by(self, *, sop_class_uid: str, transfer_syntax_uid: str) -> AcceptanceRule | None:
        """Tell which rule an instance breaks; `None`: it is taken."""
        if self.sop_classes and sop_class_uid not in self.sop_classes:
            return AcceptanceRule.SOP_CLASSES
        if self.transfer_syntaxes and transfer_syntax_uid not in self.transfer_syntaxes:
            return AcceptanceRule.TRANSFER_SYNTAXES
        return None

    def takes_site(self, site: str) -> bool:
        """Tell whether a submission of this site is taken; its name counts as written, blanks around it do not."""
        return not self.sites or site.strip() in self.sites
