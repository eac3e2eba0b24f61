"""`curate` knows the words of the archive, although it knows nothing of its inside."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from dicomweb_archive.cli.client.curation import options
from dicomweb_archive.cli.client.curation.editing import edit
from dicomweb_archive.cli.client.curation.inventory import approve_values
from dicomweb_archive.index.curation.conflicts import ConflictDecision
from dicomweb_archive.index.curation.queue import QueueOrder
from dicomweb_archive.index.curation.submissions import SubmissionState
from dicomweb_archive.services.submissions.transitions import Reason


def test_what_can_be_typed_is_what_the_archive_knows() -> None:
    assert set(options.STATES) == {state.value for state in SubmissionState}
    assert set(options.REASONS) == {reason.value for reason in Reason}
    assert set(options.DECISIONS) == {decision.value for decision in ConflictDecision}
    assert set(options.ORDERS) == {order.value for order in QueueOrder}


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '{"rules": 1}'], ids=["nested", "cut", "no-list"])
def test_a_file_that_holds_no_rules_is_refused_in_words(text: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(text)
    outcome = CliRunner().invoke(edit, ["somebody", str(rules)])
    assert (outcome.exit_code, "must be" in outcome.output) == (2, True), outcome.exception


def test_what_nobody_would_look_at_when_approvals_are_taken_back_is_refused() -> None:
    outcome = CliRunner().invoke(approve_values, ["somebody", "Modality", "--revoke", "--content", "ab"])
    assert (outcome.exit_code, "--content is for approving" in outcome.output) == (2, True), outcome.exception
