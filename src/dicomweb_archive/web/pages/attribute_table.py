"""The attributes of a series as a table: items of sequences flattened, equal values once, searchable."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dicomweb_archive.dicom.tags import is_private, is_private_creator, keyword_of
from dicomweb_archive.index.reading.study_details import MOST_VALUES, AttributeValues
from dicomweb_archive.web.pages.datasets import value_texts

MOST_ROWS: Final = 1500
_MOST_DEPTH: Final = 6
_MOST_ITEMS: Final = 8
_SHOWN_VALUES: Final = 4
_LONGEST_VALUE: Final = 240


@dataclass(frozen=True, slots=True)
class AttributeRow:
    """One line of the table.

    Attributes:
        path: the tag as eight hexadecimal digits, behind those of the sequences that it is in.
        depth: how many sequences that are.
        note: what a number of values, or an absence in some instances, is said by.
    """

    path: str
    name: str
    vr: str
    value: str
    depth: int = 0
    note: str = ""

    @property
    def tag(self) -> str:
        """The tag as people write it: `(0018,0050)`."""
        last = self.path.rpartition(".")[2]
        return f"({last[:4]},{last[4:]})"

    def holds(self, text: str) -> bool:
        """Tell whether a text, in lower case, is found in tag, name or value, or is the value representation."""
        compact = text.strip("()").replace(",", "")
        if compact and compact in self.path.lower():
            return True
        return text in self.name.lower() or text == self.vr.lower() or text in self.value.lower()


def find_rows(attributes: Iterable[AttributeValues], instances: int, find: str) -> tuple[Sequence[AttributeRow], int]:
    """Return the rows that hold a text, at most `MOST_ROWS`, and how many hold it."""
    wanted = find.strip().lower()
    rows: list[AttributeRow] = []
    found = 0
    for row in _rows(attributes, instances):
        if not wanted or row.holds(wanted):
            found += 1
            if found <= MOST_ROWS:
                rows.append(row)
    return rows, found


def _rows(attributes: Iterable[AttributeValues], instances: int) -> Iterator[AttributeRow]:
    for attribute in attributes:
        first = attribute.elements[0]
        note = f"in {attribute.instances} of {instances} instances" if attribute.instances < instances else ""
        if first.get("vr") == "SQ":
            different = f"of the first instance, {attribute.different} different" if attribute.different > 1 else ""
            yield from _sequence(attribute.tag, first, 0, "; ".join(filter(None, (different, note))))
            continue
        value, varies = _summary(attribute.elements)
        yield _row(attribute.tag, first, value, 0, "; ".join(filter(None, (varies, note))))


def _row(path: str, element: Mapping[str, Any], value: str, depth: int, note: str = "") -> AttributeRow:
    return AttributeRow(path, _name(path.rpartition(".")[2]), element.get("vr", ""), value, depth, note)


def _name(digits: str) -> str:
    tag = int(digits, 16)
    if is_private_creator(tag):
        return "Private creator"
    return "Private" if is_private(tag) else keyword_of(tag) or ""


def _sequence(path: str, element: Mapping[str, Any], depth: int, note: str = "") -> Iterator[AttributeRow]:
    yield _row(path, element, _joined(value_texts(element)), depth, note)
    items = element.get("Value", ())
    for number, item in enumerate(items[:_MOST_ITEMS], 1):
        if len(items) > 1:
            yield AttributeRow(path, f"Item {number}", "", "", depth + 1)
        for tag, inner in (item or {}).items():
            inner_path = f"{path}.{tag}"
            if inner.get("vr") == "SQ" and depth < _MOST_DEPTH:
                yield from _sequence(inner_path, inner, depth + 1)
            else:
                yield _row(inner_path, inner, _joined(value_texts(inner)), depth + 1)


def _summary(elements: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Write the different values of an attribute: all of a few, the first of many."""
    texts = list(dict.fromkeys(_joined(value_texts(element)) for element in elements))
    shown = " · ".join(texts[:_SHOWN_VALUES])
    if len(texts) == 1:
        return shown, ""
    more = "or more " if len(elements) >= MOST_VALUES else ""
    return f"{shown} …" if len(texts) > _SHOWN_VALUES else shown, f"{len(texts)} {more}different values"


def _joined(texts: Sequence[str]) -> str:
    text = " \\ ".join(texts)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]} …"
