"""Commands about conflicts: what came under a SOP Instance UID that other bytes have."""

from typing import Any

import click

from dicomweb_archive.cli.client.curation.options import (
    DECISIONS,
    at_option,
    comment_option,
    json_option,
    reason_option,
    revision_option,
    wait_option,
)
from dicomweb_archive.cli.client.curation.work import Curation, Patience, path_of
from dicomweb_archive.cli.client.json_api import Document, open_api, print_json, run_command, take_server
from dicomweb_archive.cli.client.table_printing import print_table
from dicomweb_archive.cli.client.terminal import json_text, say

_COLUMNS = ("id", "decision", "sop instance", "bytes", "received", "by", "standing")
_DIFFERENCES = ("tag", "keyword", "standing", "conflict")


@click.command()
@click.argument("name")
@click.argument("conflict", metavar="[CONFLICT]", required=False, type=click.IntRange(1))
@click.option("--undecided", is_flag=True, help="Only those that nobody has decided on.")
@json_option
@at_option
def conflicts(name: str, conflict: int | None, undecided: bool, as_json: bool, **connection: Any) -> None:
    """List the conflicts of a submission, or compare one with the instance that has its UID.

    The comparison shows values of the two files.
    """
    server = take_server(connection)

    async def work() -> Document:
        async with open_api(server) as api:
            if conflict is not None:
                return (await api.get(f"{path_of(name)}/conflicts/{conflict}")).document
            return await Curation(api).conflicts(name, undecided=undecided)

    found = run_command(server, work())
    if as_json:
        print_json(found)
    elif conflict is not None:
        _print_comparison(found)
    else:
        print_table(_COLUMNS, map(_row, found["conflicts"]))
        click.echo(f"{len(found['conflicts']):,} of {found['total']:,} shown", err=True)


@click.command()
@click.argument("name")
@click.argument("decision", type=click.Choice(DECISIONS))
@click.argument("ids", metavar="[CONFLICT]...", nargs=-1, type=click.IntRange(1))
@click.option("--all", "every", is_flag=True, help="All that nobody has decided on.")
@click.option("--study", metavar="UID", help="Those of this study.")
@click.option("--series", metavar="UID", help="Those of this series.")
@reason_option(required=False)
@comment_option
@revision_option
@wait_option
@json_option
@at_option
def decide(
    name: str,
    ids: tuple[int, ...],
    every: bool,
    revision: int | None,
    wait_seconds: float,
    as_json: bool,
    **given: Any,
) -> None:
    """Decide on conflicts: keep what stands, reject what came, or replace what stands by it.

    What is replaced is kept beside. To reject needs a reason.
    """
    server = take_server(given)
    chosen = {"conflicts": list(ids), "study": given.pop("study"), "series": given.pop("series")}
    if every is any(chosen.values()):
        raise click.UsageError("name CONFLICTs, --study or --series, or else say --all")
    body = {key: value for key, value in {**chosen, **given}.items() if value}

    async def work() -> Document:
        async with open_api(server) as api:
            return await Curation(api, Patience(wait_seconds)).decide_conflicts(name, body, revision)

    job = run_command(server, work())
    if as_json:
        print_json(job)
    else:
        say(f"{name}: {', '.join(f'{key} {value}' for key, value in (job['result'] or {}).items())}")


def _row(found: Document) -> tuple[Any, ...]:
    received = found["received_at"][:16].replace("T", " ")
    named = (found["id"], found["decision"], found["sop_instance_uid"], found["size_bytes"])
    return (*named, received, found["received_by"], found["standing"])


def _print_comparison(found: Document) -> None:
    rows = (
        (each["tag"], each["keyword"], _shown(each["standing"]), _shown(each["conflict"]))
        for each in found["differences"]
    )
    print_table(_DIFFERENCES, rows)
    if found["bulk"]:
        say(f"other bytes in {', '.join(found['bulk'])}")


def _shown(element: Document | None) -> str:
    if element is None:
        return "missing"
    return json_text(element["Value"]) if "Value" in element else "empty or long"


commands: list[click.Command] = [conflicts, decide]
