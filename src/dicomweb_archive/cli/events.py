"""`dicomweb-archive events`: the log of all changes, and whether it is still the one that was written."""

import asyncio

import click
import orjson

from dicomweb_archive.cli.configuration import read_settings
from dicomweb_archive.cli.jobs import database_url
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.database.migrate import check_schema
from dicomweb_archive.index.events.chain import ChainHead
from dicomweb_archive.index.events.verifying import Verified, verify_events
from dicomweb_archive.observability import configure_logging


class _HeadType(click.ParamType[ChainHead]):
    """A place in the chain and its hash, as `verify` prints them."""

    name = "position:hash"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> ChainHead:
        position, _, digest = str(value).partition(":")
        try:
            head = ChainHead(int(position), bytes.fromhex(digest))
        except ValueError:
            self.fail("must be POSITION:HASH, as `events verify` has printed it", param, ctx)
        return head


@click.group()
def events() -> None:
    """Look after the log of events: who changed what, and when."""


@events.command()
@click.option("--known", type=_HeadType(), help="Where an earlier verification ended: it must still be there.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(known: ChainHead | None, *, as_json: bool) -> None:
    """Compute the chain of hashes anew and say whether it holds, also while the archive runs.

    Keep what it prints elsewhere and give it as `--known` the next time: a log whose end was cut off, or that was
    written anew as a whole, holds in itself.
    """
    settings = read_settings()
    configure_logging(settings.log_level, settings.log_format)
    found = asyncio.run(_verify(database_url(settings), known))
    click.echo(_json(found) if as_json else _text(found))
    if found.broken_at is not None or found.has_known is False:
        raise click.exceptions.Exit(1)


async def _verify(url: str, known: ChainHead | None) -> Verified:
    await check_schema(url)
    async with await Database.open(url, point_connections=1, search_connections=1) as database:
        return await verify_events(database, known)


def _text(found: Verified) -> str:
    end = f"{found.head.position}:{found.head.hash.hex()}"
    if found.broken_at is not None:
        return f"The log is broken at event {found.broken_at:,}; it holds up to {end}"
    if found.has_known is False:
        return f"The log holds, but it is not the one that was verified before: {end}"
    return f"The log holds: {found.head.position:,} events, {found.unsealed:,} not sealed yet. It ends at {end}"


def _json(found: Verified) -> str:
    return orjson.dumps(
        {
            "position": found.head.position,
            "hash": found.head.hash.hex(),
            "broken_at": found.broken_at,
            "unsealed": found.unsealed,
            "has_known": found.has_known,
        }
    ).decode()


commands: list[click.Command] = [events]
