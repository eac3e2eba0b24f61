"""`collections`: list, show, make and change the collections of an archive like this one."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import click
import httpx
from rich.console import Console
from rich.table import Table

from dicomweb_archive.cli.client.connection import (
    Server,
    ServerUnreachableError,
    TransientError,
    UnexpectedAnswerError,
    check_status,
    transport_failure,
)
from dicomweb_archive.cli.client.options import ExitCode, server_of, server_options

_PAGE = 1000
_COLUMNS = ("accession", "title", "access", "policy", "check_set", "licence", "closed_at")

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def collections() -> None:
    """List, show, make and change the collections of an archive like this one.

    Exit status: 0, 1 the archive refuses it, 2 wrong usage, 3 it cannot be reached or does not let us in.
    """


def _described(command: F) -> F:
    """Add the options that say what a collection is; those that are not given change nothing."""
    for option in reversed(
        [
            click.option("--title", help="Its name for people."),
            click.option("--description", help="What is in it, and where that comes from."),
            click.option("--contact", help="Whom to ask."),
            click.option("--licence", metavar="SPDX", help="Licence, e.g. CC-BY-4.0."),
            click.option("--access", type=click.Choice(["open", "restricted"]), help="Who may read."),
            click.option("--policy", type=click.Choice(["automatic", "curated"]), help="When stores are published."),
            click.option("--check-set", type=click.Choice(["structural", "public_release"]), help="Checks to pass."),
            click.option("--sop-class", "sop_classes", multiple=True, metavar="UID", help="UID, keyword; repeatable."),
            click.option(
                "--transfer-syntax", "transfer_syntaxes", multiple=True, metavar="UID", help="Likewise; repeatable."
            ),
            click.option("--site", "sites", multiple=True, metavar="NAME", help="Site that may submit; repeatable."),
            server_options("--at"),
        ]
    ):
        command = option(command)
    return command


@collections.command(name="list")
@server_options("--at")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_them(as_json: bool, **connection: Any) -> None:
    """List the collections that one may see."""
    server = _server(connection)
    found = _run(server, fetch_all(server))
    if as_json:
        _print_json(found)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, no_wrap=True)
    for each in found:
        table.add_row(*(_printable(each.get(column)) for column in _COLUMNS))
    console = Console(markup=False, highlight=False)
    (console if console.is_terminal else Console(markup=False, highlight=False, width=10_000)).print(table)


@collections.command()
@click.argument("accession")
@server_options("--at")
def show(accession: str, **connection: Any) -> None:
    """Print a collection as JSON."""
    server = _server(connection)
    _print_json(_run(server, _answer(server, "GET", _path(accession))))


@collections.command()
@_described
def create(**given: Any) -> None:
    """Make a collection, and print it with the accession that it has got."""
    if not given["title"]:
        raise click.UsageError("a collection needs a --title")
    server = _server(given)
    _print_json(_run(server, _answer(server, "POST", "/collections", _fields(given))))


@collections.command(name="set")
@click.argument("accession")
@_described
@click.option(
    "--any-of",
    "emptied",
    type=click.Choice(["sop_classes", "transfer_syntaxes", "sites"]),
    multiple=True,
    help="Take any of these again; repeatable.",
)
@click.option("--close/--reopen", "closed", default=None, help="Take nothing more, or take it again.")
def set_fields(accession: str, emptied: tuple[str, ...], closed: bool | None, **given: Any) -> None:
    """Change what is named of a collection, and print it. Lists are replaced as a whole."""
    server = _server(given)
    wanted = _fields(given)
    if emptied:
        wanted["rules"] = {**wanted.get("rules", {}), **{name: [] for name in emptied}}
    if closed is not None:
        wanted["closed"] = closed
    if not wanted:
        raise click.UsageError("say what is to be different")
    _print_json(_run(server, change(server, accession, wanted)))


async def fetch_all(server: Server) -> list[dict[str, Any]]:
    """Fetch all collections, page by page.

    Raises:
        UnexpectedAnswerError, ServerUnreachableError: see `_answer`.
    """
    found: list[dict[str, Any]] = []
    while True:
        page = await _answer(server, "GET", f"/collections?limit={_PAGE}&offset={len(found)}")
        found += page["collections"]
        if not page["collections"] or len(found) >= page["total"]:
            return found


async def change(server: Server, accession: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Change a collection that is as it was a moment ago.

    Raises:
        UnexpectedAnswerError, ServerUnreachableError: see `_answer`; somebody else may have changed it meanwhile.
    """
    present = await _request(server, "GET", _path(accession))
    return await _answer(server, "PATCH", _path(accession), wanted, {"If-Match": present.headers.get("etag", "*")})


async def _answer(
    server: Server,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    response = await _request(server, method, path, body, headers)
    try:
        document: dict[str, Any] = response.json()
    except ValueError as error:
        message = "the server answers something else than JSON; is it an archive like this one?"
        raise UnexpectedAnswerError(message) from error
    return document


async def _request(
    server: Server,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Send one request, once: a repeated POST would make a second collection.

    Raises:
        UnexpectedAnswerError: the archive refuses it.
        ServerUnreachableError: no answer, or we are not let in.
    """
    url = server.root.removesuffix("/dicom-web") + path
    async with server.client(1) as client:
        try:
            sent = {"Accept": "application/json", **(headers or {})}
            response = await client.request(method, url, json=body, headers=sent)
        except httpx.TransportError as error:
            raise ServerUnreachableError(str(transport_failure(error))) from error
    try:
        check_status(response)
    except TransientError as error:
        raise ServerUnreachableError(str(error)) from error
    if not response.is_success:
        raise UnexpectedAnswerError(_detail(response))
    return response


def _detail(response: httpx.Response) -> str:
    try:
        document = response.json()
        return ": ".join(filter(None, (document["title"], document.get("detail"))))
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"the server answers {response.status_code}"


def _fields(given: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a request that options have given."""
    rules = {name: list(given.pop(name)) for name in ("sop_classes", "transfer_syntaxes", "sites") if given[name]}
    fields = {name: value for name, value in given.items() if value is not None and not isinstance(value, tuple)}
    return {**fields, "rules": rules} if rules else fields


def _server(given: dict[str, Any]) -> Server:
    """Take the connection out of the options."""
    return server_of(*(given.pop(name) for name in ("root", "key", "headers", "timeout_seconds")))


def _path(accession: str) -> str:
    return f"/collections/{quote(accession, safe='')}"


def _run(server: Server, work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return asyncio.run(work)
    except UnexpectedAnswerError as error:
        click.echo(f"{server.root}: {error}", err=True)
        raise SystemExit(ExitCode.INCOMPLETE) from error
    except ServerUnreachableError as error:
        click.echo(f"{server.root}: {error}", err=True)
        raise SystemExit(ExitCode.UNREACHABLE) from error


def _print_json(document: dict[str, Any] | Sequence[dict[str, Any]]) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, indent=1))


def _printable(value: object) -> str:
    text = "" if value is None else str(value)
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
