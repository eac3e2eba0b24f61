"""Content: instances of one series as checks look at them, what is equal in all of them once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dicomweb_archive.dicom.attribute_path import PathStep
from dicomweb_archive.dicom.instance import Attributes, Element, PixelData
from dicomweb_archive.dicom.tags import is_private, is_private_creator

Column = Sequence[Element | None]
"""One element of each instance by position, `None` where it is absent; equal ones are the same object."""


class StoredFile(NamedTuple):
    """What is known of an instance's file besides its attributes."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    pixel_data: PixelData | None = None
    neutralised: bool = False


class Occurrence(NamedTuple):
    """One distinct element at the top of data sets, in how many instances, and in which for example."""

    element: Element
    instances: int
    sop_instance_uid: str


class Placed(NamedTuple):
    """One element, at the top or inside sequences.

    Attributes:
        path: as `dicom.query.AttributePath` names it.
        creator: of a private element; `None` also where it has none.
        instances, sop_instance_uid: how many instances have it, and one of them.
    """

    path: str
    tag: int
    creator: str | None
    element: Element
    instances: int
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class SeriesPart:
    """Some instances of one series, as many as fit into memory with ease.

    Attributes:
        elements: by tag, ascending: an element that all have, or a column.
    """

    study_instance_uid: str
    series_instance_uid: str
    files: Sequence[StoredFile]
    elements: Mapping[int, Element | Column]
    _placed: list[Placed] = field(default_factory=list)

    def at(self, tag: int, position: int) -> Element | None:
        """Return an element of one instance."""
        found = self.elements.get(tag)
        return found if found is None or isinstance(found, Element) else found[position]

    def varies(self, tag: int) -> bool:
        """Tell whether instances differ in an element."""
        found = self.elements.get(tag)
        return found is not None and not isinstance(found, Element)

    def attributes(self, position: int, wanted: frozenset[int]) -> Attributes:
        """Return some of the attributes of one instance."""
        found = {tag: self.at(tag, position) for tag in wanted}
        return {tag: element for tag, element in found.items() if element is not None}

    def occurrences(self, tag: int) -> list[Occurrence]:
        """Return the distinct elements of one tag."""
        found = self.elements.get(tag)
        if found is None:
            return []
        if isinstance(found, Element):
            return [Occurrence(found, len(self.files), self.files[0].sop_instance_uid)]
        counted: dict[bytes, Occurrence] = {}
        for element, file in zip(found, self.files, strict=True):
            if element is not None:
                known = counted.get(element.json)
                counted[element.json] = (
                    Occurrence(element, 1, file.sop_instance_uid)
                    if known is None
                    else known._replace(instances=known.instances + 1)
                )
        return list(counted.values())

    def placed(self) -> Sequence[Placed]:
        """Return every distinct element, those inside sequences too; worked out once for all checks."""
        if not self._placed:
            for tag in self.elements:
                for occurrence in self.occurrences(tag):
                    self._placed.extend(self._walk(tag, occurrence))
        return self._placed

    def _walk(self, tag: int, occurrence: Occurrence) -> Iterator[Placed]:
        creator = None
        if is_private(tag) and not is_private_creator(tag):
            reserved = self.occurrences(_creator_tag(tag))
            creator = _creator_name(reserved[0].element if reserved else None)
        rest = [("", tag, creator, occurrence.element)]
        while rest:
            prefix, tag, creator, element = rest.pop()
            path = prefix + (f"{tag:08X}" if creator is None else str(PathStep(tag, creator)))
            yield Placed(path, tag, creator, element, occurrence.instances, occurrence.sop_instance_uid)
            for item in reversed(element.values if element.vr == "SQ" else ()):
                if isinstance(item, Mapping):
                    inner = ((f"{path}.", each, _creator_in(item, each), item[each]) for each in item)
                    rest.extend(reversed(list(inner)))


def texts_of(element: Element) -> list[str]:
    """Return the values of an element that are texts and not empty."""
    return [value for value in element.values if isinstance(value, str) and value]


def first_text(occurrences: Sequence[Occurrence]) -> str:
    """Return the first value of the first of these elements as text, empty when there is none."""
    texts = texts_of(occurrences[0].element) if occurrences else []
    return texts[0] if texts else ""


def _creator_in(item: Attributes, tag: int) -> str | None:
    if not is_private(tag) or is_private_creator(tag):
        return None
    return _creator_name(item.get(_creator_tag(tag)))


def _creator_tag(tag: int) -> int:
    return tag & 0xFFFF0000 | tag >> 8 & 0xFF


def _creator_name(element: Element | None) -> str | None:
    texts = texts_of(element) if element is not None else []
    return texts[0].strip() if texts else None
