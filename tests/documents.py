"""Our pages as tests read them: blocks of code, links and the anchors they lead to."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_FOLDERS_OF_OTHERS = {".venv", ".git", ".data", ".pytest_cache", "node_modules"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        line: where its first line stands in the page.
        language: what stands behind the fence; empty for none.
    """

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def pages() -> list[Path]:
    """Return every Markdown page of the repository."""
    found = REPOSITORY.rglob("*.md")
    return sorted(path for path in found if not _FOLDERS_OF_OTHERS & set(path.relative_to(REPOSITORY).parts))


def blocks_of(page: Path, text: str | None = None) -> list[Block]:
    """Return the fenced blocks of a page in order; with `text` those of a part of it."""
    whole = page.read_text("utf-8")
    text = whole if text is None else text
    start = whole.index(text)
    return [
        Block(page, whole.count("\n", 0, start + match.start(2)) + 1, match[1], match[2])
        for match in _FENCE.finditer(text)
    ]


def prose_of(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def section_of(page: Path, heading: str) -> str:
    """Return what stands below a heading of the second level, up to the next one."""
    _, _, rest = page.read_text("utf-8").partition(f"\n## {heading}\n")
    assert rest, f"{page.name} has no section {heading}"
    return rest.partition("\n## ")[0]


def links_of(page: Path) -> list[str]:
    """Return the targets of a page's links and images."""
    return _LINK.findall(prose_of(page))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that the headings of a page make, as code hosts write them."""
    anchors: set[str] = set()
    for slug in map(_slug, _HEADING.findall(prose_of(page))):
        numbered = (f"{slug}-{number}" for number in range(1, 100))
        anchors.add(slug if slug not in anchors else next(name for name in numbered if name not in anchors))
    return anchors


def _slug(heading: str) -> str:
    words = _LINK.sub(lambda link: link[0][1:].partition("]")[0], heading).lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def typed_lines(block: Block) -> Iterator[str]:
    """Give the command lines of a block, with continued lines joined and comments left out."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    for line in joined.splitlines():
        command = line.partition(" #")[0].strip()
        if command and not command.startswith("#"):
            yield command
