"""Commands that move submissions from state to state, one after the other as they are named."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import click

from dicomweb_archive.cli.client.connection import UnexpectedAnswerError
from dicomweb_archive.cli.client.curation.options import (
    at_option,
    comment_option,
    json_option,
    reason_option,
    revision_option,
)
from dicomweb_archive.cli.client.curation.work import Curation, Decision, Patience
from dicomweb_archive.cli.client.json_api import Document, open_api, run_command, take_server
from dicomweb_archive.cli.client.options import ExitCode
from dicomweb_archive.cli.client.terminal import json_text, say

_ACTIONS = {
    "approve": "Approve submissions, so that they can be published.",
    "reject": "Reject submissions, with a reason.",
    "request-changes": "Ask the submitters to change something, with a reason.",
    "reconsider": "Take approvals back.",
    "review": "Take submissions into review by hand.",
    "seal": "Say that submissions are complete, so that their checks begin.",
    "reopen": "Let submissions take instances again.",
}
_NEED_REASON = frozenset({"reject", "request-changes"})

Deed = Callable[[Curation, str], Awaitable[Document]]


def _acting(action: str) -> click.Command:
    @click.command(name=action, help=_ACTIONS[action])
    @click.argument("names", metavar="NAME...", nargs=-1, required=True)
    @reason_option(required=action in _NEED_REASON)
    @comment_option
    @revision_option
    @json_option
    @at_option
    def command(
        names: tuple[str, ...],
        reason: str | None,
        comment: str | None,
        revision: int | None,
        as_json: bool,
        **connection: Any,
    ) -> None:
        require_one(names, "--revision", given=revision is not None)
        decision = Decision(reason, comment)

        async def deed(curation: Curation, name: str) -> Document:
            return await curation.act(name, action, decision, revision)

        do_each(names, deed, lambda done: str(done["state"]), connection, as_json=as_json)

    return command


def require_one(names: Sequence[str], option: str, *, given: bool) -> None:
    """Refuse several names with an option that is about one submission."""
    if given and len(names) > 1:
        message = f"{option} is of one submission"
        raise click.UsageError(message)


def do_each(
    names: Sequence[str],
    deed: Deed,
    words: Callable[[Document], str],
    connection: dict[str, Any],
    *,
    as_json: bool,
    wait_seconds: float = 0,
) -> None:
    """Do something with each submission; what cannot be done with one keeps none of the others back."""
    server = take_server(connection)

    async def work() -> bool:
        is_done = True
        async with open_api(server) as api:
            curation = Curation(api, Patience(wait_seconds))
            for name in names:
                try:
                    done = await deed(curation, name)
                except UnexpectedAnswerError as error:
                    is_done = False
                    say(f"{name}: {error}", err=True)
                else:
                    say(json_text(done) if as_json else f"{name}: {words(done)}")
        return is_done

    if not run_command(server, work()):
        raise SystemExit(ExitCode.INCOMPLETE)


commands: list[click.Command] = [*map(_acting, _ACTIONS)]
