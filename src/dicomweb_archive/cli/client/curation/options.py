"""Options that commands of curators share."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from dicomweb_archive.cli.client.options import server_options

F = TypeVar("F", bound=Callable[..., Any])

STATES: Final = (
    "open",
    "sealed",
    "checking",
    "failed_checks",
    "in_review",
    "changes_requested",
    "approved",
    "publishing",
    "published",
    "rejected",
    "withdrawn",
    "expired",
)
REASONS: Final = (
    "quality",
    "patient_safety",
    "wrong_worklist",
    "retention_expired",
    "wrong_patient",
    "duplicate",
    "phi_in_header",
    "phi_in_pixels",
    "consent_withdrawn",
    "not_in_protocol",
    "corrupt",
    "other",
)
DECISIONS: Final = ("keep", "reject", "replace")
ORDERS: Final = ("changed_at", "-changed_at", "created_at", "-created_at", "title")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
comment_option = click.option("--comment", metavar="TEXT", help="For who reads the trail.")
at_option = server_options("--at")


def reason_option(*, required: bool) -> Callable[[F], F]:
    """Add the option that says why."""
    return click.option("--reason", type=click.Choice(REASONS), required=required, help="Why.")


def revision_option(command: F) -> F:
    """Add the option that names the revision which was looked at."""
    words = "Only if it is in this revision still, as `show` has told; without it: as it is now."
    return click.option("--revision", type=click.IntRange(1), help=words)(command)


def wait_option(command: F) -> F:
    """Add the option that says how long an outcome is waited for."""
    words = "How long to wait for the outcome; 0: not at all."
    return click.option("--wait", "wait_seconds", type=click.FloatRange(0), default=600, show_default=True, help=words)(
        command
    )
