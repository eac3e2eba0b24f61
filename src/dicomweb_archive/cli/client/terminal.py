"""What a terminal is given: text that others have typed is shown by it, and does nothing to it."""

import codecs
import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import click

_NOT_PLAIN = re.compile(r"[^\n -~]")


def printable(value: object) -> str:
    """Write a value on one line, with a mark for each letter that a terminal would obey instead of showing it.

    Control characters of both sets, and those that turn the direction of writing.
    """
    text = "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(letter if _is_shown(letter) else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _is_shown(letter: str) -> bool:
    # Japanese names have wide blanks, French texts unbroken ones.
    return letter.isprintable() or unicodedata.category(letter) == "Zs"


def say(text: str, *, err: bool = False) -> None:
    """Print lines for people, each of them printable."""
    click.echo("\n".join(map(printable, text.split("\n"))), err=err)


def printing(write: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Return what makes text printable that comes in pieces of bytes, and writes it."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def write_printable(piece: bytes) -> object:
        # A bare return would let one line write over another.
        lines = decode(piece).replace("\r", "").split("\n")
        return write("\n".join(map(printable, lines)).encode())

    return write_printable


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Write JSON for programs that people may look at too: letters as they are, whatever is no letter escaped."""
    return _NOT_PLAIN.sub(_escaped, json.dumps(value, ensure_ascii=False, indent=indent))


def _escaped(found: re.Match[str]) -> str:
    letter = found[0]
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]
