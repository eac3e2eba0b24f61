"""Generates query strings near the values of stored instances, for the differential test of search."""

import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydicom.datadict import keyword_for_tag
from tests.generated_pages import Asked, asked_of
from tests.generated_studies import ZONES
from tests.generated_words import fuzzy_near, text_near
from tests.reference_archive import Instance
from tests.reference_filter import Tree, as_json, filter_near, written
from tests.reference_search import (
    CONTROLS,
    DATE_TIME_PAIRS,
    MOMENT_VRS,
    NUMBER_VRS,
    WILD_VRS,
    Plain,
    meaning,
    tag,
)

SEARCHES = int(os.environ.get("DICOMWEB_ARCHIVE_TEST_SEARCHES", "60"))
SEED = int(os.environ.get("DICOMWEB_ARCHIVE_TEST_SEED", "1"))

LEVELS = ("study", "series", "instance")
UNSEARCHED = {"SpecificCharacterSet", "TimezoneOffsetFromUTC"}
"""The one is the same everywhere, the other is no key."""


@dataclass(frozen=True)
class Search:
    """One search as a client would ask: keys as text, the resource, the page."""

    level: str
    pairs: tuple[tuple[str, str], ...]
    study: str | None = None
    series: str | None = None
    collections: tuple[int, ...] | None = None
    asked: Asked = field(default_factory=Asked)
    filter: Tree | None = None
    filter_is_json: bool = False

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """What matches, as parameters."""
        if self.filter is None:
            return list(self.pairs)
        if self.filter_is_json:
            return [*self.pairs, ("filter", json.dumps(as_json(self.filter))), ("filter-lang", "cql2-json")]
        return [*self.pairs, ("filter", written(self.filter))]


@dataclass(frozen=True)
class Leaf:
    """A value somewhere in a data set: how its attribute is asked for, with the creators that its path needs."""

    name: str
    creators: tuple[tuple[str, str], ...]
    vr: str
    value: Any
    private: bool


def leaves(attributes: Plain, prefix: str = "", creators: tuple[tuple[str, str], ...] = ()) -> Iterator[Leaf]:
    """List every value of a data set and of the items below it."""
    for number, (vr, values) in attributes.items():
        is_private = bool(number & 0x10000)
        told = creators
        if is_private and number & 0xFFFF >= 0x1000:
            block = number & 0xFFFF0000 | number >> 8 & 0xFF
            told = (*creators, (f"{block:08X}", str(attributes[block][1][0])))
        name = prefix + (keyword_for_tag(number) or f"{number:08X}")
        if name in UNSEARCHED or (prefix and _is_creator(name)):
            continue
        for value in values or [None]:
            if vr == "SQ" and value is not None:
                yield from leaves(value, f"{name}.", told)
            elif vr != "SQ":
                yield Leaf(name, told, vr, value, private=is_private or bool(told))


def searches(seed: str, count: int, instances: Sequence[Instance]) -> Iterator[Search]:
    """Generate searches, most of which find something: their keys are near the values of one instance."""
    for number in range(count):
        chance = random.Random(f"search {seed}.{number}")
        yield _filtered(chance, instances) if number % 3 == 2 else _search(chance, instances)


def _filtered(chance: random.Random, instances: Sequence[Instance]) -> Search:
    """Ask by a boolean filter, at times beside a key."""
    instance = chance.choice(instances)
    values = list(_told(instance, _counts(chance)))
    others = list(_told(chance.choice(instances), ()))
    nested = [(path, value) for path, value in values if len(path) > 1]
    tree = None
    while tree is None:
        # Conditions below sequences meet in items only where they are many.
        near = chance.sample(values, 4) + chance.sample(nested, min(len(nested), chance.choice([0, 3])))
        tree = filter_near(chance, near, others)
    keys = [("Modality", instance.text("Modality"))] if chance.random() < 0.2 and instance.text("Modality") else []
    if chance.random() < 0.1 and (text := text_near(chance, instance.attributes)):
        keys.append(("text", text))
    # Identifiers in quotation marks cannot hold one in CQL2 text.
    is_json = '"' in written(tree).replace('"@', "") and 'QUO"TE' in written(tree)
    found = replace(_resource(chance, tuple(keys), instances), filter=tree)
    return replace(found, filter_is_json=is_json or chance.random() < 0.3)


def _told(instance: Instance, counts: Sequence[Leaf]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Return paths as a filter names them, with values."""
    for leaf in [*leaves(instance.attributes), *counts]:
        creators = dict(leaf.creators)
        members = []
        for member in leaf.name.split("."):
            number = tag(member)
            creator = creators.get(f"{number & 0xFFFF0000 | number >> 8 & 0xFF:08X}") if number & 0x10000 else None
            members.append(member if creator is None else f"{number:08X}@{creator}")
        if not _is_creator(leaf.name):
            yield tuple(members), leaf.value


def _search(chance: random.Random, instances: Sequence[Instance]) -> Search:
    instance = chance.choice(instances)
    pairs: dict[str, str] = {}
    fuzzy = chance.random() < 0.3
    known = list(leaves(instance.attributes)) + _counts(chance)
    by_name: dict[str, list[Leaf]] = {}
    asked: set[str] = set()
    for leaf in known:
        by_name.setdefault(leaf.name, []).append(leaf)
    for name in chance.sample(list(by_name), chance.choice([1, 1, 1, 2, 2, 3, 4])):
        leaf = chance.choice(by_name[name])
        if chance.random() < 0.08:
            # Of somebody else: mostly nothing is found.
            others = [other for other in leaves(chance.choice(instances).attributes) if other.name == name]
            leaf = chance.choice(others or [leaf])
        told = dict(leaf.creators)
        if _path(leaf) in asked:
            continue
        asked.add(_path(leaf))
        if any(pairs.get(block, creator) != creator for block, creator in told.items()):
            continue
        text = _text(chance, leaf, fuzzy=fuzzy)
        if text is not None and not (_is_creator(leaf.name) and leaf.name in pairs):
            pairs |= told | {leaf.name: text}
    if chance.random() < 0.15:
        pairs |= _moments(chance, instance)
    if chance.random() < 0.15:
        pairs |= _without_value(chance, known) | {"emptyvaluematching": "true"}
    if chance.random() < 0.1:
        pairs |= _several(chance, instance) | {"multiplevaluematching": "true"}
    if fuzzy:
        name = chance.choice(["PatientName", "OperatorsName", "ContentSequence.PersonName", "ReferringPhysicianName"])
        named = [leaf.value for leaf in by_name.get(name, ()) if leaf.value]
        if named and name not in asked and (text := fuzzy_near(chance, str(chance.choice(named)))):
            pairs[name] = text
        pairs["fuzzymatching"] = "true"
    if chance.random() < 0.15 and (text := text_near(chance, instance.attributes)):
        pairs["text"] = text
    if chance.random() < 0.2:
        pairs |= _moments(chance, instance) if chance.random() < 0.5 else {}
        pairs["TimezoneOffsetFromUTC"] = chance.choice(ZONES[:4])
    return _resource(chance, tuple(_spelt(chance, name, value) for name, value in pairs.items()), instances)


def _is_creator(name: str) -> bool:
    number = tag(name.split(".")[-1])
    return bool(number & 0x10000) and number & 0xFFFF < 0x100


def _path(leaf: Leaf) -> str:
    """Name the attribute without the number of its private block, of which a creator may have several."""
    told = dict(leaf.creators)
    members = []
    for member in leaf.name.split("."):
        number = tag(member)
        creator = told.get(f"{number & 0xFFFF0000 | number >> 8 & 0xFF:08X}") if number & 0x10000 else None
        members.append(member if creator is None else f"{number & 0xFFFF00FF:08X}{creator}")
    return ".".join(members)


def _resource(chance: random.Random, pairs: tuple[tuple[str, str], ...], instances: Sequence[Instance]) -> Search:
    level = chance.choice(LEVELS)
    study = series = None
    if level != "study" and chance.random() < 0.2:
        named = chance.choice(instances)
        study = named.uid("StudyInstanceUID")
        series = named.uid("SeriesInstanceUID") if level == "instance" and chance.random() < 0.6 else None
    collections = chance.choice([None, None, None, (1,), (1, 2), (2,)])
    return Search(level, pairs, study, series, collections, asked_of(chance, level, in_series=series is not None))


def _spelt(chance: random.Random, name: str, value: str) -> tuple[str, str]:
    """Write keywords as tags at times."""
    if chance.random() < 0.7 or name in CONTROLS:
        return name, value
    return ".".join(f"{tag(member):08X}" for member in name.split(".")), value


def _counts(chance: random.Random) -> list[Leaf]:
    """Attributes that no data set holds: the archive computes them."""
    return [
        Leaf("ModalitiesInStudy", (), "CS", chance.choice(["CT", "MR", "SR"]), private=False),
        Leaf("SOPClassesInStudy", (), "UI", "1.2.840.10008.5.1.4.1.1.2", private=False),
        Leaf("NumberOfStudyRelatedSeries", (), "IS", chance.choice([1, 2]), private=False),
        Leaf("NumberOfStudyRelatedInstances", (), "IS", chance.choice([1, 2, 40]), private=False),
        Leaf("NumberOfSeriesRelatedInstances", (), "IS", chance.choice([1, 2, 40]), private=False),
    ]


def _text(chance: random.Random, leaf: Leaf, *, fuzzy: bool = False) -> str | None:
    """Write a key near a value; None when the archive could only refuse it."""
    if chance.random() < 0.05:
        return chance.choice(["", "*"])
    value = "" if leaf.value is None else str(leaf.value)
    if not value.strip(" ") or ("\0" in value):
        return None
    if leaf.vr == "PN" and fuzzy and chance.random() < 0.8:
        return fuzzy_near(chance, value)
    if leaf.private:
        return _plain_text(chance, leaf.vr, value) if leaf.vr in ("LO", "SH") else value
    if leaf.vr == "UI":
        return chance.choice([value, f"{value},1.2.3", f"1.2.3\\{value}\\1.2.4", f"{value}.0"])
    if leaf.vr in MOMENT_VRS:
        return _moment(chance, leaf.vr, value)
    if leaf.vr in NUMBER_VRS:
        number = meaning(leaf.vr, value)
        signed = value if value.startswith(("+", "-")) else f"+{value}"
        return None if isinstance(number, str) else chance.choice([value, value, repr(number), signed])
    return value if leaf.vr == "AT" else _plain_text(chance, leaf.vr, value)


def _plain_text(chance: random.Random, vr: str, value: str) -> str | None:
    if vr in WILD_VRS and chance.random() < 0.5 and len(value) < 500:
        return _pattern(chance, value)
    return chance.choice([value, value, value, value.swapcase(), f"{value} ", value[:-1] or value])


def _pattern(chance: random.Random, value: str) -> str:
    cut = chance.randrange(len(value))
    end = chance.randrange(cut, len(value))
    some = chance.randrange(len(value))
    return chance.choice(
        [
            value[:cut] + "*",
            "*" + value[cut:],
            "?" + value[1:],
            value[:some] + "?" + value[some + 1 :],
            f"*{value[cut:end]}*",
            f"{value[:cut]}*{value[-1:]}",
            f"{value[:cut]}?*{value[end:]}",
            value.upper()[:cut] + "*",
            "?" * len(value),
        ]
    )


def _moment(chance: random.Random, vr: str, value: str) -> str | None:
    """Write a date, a time, a date-time or a range around it."""
    if isinstance(meaning(vr, value), str):
        # Garbage is no key, but a range may be asked of it.
        value = {"DA": "20240131", "TM": "1015", "DT": "20240131101500"}[vr]
    other = {
        "DA": ["20240131", "20231231", "20240229", "00010101", "99991231", "2024.02.01"],
        "TM": ["1015", "10", "101500", "235959", "000000", "101500.000001", "22:30"],
        "DT": [
            "20240131101500-0500",
            "20240131",
            "2024",
            "202401",
            "202401311015",
            "20240131101500.5",
            "20240131101500+0100",
            "20231231",
        ],
    }[vr]
    second = chance.choice(other)
    first, last = sorted([value, second], key=lambda text: (float(meaning(vr, text)), len(text)))
    return chance.choice([value, value, f"{first}-{last}", f"{value}-", f"-{value}", f"{second}-", f"-{second}"])


def _without_value(chance: random.Random, known: Sequence[Leaf]) -> dict[str, str]:
    """Ask for no value where there is none, or at random."""
    askable = [leaf for leaf in known if not leaf.private and leaf.vr != "UI" and not leaf.name.startswith("NumberOf")]
    empty = [leaf for leaf in askable if leaf.value in (None, "")]
    chosen = chance.choice(empty if empty and chance.random() < 0.7 else askable)
    return {chosen.name: '""'}


def _several(chance: random.Random, instance: Instance) -> dict[str, str]:
    """Ask for several values of an attribute that may have them."""
    name = chance.choice(
        ["SoftwareVersions", "ImageType", "OperatorsName", "FrameIncrementPointer", "ModalitiesInStudy"]
    )
    values = [value for value in instance.text(name).split("\\") if value.strip(" ^*")]
    if name == "ModalitiesInStudy":
        values = ["CT", "MR", "SR"]
    wanted = [value for value in chance.sample(values, len(values)) if "*" not in value][:2]
    return {name: "\\".join(wanted)} if len(wanted) > 1 else {}


def _moments(chance: random.Random, instance: Instance) -> dict[str, str]:
    """Write a date and its time, each as a range: together one interval."""
    pairs = DATE_TIME_PAIRS
    date_name, time_name = chance.choice([pairs[0], pairs[2], pairs[3], pairs[4]])
    day = instance.text(date_name)
    if isinstance(meaning("DA", day), str | None):
        return {}
    low, high = chance.choice([(day, day), (day, "20240201"), (day, ""), ("", day), ("20231231", day)])
    if low and high and meaning("DA", low) > meaning("DA", high):
        low, high = high, low
    early, late = chance.choice([("0900", "1015"), ("10", ""), ("", "235959"), ("101500", "101500"), ("23", "01")])
    # Without both days the times are matched for themselves, and must not be reversed.
    if early > late and late and (low == high or not low or not high):
        early, late = late, early
    return {date_name: f"{low}-{high}", time_name: f"{early}-{late}"}
