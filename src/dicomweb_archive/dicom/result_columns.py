"""Columns: search results as a table, one attribute a column, whatever the level."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.attributes import INSTANCE_RETURN, SERIES_RETURN, STUDY_RETURN
from dicomweb_archive.dicom.query import Level, SearchQuery
from dicomweb_archive.dicom.tags import is_single_valued, keyword_of, vr_of

_ABOVE: Final = {
    Level.STUDY: (Level.STUDY,),
    Level.SERIES: (Level.STUDY, Level.SERIES),
    Level.INSTANCE: (Level.STUDY, Level.SERIES, Level.INSTANCE),
}
_RETURN: Final = {Level.STUDY: STUDY_RETURN, Level.SERIES: SERIES_RETURN, Level.INSTANCE: INSTANCE_RETURN}
_UNIQUE: Final = {Level.STUDY: 0x0020000D, Level.SERIES: 0x0020000E, Level.INSTANCE: 0x00080018}
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """One column.

    Attributes:
        heading: keywords joined by dots; eight hexadecimal digits or group, creator and element where there is none.
        single: every row has one value at most, if it keeps to the dictionary (PS3.6).
    """

    path: AttributePath
    heading: str
    single: bool


def result_columns(query: SearchQuery) -> tuple[ResultColumn, ...]:
    """List the columns of a search: the level's table, then matched keys and includefield (PS3.18 10.6.3.3)."""
    paths = {str(path): path for path in _paths(query)}
    return tuple(_column(path) for path in paths.values())


def column_values(row: Mapping[str, Any], column: ResultColumn) -> list[Any]:
    """Return the values that a row in the DICOM JSON model has in a column, of all items on the way.

    Person names become their groups joined by `=`; an item of a sequence is its JSON; a value that is not in the
    row is the address of it.
    """
    return [value for element in _elements(row, column.path.steps) for value in _values(element)]


def cell_text(values: Sequence[Any]) -> str:
    """Write values as DICOM does: separated by backslashes."""
    return "\\".join("" if value is None else str(value) for value in values)


def _paths(query: SearchQuery) -> Iterator[AttributePath]:
    levels = _ABOVE[query.level]
    answered = levels if query.relational else (query.level,)
    if query.relational and query.study_instance_uid is not None:
        answered = tuple(level for level in levels if level is not Level.STUDY)
    for level in levels:
        if level in answered:
            yield from (_plain(attribute.tag) for attribute in _RETURN[level])
        else:
            yield _plain(_UNIQUE[level])
    yield from (key.path for key in query.keys)
    for pair in query.combined:
        yield from (pair.date, pair.time)
    yield from query.include


def _plain(tag: int) -> AttributePath:
    return AttributePath((PathStep(tag),), vr_of(tag) or "UN")


def _column(path: AttributePath) -> ResultColumn:
    last = path.steps[-1]
    single = len(path.steps) == 1 and last.private_creator is None and is_single_valued(last.tag)
    return ResultColumn(path, ".".join(map(_step_name, path.steps)), single)


def _step_name(step: PathStep) -> str:
    return str(step) if step.private_creator is not None else keyword_of(step.tag) or str(step)


def _elements(row: Mapping[str, Any], steps: Sequence[PathStep]) -> Iterator[Mapping[str, Any]]:
    for element in _own(row, steps[0]):
        if len(steps) == 1:
            yield element
            continue
        for item in element.get("Value") or ():
            if isinstance(item, dict):
                yield from _elements(item, steps[1:])


def _own(row: Mapping[str, Any], step: PathStep) -> Iterator[Mapping[str, Any]]:
    """Find an element; a private one in every block that its creator has reserved (PS3.5 7.8.1)."""
    if step.private_creator is None:
        if (element := row.get(f"{step.tag:08X}")) is not None:
            yield element
        return
    group = f"{step.tag >> 16:04X}"
    for block in range(0x10, 0x100):
        creator = row.get(f"{group}00{block:02X}")
        if creator is not None and [str(name).strip() for name in creator.get("Value") or ()] == [step.private_creator]:
            element = row.get(f"{group}{block:02X}{step.tag & 0xFF:02X}")
            if element is not None:
                yield element


def _values(element: Mapping[str, Any]) -> list[Any]:
    if "Value" not in element:
        held = element.get("InlineBinary") or element.get("BulkDataURI")
        return [] if held is None else [held]
    match element["vr"]:
        case "PN":
            return [None if name is None else _name_text(name) for name in element["Value"]]
        case "SQ":
            return [orjson.dumps(item).decode() for item in element["Value"]]
        case _:
            return list(element["Value"])


def _name_text(name: Mapping[str, str]) -> str:
    return "=".join(name.get(group, "") for group in _NAME_GROUPS).rstrip("=")
