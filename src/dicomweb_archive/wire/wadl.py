"""Capabilities Description: resources and their methods as WADL, in XML or JSON (PS3.18 8.9, Annex H).

The tree is made once of `Node`s and written either way. The standard names JSON and gives it no form: here the
attributes of an element are members, and so are the lists of its children, by their name.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

_NAMESPACE = "http://wadl.dev.java.net/2009/02"


@dataclass(slots=True)
class Node:
    """One element of the description."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list["Node"] = field(default_factory=list)

    def child(self, name: str, /, **attributes: str) -> "Node":
        """Append an element and return it."""
        node = Node(name, attributes)
        self.children.append(node)
        return node

    def resource(self, path: str) -> "Node":
        """Return the child resource of this path, a new one when there is none yet."""
        for node in self.children:
            if node.name == "resource" and node.attributes["path"] == path:
                return node
        return self.child("resource", path=path)


def application(base: str) -> tuple[Node, Node]:
    """Begin a description of the service at `base`; returns it and the element that resources go into."""
    root = Node("application")
    return root, root.child("resources", base=base)


def describe_parameter(request: Node, name: str, style: str, options: Sequence[str] = ()) -> None:
    """Append a parameter; the first of its options is the default."""
    parameter = request.child("param", name=name, style=style)
    if options:
        parameter.attributes["default"] = options[0]
    for option in options:
        parameter.child("option", value=option)


def encode_wadl_xml(root: Node) -> bytes:
    """Write the description as a WADL document."""
    document: bytes = ET.tostring(_element(root, {"xmlns": _NAMESPACE}), encoding="utf-8", xml_declaration=True)
    return document


def encode_wadl_json(root: Node) -> bytes:
    """Write the description as JSON."""
    return orjson.dumps({root.name: _object(root)})


def _element(node: Node, more: dict[str, str]) -> ET.Element:
    element = ET.Element(node.name, node.attributes | more)
    element.extend(_element(child, {}) for child in node.children)
    return element


def _object(node: Node) -> dict[str, object]:
    members: dict[str, object] = dict(node.attributes)
    for name in dict.fromkeys(child.name for child in node.children):
        members[name] = [_object(child) for child in node.children if child.name == name]
    return members
