"""`dicomweb-archive keys`: give keys to people and programs, list them, take them back."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TypeVar

import click
import orjson

from dicomweb_archive.cli.configuration import read_settings
from dicomweb_archive.cli.running_database import running_database
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.database.migrate import check_schema
from dicomweb_archive.index.writing.keys import KeyIndex, ListedKey
from dicomweb_archive.observability import configure_logging
from dicomweb_archive.services.access import Role
from dicomweb_archive.services.keys.giving import GivenKey, KeyService
from dicomweb_archive.settings import Settings

_DAYS = re.compile(r"([1-9][0-9]{0,4})d")
_USUAL_DAYS = 365
_LONGEST_DAYS = 36_500

_Answer = TypeVar("_Answer")


def _parse_end(_context: click.Context, _parameter: click.Parameter, text: str) -> datetime | None:
    """Read when a key ends: a number of days from now, a date whose end is meant, or `never`."""
    if text == "never":
        return None
    days = _DAYS.fullmatch(text)
    if days is not None and int(days[1]) <= _LONGEST_DAYS:
        return datetime.now(UTC) + timedelta(days=int(days[1]))
    try:
        return datetime.combine(date.fromisoformat(text), time.max, UTC)
    except ValueError:
        message = "must be a number of days like 90d, a date like 2030-12-31, or never"
        raise click.BadParameter(message) from None


@click.group()
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the private database [env: DICOMWEB_ARCHIVE_DATA_DIR].",
)
@click.pass_context
def keys(context: click.Context, data_dir: Path | None) -> None:
    """Give keys to people and programs, list them, take them back.

    Works on the archive's database, also while the archive runs: what is given or taken counts within seconds.
    """
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings.log_level, settings.log_format)
    context.obj = settings


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    type=click.Choice([role.value for role in Role]),
    multiple=True,
    required=True,
    help="What the key is for; may be given several times.",
)
@click.option(
    "--collection",
    "accessions",
    metavar="ACCESSION",
    multiple=True,
    help="Where the roles count; may be given several times. Without it: in all collections.",
)
@click.option(
    "--expires",
    metavar="90d|2030-12-31|never",
    callback=_parse_end,
    default=f"{_USUAL_DAYS}d",
    show_default=True,
    help="When the key ends: after some days, at the end of a day (UTC), or never.",
)
@click.option("--json", "as_json", is_flag=True, help="Print an object of JSON.")
@click.pass_obj
def create(
    settings: Settings,
    name: str,
    roles: Sequence[str],
    accessions: Sequence[str],
    expires: datetime | None,
    *,
    as_json: bool,
) -> None:
    """Make a key for NAME and print it; it cannot be shown again.

    NAME stands in the log of events for whatever is done with the key. Keys with one name are one principal.
    """

    async def work(service: KeyService) -> GivenKey:
        return await service.create(
            name, frozenset(map(Role, roles)), accessions=accessions or None, expires_at=expires
        )

    given = _run(settings, work)
    if as_json:
        _print_json({"key": given.text, "id": given.key.public_id, "name": name, "expires_at": expires})
        return
    # The key alone is the output, so that a script can take it; what a person should read goes beside it.
    click.echo(given.text)
    until = "does not expire" if expires is None else f"counts until {_minute(expires)} UTC"
    click.echo(f"This is the key of {name}; it cannot be shown again. It {until}.", err=True)
    click.echo(f"`dicomweb-archive keys revoke {given.key.public_id}` takes it back.", err=True)
    if settings.is_open:
        click.echo(
            "By these settings the archive asks nobody for a key: everybody who reaches it may do everything. "
            "DICOMWEB_ARCHIVE_AUTHENTICATION=keys changes that.",
            err=True,
        )


@keys.command("list")
@click.option("--all", "ended", is_flag=True, help="Also keys that were taken back or have expired.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of JSON objects.")
@click.pass_obj
def list_command(settings: Settings, *, ended: bool, as_json: bool) -> None:
    """List the keys that count, with when each was last used; never the keys themselves."""

    async def work(service: KeyService) -> tuple[ListedKey, ...]:
        return await service.listed(ended=ended)

    found = _run(settings, work)
    if as_json:
        _print_json([_described(key) for key in found])
        return
    if not found:
        click.echo("There are no keys; `dicomweb-archive keys create` makes one.", err=True)
        return
    head = ("ID", "NAME", "ROLES", "COLLECTIONS", "EXPIRES", "LAST USED", "STATE")
    rows = [head, *(_cells(key) for key in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@keys.command()
@click.argument("key_id", metavar="ID")
@click.pass_obj
def revoke(settings: Settings, key_id: str) -> None:
    """Take back the key with this ID (`keys list` shows it), and with it the sessions of browsers begun with it."""

    async def work(service: KeyService) -> bool:
        return await service.revoke(key_id)

    if _run(settings, work):
        click.echo("The key is taken back; the running archive refuses it within seconds.")
    else:
        click.echo("The key was taken back before.")


def _run(settings: Settings, work: Callable[[KeyService], Awaitable[_Answer]]) -> _Answer:
    async def run(url: str) -> _Answer:
        await check_schema(url)
        async with await Database.open(url, point_connections=1, search_connections=1) as database:
            return await work(KeyService(KeyIndex(database)))

    with running_database(settings, create=False) as url:
        return asyncio.run(run(url))


def _state(key: ListedKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {_minute(key.revoked_at)}"
    return "expired" if key.expires_at is not None and key.expires_at <= datetime.now(UTC) else "counts"


def _cells(key: ListedKey) -> tuple[str, ...]:
    return (
        key.public_id,
        key.name,
        ",".join(key.roles),
        "all" if key.accessions is None else ",".join(key.accessions),
        "never" if key.expires_at is None else _minute(key.expires_at),
        "never" if key.last_used_at is None else _minute(key.last_used_at),
        _state(key),
    )


def _described(key: ListedKey) -> dict[str, object]:
    return {
        "id": key.public_id,
        "name": key.name,
        "roles": key.roles,
        "collections": key.accessions,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _print_json(value: object) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_UTC_Z).decode())


commands: list[click.Command] = [keys]
