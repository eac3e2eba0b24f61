"""Header values made of media types and parameters (RFC 9110 5.6, 8.3; PS3.18 8.7.1).

Read leniently where clients are known to differ: viewers send `type=application/octet-stream` without the
quotes that its slash needs.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SEMICOLON = re.compile(r"[ \t]*;[ \t]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_UNQUOTED = re.compile(r'[^\s;,"\x00-\x1f\x7f]+')
_PIECE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")*', re.DOTALL)


_MOST_PARAMETERS = 32


class MediaTypeValue(NamedTuple):
    """A media type with its parameters; type and parameter names in lower case."""

    type: str
    parameters: dict[str, str]


def parse_media_type(text: str) -> MediaTypeValue | None:
    """Read one media type with parameters, `None` when it has another grammar or repeats a parameter."""
    found = _TYPE.match(text := text.strip(" \t"))
    if found is None:
        return None
    parameters: dict[str, str] = {}
    position = found.end()
    steps = 0
    while position < len(text):
        step = _parameter(text, position)
        steps += 1
        if step is None or steps > _MOST_PARAMETERS:
            return None
        name, value, position = step
        if name in parameters:
            return None
        if name:
            parameters[name] = value
    return MediaTypeValue(found[0].lower(), parameters)


def split_list(text: str, *, at_most: int) -> Iterator[str]:
    """Yield the members of a comma list, quoted commas kept; further ones than `at_most` are left out."""
    position = count = 0
    while position <= len(text) and count < at_most:
        found = _PIECE.match(text, position)
        assert found is not None, "the pattern matches an empty piece anywhere"
        if found.end() < len(text) and text[found.end()] == '"':
            return  # a quote that is never closed: the rest cannot be told apart
        if found[0].strip(" \t"):
            count += 1
            yield found[0]
        position = found.end() + 1


def quote(value: str) -> str:
    """Write a parameter value as a quoted string."""
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def _parameter(text: str, position: int) -> tuple[str, str, int] | None:
    """Read `; name=value` from `position`; an empty parameter (`;;`) has an empty name."""
    semicolon = _SEMICOLON.match(text, position)
    if semicolon is None:
        return None
    start = semicolon.end()
    name = _NAME.match(text, start)
    if name is None:
        # An empty parameter, of which there may be one behind each semicolon (RFC 9110 5.6.6).
        return ("", "", start) if start == len(text) or text[start] == ";" else None
    if text[name.end() : name.end() + 1] != "=":
        return None
    quoted = _QUOTED.match(text, name.end() + 1)
    if quoted is not None:
        return name[0].lower(), _ESCAPE.sub(r"\1", quoted[1]), quoted.end()
    plain = _UNQUOTED.match(text, name.end() + 1)
    return None if plain is None else (name[0].lower(), plain[0], plain.end())
