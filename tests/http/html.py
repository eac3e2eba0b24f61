"""A reader of our own HTML for tests: elements, their texts, and what is wrong with them for a screen reader."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


@dataclass
class Node:
    """One element."""

    name: str
    attributes: dict[str, str]
    parent: "Node | None" = None
    children: "list[Node | str]" = field(default_factory=list)

    def walk(self) -> "Iterator[Node]":
        """Yield this element and all below it."""
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def find(self, name: str = "", /, **attributes: str) -> "list[Node]":
        """Return the elements of a name with these attributes; `class_` is one of the classes."""
        return [node for node in self.walk() if (not name or node.name == name) and node._fits(attributes)]

    def one(self, name: str = "", /, **attributes: str) -> "Node":
        """Return the only such element."""
        found = self.find(name, **attributes)
        assert len(found) == 1, f"{len(found)} elements {name} {attributes}"
        return found[0]

    def _fits(self, attributes: dict[str, str]) -> bool:
        for key, wanted in attributes.items():
            if key == "class_":
                if wanted not in self.attributes.get("class", "").split():
                    return False
            elif self.attributes.get(key.rstrip("_").replace("_", "-")) != wanted:
                return False
        return True

    @property
    def text(self) -> str:
        """Return what is read aloud, runs of blanks as one."""
        return " ".join(" ".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            else:
                yield from child._texts()


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Node("", {})
        self.open = self.root

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs}, self.open)
        self.open.children.append(node)
        if tag not in VOID:
            self.open = node

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.children.append(Node(tag, {name: value or "" for name, value in attrs}, self.open))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open.name == tag, f"</{tag}> closes <{self.open.name}>"
        assert self.open.parent is not None
        self.open = self.open.parent

    def handle_data(self, data: str) -> None:
        self.open.children.append(data)


def parse(text: str) -> Node:
    """Read a page; elements that are not closed in order fail the test."""
    builder = _Builder()
    builder.feed(text)
    builder.close()
    assert builder.open is builder.root, f"<{builder.open.name}> is not closed"
    return builder.root


def barriers(page: Node) -> list[str]:
    """List what would keep somebody with a screen reader or a keyboard out, and what our policy forbids."""
    found = []
    if page.one("html").attributes.get("lang") != "en":
        found.append("the page has no language")
    if not page.one("title").text:
        found.append("the page has no title")
    found += [
        f"{len(page.find(name))} <{name}>" for name in ("h1", "main", "header", "footer") if len(page.find(name)) != 1
    ]
    found += _headings(page)
    found += _names(page)
    ids = [node.attributes["id"] for node in page.walk() if "id" in node.attributes]
    found += [f"id {one} is given twice" for one in set(ids) if ids.count(one) > 1]
    for node in page.walk():
        for key in ("aria-labelledby", "aria-describedby", "for", "list"):
            found += [f"{key} names {one}" for one in node.attributes.get(key, "").split() if one not in ids]
        if node.name in ("script", "style") and node.text:
            found.append(f"inline {node.name}")
        found += [f"{key} on {node.name}" for key in node.attributes if key == "style" or key.startswith("on")]
        if node.name == "img" and "alt" not in node.attributes:
            found.append("img without alt")
        if node.name == "th" and node.attributes.get("scope") not in ("col", "row"):
            found.append(f"th {node.text} without scope")
        if node.name == "table" and not node.find("caption"):
            found.append("table without caption")
    return found


def _headings(page: Node) -> list[str]:
    levels = [int(node.name[1]) for node in page.walk() if node.name in ("h1", "h2", "h3", "h4")]
    return [f"h{after} behind h{before}" for before, after in pairwise(levels) if after > before + 1]


def _names(page: Node) -> list[str]:
    labelled = {node.attributes.get("for") for node in page.find("label") if node.text}
    found = []
    for node in page.walk():
        named = bool(node.text or node.attributes.get("aria-label") or node.attributes.get("aria-labelledby"))
        if node.name in ("a", "button", "summary") and not named:
            found.append(f"{node.name} without a name")
        fields = node.name in ("input", "select", "textarea") and node.attributes.get("type") != "hidden"
        if fields and node.attributes.get("id") not in labelled:
            found.append(f"{node.attributes.get('name')} without a label")
    return found
