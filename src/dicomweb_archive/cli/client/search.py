"""`search`: find studies, series or instances on a DICOMweb server."""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import click
import httpx

from dicomweb_archive.cli.client.connection import RetryPolicy, Server, ServerUnreachableError, UnexpectedAnswerError
from dicomweb_archive.cli.client.formats import asked_for, columns_of, write_csv, write_json, write_table
from dicomweb_archive.cli.client.options import ExitCode, parse_keys, server_of, server_options
from dicomweb_archive.cli.client.searching import Row, Search, SearchLevel, iter_matches
from dicomweb_archive.cli.client.tables import MEDIA_TYPES, write_table_of_server
from dicomweb_archive.cli.client.terminal import printing, say


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
@click.option("--text", metavar="WORDS", help="Words in whatever attribute, if the server can.")
@click.option("--order", metavar="ATTRIBUTES", help="Sort by these, e.g. StudyDate,-PatientName, if the server can.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Most matches.")
@click.option("--all", "everything", is_flag=True, help="All matches, page by page.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json", "csv", "parquet"]),
    default="table",
    show_default=True,
    help="How to print them.",
)
@click.option(
    "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write csv or parquet to this file."
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
    text: str | None,
    order: str | None,
    limit: int,
    everything: bool,
    output: str,
    file: Path | None,
) -> None:
    """Search by attributes: PatientName='Doe*', StudyDate=20200101-20201231, 00100020=4711.

    KEY is a keyword of the standard, a tag of eight hex digits, or a path such as
    RequestAttributesSequence.RequestedProcedureID. Exit status: 0 also when nothing matches,
    1 the server refuses the search, 2 wrong usage, 3 the server cannot be reached or does not let us in.
    """
    if (output == "parquet" and file is None) or (file is not None and output not in MEDIA_TYPES):
        message = "--output FILE goes with --format csv or parquet, and parquet with --output"
        raise click.UsageError(message)
    server = server_of(root, key, headers, timeout_seconds)
    query = Search(SearchLevel(level), keys, include, fuzzy, order, text)
    try:
        asyncio.run(_run(server, query, None if everything else limit, output, file))
    except UnexpectedAnswerError as error:
        say(f"{server.root}: {error}", err=True)
        raise SystemExit(ExitCode.INCOMPLETE) from error
    except ServerUnreachableError as error:
        say(f"{server.root}: {error}", err=True)
        raise SystemExit(ExitCode.UNREACHABLE) from error


async def _run(server: Server, query: Search, limit: int | None, output: str, file: Path | None) -> None:
    columns = columns_of(query.level, query.include)
    if output != "json":
        query = replace(query, include=asked_for(query.level, query.include))
    retry = RetryPolicy(attempts=3)
    async with server.client(1) as client:
        if output in MEDIA_TYPES and await _wrote_table(client, server, query, output, file, limit, retry):
            return
        rows: AsyncIterator[Row] = iter_matches(client, server, query, limit=limit, retry=retry)
        if output == "json":
            count = await write_json(rows)
        elif output == "csv":
            count = await write_csv(rows, columns, file)
        elif output == "parquet":
            message = "the server makes no Parquet; --format csv works with every server"
            raise UnexpectedAnswerError(message)
        else:
            count = await write_table(rows, columns)
    if count == limit:
        click.echo(f"{count:,} shown, there may be more: --limit or --all", err=True)


async def _wrote_table(
    client: httpx.AsyncClient,
    server: Server,
    query: Search,
    form: str,
    file: Path | None,
    limit: int | None,
    retry: RetryPolicy,
) -> bool:
    """Print or save the server's own table, if it makes one."""
    if "all" in query.include:
        return False
    part = None if file is None else file.with_name(file.name + ".part")
    sink = sys.stdout.buffer if part is None else part.open("wb")
    write = printing(sink.write) if part is None and sys.stdout.isatty() else sink.write
    try:
        warnings = await write_table_of_server(client, server, query, form, write, limit=limit, retry=retry)
    finally:
        sink.flush()
        if part is not None:
            sink.close()
    if file is not None and part is not None:
        # Only a whole table gets the name that was asked for.
        if warnings is None:
            part.unlink()
        else:
            part.replace(file)
    if warnings:
        say(warnings, err=True)
    return warnings is not None
