"""`search`: find studies, series or instances on a DICOMweb server."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import click

from dicomweb_archive.cli.client.connection import RetryPolicy, Server, ServerUnreachableError, UnexpectedAnswerError
from dicomweb_archive.cli.client.formats import asked_for, columns_of, write_csv, write_json, write_table
from dicomweb_archive.cli.client.options import ExitCode, parse_keys, server_of, server_options
from dicomweb_archive.cli.client.searching import Row, Search, SearchLevel, iter_matches


@click.command()
@click.argument("keys", nargs=-1, metavar="[KEY=VALUE]...", callback=parse_keys)
@server_options("--from")
@click.option(
    "--level",
    type=click.Choice([level.value for level in SearchLevel]),
    default=SearchLevel.STUDIES.value,
    show_default=True,
    help="What to find.",
)
@click.option("--include", multiple=True, metavar="ATTRIBUTE", help="Return this attribute too, or `all`.")
@click.option("--fuzzy", is_flag=True, help="Ask for fuzzy matching of person names.")
@click.option("--order", metavar="ATTRIBUTES", help="Sort by these, e.g. StudyDate,-PatientName, if the server can.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Most matches.")
@click.option("--all", "everything", is_flag=True, help="All matches, page by page.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print them.",
)
def search(
    keys: tuple[tuple[str, str], ...],
    root: str,
    key: str | None,
    headers: tuple[tuple[str, str], ...],
    timeout_seconds: float,
    level: str,
    include: tuple[str, ...],
    fuzzy: bool,
    order: str | None,
    limit: int,
    everything: bool,
    output: str,
) -> None:
    """Search by attributes: PatientName='Doe*', StudyDate=20200101-20201231, 00100020=4711.

    KEY is a keyword of the standard, a tag of eight hex digits, or a path such as
    RequestAttributesSequence.RequestedProcedureID. Exit status: 0 also when nothing matches,
    1 the server refuses the search, 2 wrong usage, 3 the server cannot be reached or does not let us in.
    """
    server = server_of(root, key, headers, timeout_seconds)
    query = Search(SearchLevel(level), keys, include, fuzzy, order)
    try:
        asyncio.run(_run(server, query, None if everything else limit, output))
    except UnexpectedAnswerError as error:
        click.echo(f"{server.root}: {error}", err=True)
        raise SystemExit(ExitCode.INCOMPLETE) from error
    except ServerUnreachableError as error:
        click.echo(f"{server.root}: {error}", err=True)
        raise SystemExit(ExitCode.UNREACHABLE) from error


async def _run(server: Server, query: Search, limit: int | None, output: str) -> None:
    columns = columns_of(query.level, query.include)
    if output != "json":
        query = replace(query, include=asked_for(query.level, query.include))
    async with server.client(1) as client:
        rows: AsyncIterator[Row] = iter_matches(client, server, query, limit=limit, retry=RetryPolicy(attempts=3))
        if output == "json":
            count = await write_json(rows)
        elif output == "csv":
            count = await write_csv(rows, columns)
        else:
            count = await write_table(rows, columns)
    if count == limit:
        click.echo(f"{count:,} shown, there may be more: --limit or --all", err=True)
