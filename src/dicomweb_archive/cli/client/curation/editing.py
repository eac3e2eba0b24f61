"""Commands that correct what waits by rules: tried, applied, listed and taken back."""

import json
from pathlib import Path
from typing import Any

import click

from dicomweb_archive.cli.client.curation.options import at_option, json_option, revision_option, wait_option
from dicomweb_archive.cli.client.curation.work import Curation, Patience
from dicomweb_archive.cli.client.json_api import Document, open_api, print_json, run_command, take_server
from dicomweb_archive.cli.client.table_printing import print_table
from dicomweb_archive.cli.client.terminal import say

_CHANGES = ("attribute", "kind", "before", "after", "instances")
_EDITS = ("id", "state", "instances", "unfit", "actor", "created_at", "undoes", "undone_by", "reason")


def _rules_of(_context: click.Context, _parameter: click.Parameter, path: Path) -> list[Any]:
    """Read a file of rules: a list, or an object that has it as `rules`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        rules = document["rules"] if isinstance(document, dict) else document
    except (OSError, ValueError, KeyError, RecursionError) as error:
        message = "must be a file of JSON: a list of rules, or an object with `rules`"
        raise click.BadParameter(message) from error
    if not isinstance(rules, list):
        message = "its rules must be a list"
        raise click.BadParameter(message)
    return rules


@click.command()
@click.argument("name")
@click.argument("rules", type=click.Path(exists=True, dir_okay=False, path_type=Path), callback=_rules_of)
@click.option("--apply", "reason", metavar="REASON", help="Apply them, and say why; without it they are tried only.")
@revision_option
@wait_option
@json_option
@at_option
def edit(
    name: str,
    rules: list[Any],
    reason: str | None,
    revision: int | None,
    wait_seconds: float,
    as_json: bool,
    **connection: Any,
) -> None:
    """Correct what a submission holds by the RULES of a file of JSON: shown as a dry run, or applied.

    What is shown has the values before and after.
    """
    server = take_server(connection)

    async def work() -> Document:
        async with open_api(server) as api:
            curation = Curation(api, Patience(wait_seconds))
            if reason is None:
                return await curation.try_edit(name, rules)
            return await curation.edit(name, {"rules": rules, "reason": reason}, revision)

    done = run_command(server, work())
    if as_json:
        print_json(done)
    elif reason is None:
        _print_preview(done)
    else:
        _print_outcome(name, done)


@click.command()
@click.argument("name")
@json_option
@at_option
def edits(name: str, as_json: bool, **connection: Any) -> None:
    """List the edits of a submission, the newest first."""
    server = take_server(connection)

    async def work() -> list[Document]:
        async with open_api(server) as api:
            return await Curation(api).edits(name)

    found = run_command(server, work())
    if as_json:
        print_json(found)
    else:
        print_table(_EDITS, ([each[column] for column in _EDITS] for each in found))


@click.command(name="undo-edit")
@click.argument("name")
@click.argument("edit_id", metavar="EDIT", type=click.IntRange(1))
@click.option("--reason", required=True, metavar="TEXT", help="Why it is taken back.")
@revision_option
@wait_option
@json_option
@at_option
def undo_edit(
    name: str,
    edit_id: int,
    reason: str,
    revision: int | None,
    wait_seconds: float,
    as_json: bool,
    **connection: Any,
) -> None:
    """Take an edit back, by an edit of its own: what nothing has changed since becomes what it was."""
    server = take_server(connection)

    async def work() -> Document:
        async with open_api(server) as api:
            return await Curation(api, Patience(wait_seconds)).undo_edit(name, edit_id, reason, revision)

    done = run_command(server, work())
    if as_json:
        print_json(done)
    else:
        _print_outcome(name, done)


def _print_preview(preview: Document) -> None:
    print_table(_CHANGES, ([each[column] for column in _CHANGES] for each in preview["changes"]))
    left = ", ".join(f"{count:,} {why}" for why, count in preview["unfit"].items())
    say(
        f"{preview['instances']:,} of {preview['looked_at']:,} instances in {preview['series']:,} series would change, "
        f"by {preview['distinct']:,} different changes{f'; left as they are: {left}' if left else ''}"
        f"{'' if preview['complete'] else '; not all were looked at'}",
        err=True,
    )


def _print_outcome(name: str, job: Document) -> None:
    counted = ", ".join(f"{key} {value}" for key, value in (job["result"] or {}).items())
    say(f"{name}: {job['state']}{f' ({counted})' if counted else ''}")


commands: list[click.Command] = [edit, edits, undo_edit]
