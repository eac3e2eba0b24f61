"""`curate`: the queue, what is known of a submission, and what takes things away."""

import asyncio
from typing import Any

import click

from dicomweb_archive.cli.client.curation import conflicts, deciding, editing, inventory, publishing
from dicomweb_archive.cli.client.curation.options import (
    ORDERS,
    STATES,
    at_option,
    comment_option,
    json_option,
    reason_option,
    revision_option,
)
from dicomweb_archive.cli.client.curation.printing import (
    print_findings,
    print_queue,
    print_submission,
    trail_lines,
)
from dicomweb_archive.cli.client.curation.work import Curation, Decision, path_of
from dicomweb_archive.cli.client.json_api import (
    Document,
    JsonApi,
    RefusedError,
    open_api,
    print_json,
    run_command,
    take_server,
)
from dicomweb_archive.cli.client.terminal import say
from dicomweb_archive.wire.resources import is_uid


@click.group()
def curate() -> None:
    """Look at what waits in quarantine, decide on it and publish it, in an archive like this one.

    Exit status: 0 done, 1 the archive refuses something of it, 2 wrong usage, 3 it cannot be reached or does not let
    us in, 130 interrupted.
    """


for _command in (*deciding.commands, *publishing.commands, *conflicts.commands, *editing.commands, *inventory.commands):
    curate.add_command(_command)


@curate.command(name="list")
@click.option("--state", type=click.Choice(STATES), multiple=True, help="In this state; repeatable.")
@click.option("--collection", metavar="ACCESSION", multiple=True, help="For this collection; repeatable.")
@click.option("--site", multiple=True, metavar="NAME", help="From this site; repeatable.")
@click.option("--opened-by", multiple=True, metavar="NAME", help="Opened by this principal; repeatable.")
@click.option("--text", metavar="WORDS", help="Part of title or contact.")
@click.option("--order", "orderby", type=click.Choice(ORDERS), help="The longest unchanged first, unless told.")
@click.option("--limit", type=click.IntRange(1), help="Most submissions; all without it.")
@click.option("--names", is_flag=True, help="Print their names alone, a line each, for other commands.")
@json_option
@at_option
def list_them(limit: int | None, names: bool, as_json: bool, **given: Any) -> None:
    """List the submissions that one curates or has opened."""
    server = take_server(given)

    async def work() -> Document:
        async with open_api(server) as api:
            return await Curation(api).queue(limit, **given)

    page = run_command(server, work())
    if as_json:
        print_json(page)
    elif names:
        for each in page["submissions"]:
            say(each["name"])
    else:
        print_queue(page)


@curate.command()
@click.argument("name")
@json_option
@at_option
def show(name: str, as_json: bool, **connection: Any) -> None:
    """Show what is known of a submission: state, content, manifest, findings, what may be done with it."""
    server = take_server(connection)

    async def work() -> tuple[Document, Document, Document | None]:
        async with open_api(server) as api:
            submission = (await api.get(path_of(name))).document
            page, manifest = await asyncio.gather(Curation(api).findings(name, 1, {}), _manifest(api, name))
        return submission, page, manifest

    submission, page, manifest = run_command(server, work())
    if as_json:
        print_json({**submission, "findings": page["counts"], "manifest": manifest})
    else:
        print_submission(submission, page, manifest)


@curate.command()
@click.argument("name")
@click.option("--severity", type=click.Choice(["block", "warn", "info"]), help="Of this severity.")
@click.option("--check", metavar="NAME", help="Of this check.")
@click.option("--study", metavar="UID", help="About this study.")
@click.option("--series", metavar="UID", help="About this series.")
@click.option("--waived/--open", "waived", default=None, help="Only those that are waived, or are not.")
@click.option("--limit", type=click.IntRange(1, 1000), default=200, show_default=True, help="Most findings.")
@json_option
@at_option
def findings(name: str, limit: int, as_json: bool, **given: Any) -> None:
    """List what checks have to say of a submission, what blocks it first."""
    server = take_server(given)
    if given["waived"] is not None:
        given["waived"] = str(given["waived"]).lower()

    async def work() -> Document:
        async with open_api(server) as api:
            return await Curation(api).findings(name, limit, given)

    page = run_command(server, work())
    if as_json:
        print_json(page)
    else:
        print_findings(page)


@curate.command()
@click.argument("name")
@click.argument("ids", metavar="FINDING...", nargs=-1, required=True, type=click.IntRange(1))
@click.option("--reason", "words", metavar="TEXT", help="Why they do not count.")
@click.option("--revoke", is_flag=True, help="Let them count again.")
@json_option
@at_option
def waive(name: str, ids: tuple[int, ...], words: str | None, revoke: bool, as_json: bool, **connection: Any) -> None:
    """Say why findings do not count, by the ids that `findings` shows."""
    if revoke is (words is not None):
        raise click.UsageError("say --reason, or --revoke")
    server = take_server(connection)

    async def work() -> list[Document]:
        async with open_api(server) as api:
            return [await Curation(api).waive(name, each, words) for each in ids]

    done = run_command(server, work())
    if as_json:
        print_json(done)
    else:
        click.echo(f"{len(done):,} {'count again' if revoke else 'waived'}")


@curate.command()
@click.argument("name")
@json_option
@at_option
def trail(name: str, as_json: bool, **connection: Any) -> None:
    """Print what has happened to a submission, the oldest first: by whom, when and why."""
    server = take_server(connection)

    async def work() -> list[Document]:
        async with open_api(server) as api:
            return await Curation(api).trail(name)

    events = run_command(server, work())
    if as_json:
        print_json(events)
        return
    for line in trail_lines(events):
        click.echo(line)


@curate.command()
@click.argument("name")
@click.argument("text")
@at_option
def comment(name: str, text: str, **connection: Any) -> None:
    """Write TEXT into the trail of a submission, for its submitter and its curators."""
    server = take_server(connection)

    async def work() -> None:
        async with open_api(server) as api:
            await Curation(api).comment(name, text)

    run_command(server, work())


@curate.command()
@click.argument("what", metavar="NAME|STUDY")
@reason_option(required=False)
@comment_option
@revision_option
@json_option
@at_option
def withdraw(what: str, reason: str | None, revision: int | None, as_json: bool, **given: Any) -> None:
    """Withdraw a submission that one has opened, or a published study (by its UID, with a reason).

    A study is gone from the archive at once and waits in a submission of its own, where it can be published again.
    """
    server, decision = take_server(given), Decision(reason, given["comment"])
    is_study = "." in what
    if is_study and (reason is None or revision is not None):
        raise click.UsageError("a study is withdrawn with a --reason, whatever its revision is")

    async def work() -> Document:
        async with open_api(server) as api:
            if is_study:
                return await Curation(api).withdraw_study(what, decision)
            return await Curation(api).act(what, "withdraw", decision, revision)

    done = run_command(server, work())
    if as_json:
        print_json(done)
    elif is_study:
        say(f"{done['instances']:,} instances withdrawn; they wait in {done['submission']}")
    else:
        say(f"{what}: {done['state']}")


@curate.command()
@click.argument("what", metavar="STUDY[/SERIES[/INSTANCE]]")
@reason_option(required=True)
@click.option("--yes", is_flag=True, help="Do not ask whether this is meant.")
@json_option
@at_option
def purge(what: str, reason: str, yes: bool, as_json: bool, **connection: Any) -> None:
    """Take a study, series or instance away for ever, from the archive and every submission, with its bytes."""
    named = what.split("/")
    if len(named) > 3 or not all(map(is_uid, named)):
        raise click.BadParameter("must look like STUDY_UID[/SERIES_UID[/INSTANCE_UID]]")
    server = take_server(connection)
    if not yes:
        click.confirm(f"Purge {what} from {server.root}? Nothing brings it back", abort=True, err=True)

    async def work() -> Document:
        async with open_api(server) as api:
            return await Curation(api).purge(named, reason)

    done = run_command(server, work())
    if as_json:
        print_json(done)
    else:
        click.echo(f"{done['instances']:,} instances purged; {done['objects']:,} objects deleted")
        if done.get("missing"):
            click.echo(f"{done['missing']:,} objects are not in the store; if they come back, purge again", err=True)


async def _manifest(api: JsonApi, name: str) -> Document | None:
    try:
        return (await api.get(f"{path_of(name)}/manifest", limit=1)).document
    except RefusedError as error:
        if error.status == 404:
            return None
        raise
