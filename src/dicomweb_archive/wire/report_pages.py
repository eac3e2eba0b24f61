"""Structured reports as text/html and text/plain (PS3.18 Table 8.7.4-1, text)."""

from collections.abc import Iterator
from html import escape
from typing import Final

from dicomweb_archive.dicom.report import ContentItem, Report
from dicomweb_archive.wire.media_types import Offer

HTML: Final = "text/html"
PLAIN: Final = "text/plain"
REPORTS: Final = (Offer(HTML), Offer(PLAIN))
"""Representations of a structured report; the first is its default."""


def write_report(report: Report, media_type: str) -> bytes:
    """Write a report as a page or as lines, in UTF-8; nothing that it says becomes markup."""
    return "".join(_page(report) if media_type == HTML else _lines(report)).encode("utf-8", "replace")


def _page(report: Report) -> Iterator[str]:
    title = escape(report.title)
    yield f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{title}</title></head>\n<body>\n'
    yield f"<h1>{title}</h1>\n<table>\n"
    for name, value in report.facts:
        yield f'<tr><th scope="row" align="left">{escape(name)}</th><td>{_with_breaks(value)}</td></tr>\n'
    yield "</table>\n"
    yield from _list(report.items)
    yield "</body></html>\n"


def _list(items: tuple[ContentItem, ...]) -> Iterator[str]:
    if not items:
        return
    # Numbered, because items refer to others by their place (PS3.3 C.17.3.2.5).
    yield "<ol>\n"
    for item in items:
        name = f"<b>{escape(_label(item))}</b>" if _label(item) else ""
        yield f"<li>{name}{_with_breaks(item.value)}"
        yield from _list(item.items)
        yield "</li>\n"
    yield "</ol>\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"{_on_one_line(report.title)}\n\n"
    for name, value in report.facts:
        yield f"{name}: {_on_one_line(value)}\n"
    yield "\n"
    yield from _numbered(report.items, "1")


def _numbered(items: tuple[ContentItem, ...], above: str) -> Iterator[str]:
    """Yield items under the numbers by which others refer to them: that of the document is 1 (PS3.3 C.17.3.2.5)."""
    indent = "  " * above.count(".")
    for place, item in enumerate(items, 1):
        number = f"{above}.{place}"
        value = item.value.replace("\n", f"\n{indent}  ")
        yield f"{indent}{number} {_on_one_line(_label(item))}{value}".rstrip() + "\n"
        yield from _numbered(item.items, number)


def _label(item: ContentItem) -> str:
    """Return what stands before the value: the concept, and the relationship where it changes what is said."""
    relationship = f"({item.relationship}) " if item.relationship else ""
    name = f"{item.name}{': ' if item.value else ''}" if item.name else ""
    return relationship + name


def _with_breaks(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def _on_one_line(text: str) -> str:
    return text.replace("\n", " ")
