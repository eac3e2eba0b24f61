"""The slow and obvious boolean filter: what OGC CQL2 and docs/howto/filter.md say, on plain lists of data sets.

Written from their words, and from nothing of the implementation. A filter is a tree: `("and", a, b)`, `("or", a, b)`,
`("not", a)`, or a condition `(operator, path, values...)` with the path as keywords,
private ones as `ggggxxee@CREATOR`. What is not there makes it
unknown (None), as SQL's NULL does; operands of one AND below the same sequence hold in one item, and an absent sequence
counts as one empty item.
"""

import operator
import random
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

from pydicom.datadict import dictionary_VR
from tests.generated_studies import PRIVATE_VRS
from tests.reference_search import LONG_TEXT_VRS, MOMENT_VRS, NUMBER_VRS, Plain, Step, meaning, name_groups, tag

Tree: TypeAlias = tuple[Any, ...]
Path: TypeAlias = tuple[str, ...]

ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
PATTERN_VRS = ("AE", "CS", "LO", "PN", "SH", "UC", "UI", *LONG_TEXT_VRS)
LONGEST = 100


# --- what it means -------------------------------------------------------------------------------------------------


def evaluate(attributes: Plain, tree: Tree) -> bool | None:
    """Tell what a filter says of one data set or item: true, false or unknown."""
    match tree:
        case ("not", operand):
            told = evaluate(attributes, operand)
            return None if told is None else not told
        case ("or", *operands):
            several = [evaluate(attributes, operand) for operand in operands]
            return True if True in several else None if None in several else False
        case ("and", *_):
            several = [_in_one_item(attributes, group) for group in _groups(list(_operands(tree)))]
            return False if False in several else None if None in several else True
    kind, path, *wanted = tree
    vr = vr_of(path[-1])
    stored = list(_stored(attributes, path, vr))
    if kind == "IS NULL":
        return not stored
    if kind == "<>":
        return None if not stored else not any(_fits("=", vr, value, wanted) for value in stored)
    return any(_fits(kind, vr, value, wanted) for value in stored) if stored else None


def vr_of(name: str) -> str:
    """Return the VR of an attribute by keyword, or of a private one by its last byte."""
    return PRIVATE_VRS[tag(name.split("@")[0]) & 0xFF] if "@" in name else str(dictionary_VR(tag(name)))


def step_of(name: str) -> Step:
    """Return what a keyword, or a tag with its creator, stands for."""
    number, _, creator = name.partition("@")
    return Step(tag(number) & 0xFFFF00FF, creator) if creator else Step(tag(number))


def _operands(tree: Tree) -> Iterator[Tree]:
    """What stands between the ANDs, however they are put into parentheses."""
    for operand in tree[1:]:
        yield from _operands(operand) if operand[0] == "and" else (operand,)


def _groups(operands: list[Tree]) -> list[list[Tree]]:
    """Put operands together that are wholly about items of the same sequence."""
    groups: dict[Any, list[Tree]] = {}
    for number, operand in enumerate(operands):
        firsts = {path[0] if len(path) > 1 else None for path in _paths(operand)}
        same = firsts.pop() if len(firsts) == 1 else None
        groups.setdefault(same or number, []).append(operand)
    return list(groups.values())


def _in_one_item(attributes: Plain, group: list[Tree]) -> bool | None:
    if len(group) == 1:
        return evaluate(attributes, group[0])
    sequence = next(_paths(group[0]))[0]
    items = [item for _, values in step_of(sequence).elements(attributes) for item in values] or [{}]
    told = [evaluate(item, ("and", *map(_below, group))) for item in items]
    return True if True in told else False if False in told else None


def _paths(tree: Tree) -> Iterator[Path]:
    if tree[0] in ("and", "or", "not"):
        for operand in tree[1:]:
            yield from _paths(operand)
    else:
        yield tree[1]


def _below(tree: Tree) -> Tree:
    if tree[0] in ("and", "or", "not"):
        return (tree[0], *map(_below, tree[1:]))
    return (tree[0], tree[1][1:], *tree[2:])


def _stored(attributes: Plain, path: Path, vr: str) -> Iterator[Any]:
    for value in (value for _, values in step_of(path[0]).elements(attributes) for value in values):
        if len(path) > 1:
            yield from _stored(value, path[1:], vr)
        elif vr == "SQ":
            yield value
        elif vr == "PN":
            yield from name_groups(str(value))
        elif (meant := meaning(vr, value)) is not None:
            yield meant


def _fits(kind: str, vr: str, stored: Any, wanted: Sequence[Any]) -> bool:
    if kind in ("LIKE", "CASEI"):
        pattern, text = (wanted[0], stored) if kind == "LIKE" else (wanted[0].lower(), stored.lower())
        parts = {"%": ".*", "_": "."}
        found = re.findall(r"\\.|.", pattern, re.DOTALL)
        return re.fullmatch("".join(parts.get(p) or re.escape(p[-1]) for p in found), text, re.DOTALL) is not None
    meant = [_meant(vr, value) for value in wanted]
    if kind in ("=", "IN"):
        return stored in meant
    if isinstance(stored, str) != isinstance(meant[0], str):
        # What is no number (no date) in spite of its VR is neither before nor behind one.
        return False
    if kind == "BETWEEN":
        return bool(meant[0] <= stored <= meant[1])
    return bool(ORDER[kind](stored, meant[0]))


def _meant(vr: str, value: Any) -> Any:
    return name_groups(value)[0] if vr == "PN" else meaning(vr, value)


# --- as a client writes it -----------------------------------------------------------------------------------------


def written(tree: Tree) -> str:
    """Write a filter as CQL2 text."""
    match tree:
        case ("not", operand):
            return f"NOT ({written(operand)})"
        case (("and" | "or") as word, *operands):
            return "(" + f" {word.upper()} ".join(map(written, operands)) + ")"
        case (kind, path, *values):
            name, texts = _property(path), [_literal(path, value) for value in values]
            name = f'"{name}"' if "@" in name or name[0].isdigit() else name
            forms = {
                "IS NULL": f"{name} IS NULL",
                "IN": f"{name} IN ({', '.join(texts)})",
                "BETWEEN": f"{name} BETWEEN {' AND '.join(texts)}",
                "CASEI": f"CASEI({name}) LIKE {''.join(texts)}",
            }
            return forms.get(kind, f"{name} {kind} {''.join(texts)}")
    raise AssertionError(tree)


def as_json(tree: Tree) -> dict[str, Any]:
    """Write a filter as CQL2 JSON."""
    if tree[0] in ("and", "or", "not"):
        return {"op": tree[0], "args": [as_json(operand) for operand in tree[1:]]}
    kind, path, *values = tree
    literals = [float(value) if vr_of(path[-1]) in NUMBER_VRS else str(value) for value in values]
    name: dict[str, Any] = {"property": _property(path)}
    if kind == "CASEI":
        kind, name = "LIKE", {"op": "casei", "args": [name]}
    ops = {"IS NULL": "isNull", "IN": "in", "BETWEEN": "between", "LIKE": "like"}
    return {"op": ops.get(kind, kind), "args": [name, literals] if kind == "IN" else [name, *literals]}


def _property(path: Path) -> str:
    return ".".join(name.replace(".", r"\.") for name in path)


def _literal(path: Path, value: Any) -> str:
    vr = vr_of(path[-1])
    if vr in NUMBER_VRS:
        return repr(float(value))
    text = str(value)
    if vr == "DA" and re.fullmatch("[12][0-9]{7}", text, re.ASCII):
        return f"DATE('{text[:4]}-{text[4:6]}-{text[6:]}')"
    return "'" + text.replace("'", "''") + "'"


# --- filters near stored values ------------------------------------------------------------------------------------


def filter_near(
    chance: random.Random, values: Sequence[tuple[Path, Any]], others: Sequence[tuple[Path, Any]] = (), depth: int = 2
) -> Tree | None:
    """Draw a filter around the values of one instance; None where the archive could only refuse it.

    Lists and bounds may hold values of `others` too.
    """
    kind = chance.random()
    if depth == 0 or kind < 0.2:
        return _condition(chance, *chance.choice(values), others)
    if kind < 0.35:
        operand = filter_near(chance, values, others, depth - 1)
        return None if operand is None else ("not", operand)
    drawn = [filter_near(chance, values, others, depth - 1) for _ in range(chance.choice([2, 2, 3]))]
    operands = [operand for operand in drawn if operand is not None]
    return ("and" if kind < 0.7 else "or", *operands) if len(operands) > 1 else None


def _condition(chance: random.Random, path: Path, value: Any, others: Sequence[tuple[Path, Any]]) -> Tree | None:
    vr = vr_of(path[-1])
    if chance.random() < 0.15:
        # Also of a sequence itself.
        return ("IS NULL", path[: chance.randrange(1, len(path) + 1)])
    text = str("" if value is None else value)
    if vr == "PN":
        text = chance.choice(name_groups(text) or [""])
    meant = meaning(vr, text)
    if meant is None or len(text) > LONGEST or "\\" in text or "\0" in text:
        return None
    if vr in NUMBER_VRS + MOMENT_VRS and not isinstance(meant, float | Fraction):
        return None
    wanted = meant if vr in NUMBER_VRS else text
    if vr in PATTERN_VRS and chance.random() < 0.4:
        return _pattern(chance, path, meant if vr != "PN" else text)
    kind = chance.choice(["=", "<>", "IN", "IN", "BETWEEN", "BETWEEN", *ORDER])
    if kind not in ("IN", "BETWEEN"):
        return (kind, path, wanted)
    others = [value for at, value in others if at == path and _is_literal(vr, value)]
    several = [wanted, *(meaning(vr, value) if vr in NUMBER_VRS else str(value) for value in others)]
    if kind == "IN":
        return (kind, path, *chance.sample(several, len(several))[:4], wanted)
    low, high = sorted([wanted, chance.choice(several)], key=lambda literal: _meant(vr, literal))
    return (kind, path, low, high)


def _is_literal(vr: str, value: Any) -> bool:
    meant = meaning(vr, "" if value is None else value)
    if meant is None or len(str(value)) > LONGEST or re.search("[\\\\\0=]", str(value)):
        return False
    if vr == "PN":
        return bool(name_groups(str(value)))
    return isinstance(meant, float | Fraction) or vr not in NUMBER_VRS + MOMENT_VRS


def _pattern(chance: random.Random, path: Path, text: str) -> Tree:
    place = chance.randrange(len(text))
    start, one, rest = (re.sub(r"[%_]", r"\\\g<0>", part) for part in (text[:place], text[place], text[place + 1 :]))
    pattern = chance.choice([f"{start}%", f"%{one}{rest}", f"{start}_{rest}", f"%{one}%", start + one + rest])
    # Without regard to case only letters whose case is the same everywhere.
    return ("CASEI", path, pattern.swapcase()) if text.isascii() and chance.random() < 0.4 else ("LIKE", path, pattern)
