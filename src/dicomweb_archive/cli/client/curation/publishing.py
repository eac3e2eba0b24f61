"""`curate publish`: what was approved becomes part of the archive, or is foreseen to."""

from typing import Any

import click

from dicomweb_archive.cli.client.curation.deciding import do_each, require_one
from dicomweb_archive.cli.client.curation.options import at_option, json_option, revision_option, wait_option
from dicomweb_archive.cli.client.curation.work import Curation
from dicomweb_archive.cli.client.json_api import Document, open_api, print_json, run_command, take_server
from dicomweb_archive.cli.client.table_printing import print_table

_FORESEEN = ("study", "instances", "published", "same", "conflicts", "joins", "is_elsewhere")


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--study", "studies", multiple=True, metavar="UID", help="Only this study of it; repeatable.")
@click.option("--dry-run", is_flag=True, help="Say what would become of each study, and change nothing.")
@revision_option
@wait_option
@json_option
@at_option
def publish(
    names: tuple[str, ...],
    studies: tuple[str, ...],
    dry_run: bool,
    revision: int | None,
    wait_seconds: float,
    as_json: bool,
    **connection: Any,
) -> None:
    """Publish approved submissions, one after the other, and wait for each.

    What the archive has with other bytes stays as it is there, and what came is kept as a conflict.
    """
    require_one(names, "--revision", given=revision is not None)
    require_one(names, "--study", given=bool(studies))
    require_one(names, "--dry-run", given=dry_run)
    if dry_run:
        _foresee(names[0], studies, connection, as_json=as_json)
        return

    async def deed(curation: Curation, name: str) -> Document:
        job = await curation.publish(name, revision, studies)
        submission = (await curation.show(name)).document
        return {"name": name, "state": submission["state"], "job": job["id"], "result": job["result"]}

    def words(done: Document) -> str:
        counted = ", ".join(f"{value} {name}" for name, value in (done["result"] or {}).items())
        return f"{done['state']} ({counted})" if counted else str(done["state"])

    do_each(names, deed, words, connection, as_json=as_json, wait_seconds=wait_seconds)


def _foresee(name: str, studies: tuple[str, ...], connection: dict[str, Any], *, as_json: bool) -> None:
    server = take_server(connection)

    async def work() -> Document:
        async with open_api(server) as api:
            return await Curation(api).foresee(name)

    foreseen = run_command(server, work())
    if studies:
        foreseen["studies"] = [each for each in foreseen["studies"] if each["study"] in studies]
    if as_json:
        print_json(foreseen)
        return
    print_table(_FORESEEN, ([each[column] for column in _FORESEEN] for each in foreseen["studies"]))
    click.echo(f"{foreseen['undecided_conflicts']:,} conflicts that nobody has decided on", err=True)


commands: list[click.Command] = [publish]
