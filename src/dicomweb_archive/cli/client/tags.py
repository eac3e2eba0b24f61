"""`tags`: which attributes an archive holds."""

import asyncio
import csv
import sys
from typing import Any
from urllib.parse import quote

import click

from dicomweb_archive.cli.client.connection import (
    RetryPolicy,
    Server,
    ServerUnreachableError,
    UnexpectedAnswerError,
    get_json,
)
from dicomweb_archive.cli.client.options import ExitCode, server_of, server_options
from dicomweb_archive.cli.client.table_printing import print_table
from dicomweb_archive.cli.client.terminal import json_text, printable, say

_COLUMNS = ("path", "keyword", "name", "vr", "private_creator", "series", "varies")


@click.command()
@click.argument("text", default="")
@server_options("--from")
@click.option("--study", metavar="UID", help="Of this study alone.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print them.",
)
def tags(
    text: str,
    root: str,
    key: str | None,
    headers: tuple[tuple[str, str], ...],
    timeout_seconds: float,
    study: str | None,
    output: str,
) -> None:
    """List the attributes that an archive like this one holds, nested and private ones too.

    With TEXT those that have it in their path, keyword, name or private creator. Other DICOMweb servers have no
    such resource. Exit status: 0, 1 the server does not know the resource or the study, 2 wrong usage, 3 the server
    cannot be reached or does not let us in.
    """
    server = server_of(root, key, headers, timeout_seconds)
    try:
        found = asyncio.run(_fetch(server, text, study))
    except UnexpectedAnswerError as error:
        say(f"{server.root}: {error}", err=True)
        raise SystemExit(ExitCode.INCOMPLETE) from error
    except ServerUnreachableError as error:
        say(f"{server.root}: {error}", err=True)
        raise SystemExit(ExitCode.UNREACHABLE) from error
    _print(found, output)


async def _fetch(server: Server, text: str, study: str | None) -> dict[str, Any]:
    path = f"/studies/{quote(study)}/tags" if study else "/tags"
    async with server.client(1) as client:
        url = f"{server.root}{path}?accept=application/json&q={quote(text, safe='')}"
        response = await get_json(client, url, RetryPolicy(attempts=3), accept="application/json")
    if response.status_code != 200:
        message = f"the server answers {response.status_code} to a list of attributes"
        raise UnexpectedAnswerError(message)
    try:
        found = response.json()
        rows = found["tags"]
    except (ValueError, KeyError, TypeError) as error:
        message = "the server answers something else than a list of attributes"
        raise UnexpectedAnswerError(message) from error
    return {**found, "tags": rows}


def _print(found: dict[str, Any], output: str) -> None:
    if output == "json":
        click.echo(json_text(found["tags"], indent=1))
        return
    lines = [["" if tag[column] is None else str(tag[column]) for column in _COLUMNS] for tag in found["tags"]]
    if output == "csv":
        shown = printable if sys.stdout.isatty() else str
        csv.writer(sys.stdout).writerows([_COLUMNS, *([shown(cell) for cell in line] for line in lines)])
        return
    print_table(_COLUMNS, lines)
