"""Values of an element as a curator reads them: one text for the whole element, at each path below it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from dicomweb_archive.dicom.attribute_path import PathStep
from dicomweb_archive.dicom.comparable_values import normalise
from dicomweb_archive.dicom.element_text import read_element, shown_text, whole_text
from dicomweb_archive.dicom.held_attributes import path_steps

_LONGEST_KEPT: Final = 512


class ElementValues(NamedTuple):
    """What an element of an instance has, each path and each value of a path once.

    Attributes:
        paths: with their VR, names as in the index.
        values: by path; `None` where the value is binary, empty where there is none.
    """

    paths: tuple[tuple[str, str], ...]
    values: tuple[tuple[str, str | None], ...]


def values_of(step: str, element: bytes) -> ElementValues:
    """Read the values of an element in the form of a segment's document, nested ones too; `step` names its path."""
    # Most elements come back in every series.
    return (_kept if len(element) <= _LONGEST_KEPT else _values)(step, element)


def step_of(tag: str, creators: Mapping[str, str]) -> str:
    """Name a step of a path from eight hex digits; a private one goes by its creator (PS3.5 7.8.1).

    Args:
        creators: by the tag that reserves the block, e.g. `00190010`.
    """
    if tag[3] in "02468ACE" or tag[4] == "0":
        return tag
    creator = creators.get(f"{tag[:4]}00{tag[4:6]}")
    return tag if creator is None else str(PathStep(int(tag, 16), creator))


def is_path(name: str) -> bool:
    """Tell whether a text is the name of a path, one that PostgreSQL has a place for."""
    steps = list(path_steps(name))
    return bool(steps) and "\0" not in name and ".".join(map(str, steps)) == name


def creator_of(element: Mapping[str, Any]) -> str | None:
    """Return the creator that an element names, in the form of paths."""
    values = element.get("Value") or [None]
    if not isinstance(values[0], str):
        return None
    cleaned = normalise("LO", values[0])
    return cleaned[0].text or None if cleaned else None


def is_creator(tag: str) -> bool:
    """Tell whether an element reserves a block of private elements."""
    return tag[3] in "13579BDF" and tag[4:6] == "00" and tag[6] != "0"


def _values(step: str, element: bytes) -> ElementValues:
    paths: dict[str, str] = {}
    values: dict[tuple[str, str | None], None] = {}
    # Not by recursion: how deep sequences nest is for the sender to say.
    waiting = [(step, read_element(element))]
    while waiting:
        path, read = waiting.pop()
        vr = read["vr"]
        paths.setdefault(path, vr)
        items = read.get("Value", ())
        if vr != "SQ":
            values[path, _text(read)] = None
        elif not items:
            values[path, ""] = None
        for item in items if vr == "SQ" else ():
            creators = _creators(item)
            waiting += [(f"{path}.{step_of(tag, creators)}", inner) for tag, inner in item.items()]
    return ElementValues(tuple(paths.items()), tuple(values))


_kept = lru_cache(maxsize=1 << 15)(_values)


def _creators(item: Mapping[str, Any]) -> dict[str, str]:
    found = {tag: creator_of(element) for tag, element in item.items() if is_creator(tag)}
    return {tag: creator for tag, creator in found.items() if creator is not None}


def _text(element: Mapping[str, Any]) -> str | None:
    text = whole_text(element)
    return None if text is None else shown_text(text)
