"""Searches in tests: queries in a short form, and what is read from their answers."""

from collections.abc import Sequence
from typing import Any

import orjson

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.matching_keys import Key, Matching, SingleValue
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.dicom.tags import parse_tag, vr_of
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.search.execution import SearchIndex, SearchPage
from dicomweb_archive.index.search.planning.form import form_of
from dicomweb_archive.index.search.planning.key_prunes import Finding
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.shape import Choice, Shape, Statistics, driven_by_terms
from dicomweb_archive.index.search.sql.statements import Part, compose, search_values

ROOT_URL = "http://archive.example/dicom-web"
EVERYTHING = Visibility()
UNIQUE = {Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.INSTANCE: "00080018"}


def path(name: str, vr: str | None = None) -> AttributePath:
    """Return the path of dotted keywords or tags."""
    tags = [parse_tag(step) for step in name.split(".")]
    return AttributePath(tuple(map(PathStep, tags)), vr or vr_of(tags[-1]) or "UN")


def key(name: str, matching: Matching | str) -> Key:
    """Return a key; a plain text is a single value."""
    return Key(path(name), SingleValue(matching) if isinstance(matching, str) else matching)


def search_statement(plan: SearchPlan, choice: Choice, visibility: Visibility, part: Part) -> tuple[str, list[Any]]:
    """Return the text and the arguments of a statement, as a search composes it."""
    statement = compose(form_of(plan), form_of(choice), visibility.form(), part)
    return statement.text, statement.arguments(search_values(plan, choice, visibility))


async def objects(page: SearchPage) -> list[dict[str, Any]]:
    """Read the rows of a page."""
    return [orjson.loads(row) async for row in page.rows]


async def found(index: SearchIndex, query: SearchQuery, visibility: Visibility = EVERYTHING) -> list[str]:
    """Run a search and return the unique keys of its rows, in order."""
    page = await index.search(query, visibility, service_root=ROOT_URL)
    return [row[UNIQUE[query.level]]["Value"][0] for row in await objects(page)]


def always_ordered(plan: SearchPlan, findings: Sequence[Finding], _: Statistics) -> Choice:
    """Choose the shape that is driven by the order of the answer, whatever the counts say."""
    by_terms = driven_by_terms(plan, findings)
    if not (plan.keys or plan.filtered) or plan.by_sop_instance:
        return by_terms if plan.keys else always_by_terms(plan, findings, _)
    return Choice(Shape.ORDERED, by_terms.prunes)


def always_by_terms(plan: SearchPlan, findings: Sequence[Finding], _: Statistics) -> Choice:
    """Choose the shape that is driven by the terms, whatever the counts say."""
    by_terms = driven_by_terms(plan, findings)
    return Choice(Shape.TERMS, by_terms.prunes) if plan.by_sop_instance else by_terms
