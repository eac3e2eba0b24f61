"""CQL2 text: a filter as people write it, to the tree of its JSON form (OGC 21-065r2, 6.2 and Annex B).

Why an own parser. The parser of the `cql2` package recurses in native code, where deep nesting ends the process
instead of the request; it makes doubles of all numbers; and its errors repeat the text. It is the oracle of this
one in the tests. Here nothing recurses: levels of parentheses stand on a list whose length is bounded, and a text
is cut into tokens, and these counted, before anything is built.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

from dicomweb_archive.errors import InvalidParameterError

Tree: TypeAlias = Any
"""CQL2 JSON: objects with `op` and `args`, `property`, `date` or `timestamp`; lists, texts and numbers."""


@dataclass(frozen=True, slots=True)
class FilterLimits:
    """Bounds of one filter; each parenthesis and each NOT is a level of its depth."""

    tokens: int = 4000
    depth: int = 32
    conditions: int = 100
    values: int = 1000


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


_TOKEN = re.compile(
    r"""\s*+(?:
    (?P<string>'(?:[^'\\]|''|\\'|\\)*+')
    |(?P<name>"(?:[^"]|"")++"|[A-Za-z_:][A-Za-z0-9_.:]*+)
    |(?P<number>[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)
    |(?P<sign><>|<=|>=|[=<>(),])
    |(?P<arithmetic>[-+*/^%])
    |(?P<end>\Z)
    )""",
    re.VERBOSE,
)
_COMPARISONS: Final = frozenset({"=", "<>", "<", "<=", ">", ">="})
_WORDS: Final = frozenset({"AND", "OR", "NOT", "LIKE", "IN", "BETWEEN", "IS", "NULL", "TRUE", "FALSE"})
_INSTANTS: Final = {"DATE": "date", "TIMESTAMP": "timestamp"}
_KNOWN_FUNCTIONS = re.compile(
    r"(?:[SAT]_[A-Z]{3,20}|ACCENTI|INTERVAL|BBOX|[A-Z]{0,12}(?:POINT|STRING|POLYGON|COLLECTION))\Z"
)
_MOST_DIGITS: Final = 30


def parse_filter_text(text: str, limits: FilterLimits = FilterLimits()) -> Tree:
    """Read a filter.

    Raises:
        InvalidParameterError: it is no CQL2 text, goes beyond a limit, or asks for what is not supported. The
            message says where, and never repeats the text.
    """
    return _Reading(_tokens(text, limits.tokens), limits).expression()


def unsupported(what: str) -> InvalidParameterError:
    """Return the error for what CQL2 has and we have not."""
    return InvalidParameterError(
        "filter",
        accepted="AND, OR, NOT, =, <>, <, <=, >, >=, LIKE, IN, BETWEEN and IS NULL on attributes, CASEI, DATE and "
        f"TIMESTAMP; not {what}",
    )


def name_function(name: str) -> str:
    """Name a function in an error, when it is one of CQL2's: other names may be values gone astray."""
    known = _KNOWN_FUNCTIONS.match(name.upper())
    return f"the function {known[0]}" if known else "other functions"


def _tokens(text: str, most: int) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    while not found or found[-1].kind != "end":
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            _refuse(len(text) - len(text[position:].lstrip()))
        kind = match.lastgroup
        if kind == "arithmetic":
            raise unsupported("arithmetic")
        if len(found) >= most:
            raise InvalidParameterError("filter", accepted=f"at most {most} words, values and signs")
        token = match[kind]
        if kind == "name" and token.upper() in _WORDS:
            kind, token = "word", token.upper()
        found.append(_Token(kind, token, match.start(match.lastgroup)))
        position = match.end()
    return found


def _refuse(position: int) -> NoReturn:
    raise InvalidParameterError("filter", accepted=f"CQL2 text; it cannot be read on from character {position + 1}")


@dataclass(slots=True)
class _Level:
    """What has been read within one pair of parentheses: alternatives, and the operands of the AND at work."""

    alternatives: list[Tree] = field(default_factory=list)
    operands: list[Tree] = field(default_factory=list)
    nots: int = 0

    def take(self, operand: Tree) -> None:
        for _ in range(self.nots):
            operand = {"op": "not", "args": [operand]}
        self.nots = 0
        self.operands.append(operand)

    def end_alternative(self) -> None:
        self.alternatives.append(_join("and", self.operands))
        self.operands = []

    def finish(self) -> Tree:
        self.end_alternative()
        return _join("or", self.alternatives)


def _join(op: str, args: list[Tree]) -> Tree:
    if len(args) == 1:
        return args[0]
    return {"op": op, "args": [inner for arg in args for inner in (arg["args"] if arg["op"] == op else [arg])]}


class _Reading:
    """Goes over the tokens once."""

    def __init__(self, tokens: list[_Token], limits: FilterLimits) -> None:
        self._tokens = tokens
        self._limits = limits
        self._next = 0

    def expression(self) -> Tree:
        levels = [_Level()]
        depth = 0
        while True:
            # An operand: NOT and opening parentheses before it, then a condition.
            while self._peek_is("NOT") or self._peek_is("("):
                depth += 1
                if depth > self._limits.depth:
                    raise InvalidParameterError(
                        "filter", accepted=f"at most {self._limits.depth} parentheses and NOTs within each other"
                    )
                if self._take().text == "(":
                    levels.append(_Level())
                else:
                    levels[-1].nots += 1
            depth -= self._give(levels[-1], self._condition())
            # What follows it: closing parentheses, then AND, OR or the end.
            while len(levels) > 1 and self._peek_is(")"):
                self._take()
                inner = levels.pop().finish()
                depth -= 1 + self._give(levels[-1], inner)
            if self._peek_is("OR"):
                levels[-1].end_alternative()
            elif not self._peek_is("AND"):
                break
            self._take()
        if len(levels) > 1 or self._peek.kind != "end":
            _refuse(self._peek.position)
        return levels[0].finish()

    @staticmethod
    def _give(level: _Level, operand: Tree) -> int:
        """Hand an operand to its level; returns how many NOTs end with it."""
        nots = level.nots
        level.take(operand)
        return nots

    # --- one condition ---------------------------------------------------------------------------------------

    def _condition(self) -> Tree:
        first = self._scalar()
        token = self._take()
        if token.kind == "sign" and token.text in _COMPARISONS:
            return {"op": token.text, "args": [first, self._scalar()]}
        if self._is(token, "IS"):
            negated = self._skip("NOT")
            self._expect("NULL")
            return _negated({"op": "isNull", "args": [first]}, negated)
        negated = self._is(token, "NOT")
        if negated:
            token = self._take()
        match token:
            case ("word", "LIKE", _):
                return _negated({"op": "like", "args": [first, self._scalar()]}, negated)
            case ("word", "IN", _):
                return _negated({"op": "in", "args": [first, self._list()]}, negated)
            case ("word", "BETWEEN", _):
                low = self._scalar()
                self._expect("AND")
                return _negated({"op": "between", "args": [first, low, self._scalar()]}, negated)
        _refuse(token.position)

    def _list(self) -> list[Tree]:
        self._expect("(")
        values = [self._scalar()]
        while self._skip(","):
            values.append(self._scalar())
        self._expect(")")
        return values

    def _scalar(self) -> Tree:
        """Read an attribute or a literal."""
        token = self._take()
        match token.kind:
            case "string":
                return _unquoted(token.text)
            case "number":
                return _number(token)
            case "name" if token.text.startswith('"'):
                return {"property": token.text[1:-1].replace('""', '"')}
            case "name":
                return self._call(token) if self._peek_is("(") else {"property": token.text}
            case "word" if token.text in ("TRUE", "FALSE"):
                raise unsupported("TRUE and FALSE")
        _refuse(token.position)

    def _call(self, name: _Token) -> Tree:
        function = name.text.upper()
        if function != "CASEI" and function not in _INSTANTS:
            raise unsupported(name_function(name.text))
        self._expect("(")
        token = self._take()
        if token.kind == "string":
            argument: Tree = _unquoted(token.text)
        elif token.kind == "name" and function == "CASEI":
            argument = {"property": token.text.strip('"').replace('""', '"')}
        else:
            _refuse(token.position)
        self._expect(")")
        return {"op": "casei", "args": [argument]} if function == "CASEI" else {_INSTANTS[function]: argument}

    # --- tokens ----------------------------------------------------------------------------------------------

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._peek
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    @staticmethod
    def _is(token: _Token, text: str) -> bool:
        return token.kind in ("word", "sign") and token.text == text

    def _peek_is(self, text: str) -> bool:
        return self._is(self._peek, text)

    def _skip(self, text: str) -> bool:
        found = self._peek_is(text)
        if found:
            self._take()
        return found

    def _expect(self, text: str) -> None:
        token = self._take()
        if not self._is(token, text):
            _refuse(token.position)


def _negated(condition: Tree, negated: bool) -> Tree:
    return {"op": "not", "args": [condition]} if negated else condition


def _unquoted(text: str) -> str:
    # Both forms of a quote in a text; other backslashes stay, for LIKE.
    return re.sub(r"''|\\'", "'", text[1:-1])


def _number(token: _Token) -> float:
    if len(token.text) <= _MOST_DIGITS and token.text.lstrip("+-").isdigit():
        return int(token.text)
    number = float(token.text)
    if not math.isfinite(number):
        _refuse(token.position)
    return number
