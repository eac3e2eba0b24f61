"""Commands that look through a submission by value, and say which values are right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from dicomweb_archive.cli.client.connection import UnexpectedAnswerError
from dicomweb_archive.cli.client.curation.options import at_option, comment_option, json_option
from dicomweb_archive.cli.client.curation.work import path_of
from dicomweb_archive.cli.client.json_api import Document, JsonApi, open_api, print_json, run_command, take_server
from dicomweb_archive.cli.client.table_printing import print_table

_ATTRIBUTES: Final = ("attribute", "vr", "instances", "series", "distinct", "approved", "values")
_VALUES: Final = ("value", "instances", "series", "approved by", "approved at")
_PAGE: Final = 1000
_SHOWN_VALUES: Final = 5


@dataclass(frozen=True, slots=True)
class Inventory:
    """The inventory of one submission."""

    api: JsonApi
    name: str

    async def state(self) -> Document:
        """Return what is said of the inventory as a whole, beside one of its attributes."""
        return (await self.api.get(f"{path_of(self.name)}/inventory", values=0, limit=1)).document

    async def attributes(self, *, values: int, **asked: Any) -> Document:
        """Return the attributes that are asked for as one document, with some values of each."""
        found: list[Document] = []
        while True:
            path = f"{path_of(self.name)}/inventory"
            page = (await self.api.get(path, **asked, values=values, limit=_PAGE, offset=len(found))).document
            found += page["attributes"]
            if not page["attributes"] or len(found) >= page["total"]:
                return {**page, "attributes": found}

    async def values(self, attribute: str) -> Document:
        """Return the values of an attribute as one document."""
        named = await self.named(attribute)
        found: list[Document] = []
        while True:
            path, asked = f"{path_of(self.name)}/inventory/values", {"attribute": named, "limit": _PAGE}
            page = (await self.api.get(path, **asked, offset=len(found))).document
            (line,) = page["attributes"]
            found += line["values"]
            if not line["values"] or len(found) >= line["distinct"]:
                return {**page, "attributes": [{**line, "values": found}]}

    async def named(self, attribute: str) -> str:
        """Return the name of an attribute in the inventory, from that, a keyword or tags.

        Raises:
            UnexpectedAnswerError: there is none, or more than one.
        """
        if '"' in attribute:
            return attribute
        page = await self.attributes(values=0, q=attribute)
        wanted = attribute.lower()
        names = [
            each["name"]
            for each in page["attributes"]
            if wanted in (each["name"].lower(), each["path"].lower(), (each["keyword"] or "").lower())
        ]
        if len(names) != 1:
            message = f"{len(names)} attributes of the submission are called {attribute}; `curate inventory` lists them"
            raise UnexpectedAnswerError(message)
        return str(names[0])

    async def decide(self, attributes: Sequence[Document], *, revoke: bool, content: str | None, comment: str) -> int:
        """Approve values, or take that back; returns how many are decided otherwise now."""
        said: Document = {"comment": comment}
        if not revoke:
            said["content"] = content or (await self.state())["content"]
        action, values = "revoke-approval" if revoke else "approve", 0
        for start in range(0, len(attributes), _PAGE):
            body = {**said, "attributes": list(attributes[start : start + _PAGE])}
            done = await self.api.send("POST", f"{path_of(self.name)}/inventory/{action}", body)
            values += done.document["values"]
        return values


@click.command()
@click.argument("name")
@click.argument("attribute", required=False)
@click.option("--text", "q", metavar="WORDS", help="What occurs in keyword, tags, name or creator.")
@click.option("--undecided", is_flag=True, help="Only attributes with a value that nobody has approved.")
@json_option
@at_option
def inventory(name: str, attribute: str | None, undecided: bool, q: str | None, as_json: bool, **given: Any) -> None:
    """List the attributes of what a submission holds with some values, or all values of one ATTRIBUTE."""
    if attribute is not None and (undecided or q is not None):
        raise click.UsageError("--undecided and --text are about attributes")
    server = take_server(given)

    async def work() -> Document:
        async with open_api(server) as api:
            if attribute is not None:
                return await Inventory(api, name).values(attribute)
            asked = {"q": q, "undecided": "true" if undecided else None}
            return await Inventory(api, name).attributes(values=_SHOWN_VALUES, **asked)

    page = run_command(server, work())
    if as_json:
        print_json(page)
        return
    if attribute is None:
        print_table(_ATTRIBUTES, map(_attribute_row, page["attributes"]))
    else:
        print_table(_VALUES, map(_value_row, page["attributes"][0]["values"]))
    counted = f"{page['instances']:,} instances; {page['undecided']:,} attributes are undecided"
    click.echo(f"{counted}; content {page['content']}{'' if page['complete'] else '; not all was looked at'}", err=True)


@click.command(name="approve-values")
@click.argument("name")
@click.argument("attributes", metavar="ATTRIBUTE...", nargs=-1)
@click.option("--value", "values", metavar="TEXT", multiple=True, help="This value alone; repeatable.")
@click.option("--all", "everything", is_flag=True, help="All values of all attributes.")
@click.option("--revoke", is_flag=True, help="Take approvals back.")
@click.option("--content", metavar="CONTENT", help="Only if it holds still what it held when `inventory` printed this.")
@comment_option
@json_option
@at_option
def approve_values(
    name: str,
    attributes: tuple[str, ...],
    values: tuple[str, ...],
    everything: bool,
    revoke: bool,
    content: str | None,
    comment: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Say that values are right as they are: those of the ATTRIBUTEs, all of them unless --value names some."""
    if everything is bool(attributes) or (values and len(attributes) != 1):
        raise click.UsageError("name attributes, or --all; with --value one attribute")
    if revoke and content is not None:
        raise click.UsageError("--content is for approving: what is taken back needs nobody to have looked again")
    server = take_server(given)

    async def work() -> Document:
        async with open_api(server) as api:
            held = Inventory(api, name)
            seen = content
            if everything:
                page = await held.attributes(values=0, undecided=None if revoke else "true")
                seen, names = seen or page["content"], [each["name"] for each in page["attributes"]]
            else:
                names = [await held.named(each) for each in attributes]
            chosen = [{"name": each, "values": list(values) or None} for each in names]
            decided = await held.decide(chosen, revoke=revoke, content=seen, comment=comment or "")
            left = await held.state()
        return {"values": decided, "undecided": left["undecided"]}

    done = run_command(server, work())
    if as_json:
        print_json(done)
    else:
        verb = "no longer approved" if revoke else "approved"
        click.echo(f"{name}: {done['values']:,} values {verb}, {done['undecided']:,} attributes are undecided")


def _attribute_row(line: Mapping[str, Any]) -> Sequence[Any]:
    values = " | ".join("(binary)" if each["value"] is None else each["value"] for each in line["values"])
    more = " | …" if line["distinct"] > len(line["values"]) or line["more"] else ""
    counts = (line["instances"], line["series"], line["distinct"], "yes" if line["approved"] else "no")
    return (line["keyword"] or line["name"], line["vr"], *counts, values + more)


def _value_row(value: Mapping[str, Any]) -> Sequence[Any]:
    approval = value["approval"] or {}
    shown = "(binary)" if value["value"] is None else value["value"]
    return (shown, value["instances"], value["series"], approval.get("by"), (approval.get("at") or "")[:16])


commands: list[click.Command] = [inventory, approve_values]
