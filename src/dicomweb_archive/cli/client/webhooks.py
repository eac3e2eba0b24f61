"""`webhooks`: list, make, try, revive and end the webhooks of an archive like this one."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import click

from dicomweb_archive.cli.client.curation.options import at_option, json_option
from dicomweb_archive.cli.client.json_api import Document, open_api, print_json, run_command, take_server
from dicomweb_archive.cli.client.options import ExitCode
from dicomweb_archive.cli.client.table_printing import print_table
from dicomweb_archive.cli.client.terminal import say

_COLUMNS = ("id", "state", "url", "collections", "failures", "problem", "delivered_at")


@click.group()
def webhooks() -> None:
    """List, make, try and end webhooks: URLs to which an archive like this one sends its changes by itself.

    Exit status: 0, 1 the archive refuses it or the target does not take it, 2 wrong usage, 3 the archive cannot be
    reached or does not let us in.
    """


@webhooks.command(name="list")
@json_option
@at_option
def list_them(as_json: bool, **connection: Any) -> None:
    """List the webhooks of the collections that one manages."""
    found = _ask("GET", "", connection)["webhooks"]
    if as_json:
        print_json(found)
        return
    print_table(_COLUMNS, (_row(each) for each in found))


@webhooks.command()
@click.argument("url")
@click.option(
    "--collection",
    "collections",
    metavar="ACCESSION",
    multiple=True,
    help="Whose changes; repeatable. Without it: of all collections.",
)
@click.option("--since", metavar="PLACE", help="Begin behind this place of the change feed.  [default: now]")
@click.option("--from-start", is_flag=True, help="Send all that has ever happened first.")
@json_option
@at_option
def create(
    url: str, collections: tuple[str, ...], since: str | None, from_start: bool, as_json: bool, **given: Any
) -> None:
    """Have changes sent to URL, and print the secret that they are signed with; it cannot be shown again."""
    if from_start and since is not None:
        raise click.UsageError("say where to begin once: --since or --from-start")
    begin = "now" if since is None else since
    body = {"url": url, "collections": list(collections) or None, "since": None if from_start else begin}
    made = _ask("POST", "", given, body)
    if as_json:
        print_json(made)
        return
    # The secret alone is the output, so that a script can take it.
    say(made["secret"])
    say(f"This is the secret of webhook {made['id']}; it cannot be shown again.", err=True)


@webhooks.command()
@click.argument("webhook", metavar="ID")
@json_option
@at_option
def test(webhook: str, as_json: bool, **connection: Any) -> None:
    """Send a message that says nothing, now, and tell whether the target takes it."""
    done = _ask("POST", f"/{quote(webhook, safe='')}/test", connection)
    if as_json:
        print_json(done)
    else:
        say(f"{webhook}: {done['problem'] or 'taken'}")
    if done["problem"]:
        raise SystemExit(ExitCode.INCOMPLETE)


def _changing(name: str, method: str, path: str, words: str, done: str) -> Callable[..., Any]:
    @webhooks.command(name=name, help=words)
    @click.argument("webhook", metavar="ID")
    @at_option
    def change(webhook: str, **connection: Any) -> None:
        _ask(method, f"/{quote(webhook, safe='')}{path}", connection)
        say(f"{webhook}: {done}")

    return change


_changing("revive", "POST", "/revive", "Try again now; a dead one goes on from where it was.", "active")
_changing("delete", "DELETE", "", "End a webhook for good.", "deleted")


def _ask(method: str, path: str, connection: dict[str, Any], body: Document | None = None) -> Document:
    server = take_server(connection)

    async def work() -> Document:
        async with open_api(server) as api:
            if method == "GET":
                return (await api.get(f"/webhooks{path}")).document
            return (await api.send(method, f"/webhooks{path}", body)).document

    return run_command(server, work())


def _row(webhook: Document) -> list[object]:
    named = webhook["collections"]
    return [(", ".join(named) if named else "all") if each == "collections" else webhook[each] for each in _COLUMNS]
