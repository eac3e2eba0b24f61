"""`collections`: list, show, make and change the collections of an archive like this one."""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import click

from dicomweb_archive.cli.client.connection import Server
from dicomweb_archive.cli.client.json_api import Document, open_api, print_json, run_command, take_server
from dicomweb_archive.cli.client.options import server_options
from dicomweb_archive.cli.client.table_printing import print_table

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
    server = take_server(connection)
    found = run_command(server, fetch_all(server))
    if as_json:
        print_json(found)
        return
    print_table(_COLUMNS, ([each.get(column) for column in _COLUMNS] for each in found))


@collections.command()
@click.argument("accession")
@server_options("--at")
def show(accession: str, **connection: Any) -> None:
    """Print a collection as JSON."""
    server = take_server(connection)
    print_json(run_command(server, _show(server, accession)))


@collections.command()
@_described
def create(**given: Any) -> None:
    """Make a collection, and print it with the accession that it has got."""
    if not given["title"]:
        raise click.UsageError("a collection needs a --title")
    server = take_server(given)
    print_json(run_command(server, make(server, _fields(given))))


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
    server = take_server(given)
    wanted = _fields(given)
    if emptied:
        wanted["rules"] = {**wanted.get("rules", {}), **{name: [] for name in emptied}}
    if closed is not None:
        wanted["closed"] = closed
    if not wanted:
        raise click.UsageError("say what is to be different")
    print_json(run_command(server, change(server, accession, wanted)))


async def fetch_all(server: Server) -> list[Document]:
    """Fetch all collections, page by page.

    Raises:
        RefusedError, ServerUnreachableError: see `JsonApi.get`.
    """
    found: list[Document] = []
    async with open_api(server) as api:
        while True:
            page = (await api.get("/collections", limit=_PAGE, offset=len(found))).document
            found += page["collections"]
            if not page["collections"] or len(found) >= page["total"]:
                return found


async def make(server: Server, fields: Document) -> Document:
    """Make a collection.

    Raises:
        RefusedError, ServerUnreachableError: see `JsonApi.send`.
    """
    async with open_api(server) as api:
        return (await api.send("POST", "/collections", fields)).document


async def change(server: Server, accession: str, wanted: Document) -> Document:
    """Change a collection that is as it was a moment ago.

    Raises:
        RefusedError, ServerUnreachableError: see `JsonApi.send`; somebody else may have changed it meanwhile.
    """
    async with open_api(server) as api:
        present = await api.get(_path(accession))
        return (await api.send("PATCH", _path(accession), wanted, etag=present.etag)).document


async def _show(server: Server, accession: str) -> Document:
    async with open_api(server) as api:
        return (await api.get(_path(accession))).document


def _fields(given: Document) -> Document:
    """Return the members of a request that options have given."""
    rules = {name: list(given.pop(name)) for name in ("sop_classes", "transfer_syntaxes", "sites") if given[name]}
    fields = {name: value for name, value in given.items() if value is not None and not isinstance(value, tuple)}
    return {**fields, "rules": rules} if rules else fields


def _path(accession: str) -> str:
    return f"/collections/{quote(accession, safe='')}"
