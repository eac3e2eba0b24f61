"""Properties of CQL2 filters: keywords, tags, private tags with their creators, and paths of them."""

import re

from dicomweb_archive.dicom.attribute_path import AttributePath, PathStep
from dicomweb_archive.dicom.tags import is_private, is_private_creator, parse_tag, vr_of
from dicomweb_archive.errors import InvalidMatchError, InvalidParameterError
from dicomweb_archive.wire.attribute_paths import UNSEARCHABLE_GROUPS, harmless

_MEMBER = re.compile(r"(?P<tag>[A-Za-z0-9]{1,64})(?:@(?P<creator>(?:\\.|[^.\\]){1,200}))?(?:\.|\Z)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def parse_property(name: str, *, depth: int) -> AttributePath:
    r"""Read a property name: `Keyword`, `00100020`, `00291010@CREATOR`, or several joined by dots into sequences.

    The block number of a private tag says nothing, its creator tells blocks apart (PS3.5 7.8.1). A dot or backslash
    in a creator stands behind a backslash. An attribute whose VR only the index can tell has the VR UN.

    Raises:
        InvalidParameterError, InvalidMatchError: it names no attribute that data sets hold.
    """
    steps: list[PathStep] = []
    position = 0
    while position < len(name) or not steps:
        found = _MEMBER.match(name, position)
        if found is None or len(steps) >= depth:
            raise _unknown(name, depth)
        steps.append(_step(found, name, depth))
        position = found.end()
    # A dot at the end promises a member more.
    if name.endswith(".") or any((vr_of(step.tag) or "SQ") != "SQ" for step in steps[:-1] if not step.private_creator):
        raise _unknown(name, depth)
    last = steps[-1]
    vr = None if last.private_creator else vr_of(last.tag)
    return AttributePath(tuple(steps), vr or "UN")


def _step(found: re.Match[str], name: str, depth: int) -> PathStep:
    try:
        tag = parse_tag(found["tag"])
    except ValueError:
        raise _unknown(name, depth) from None
    if tag >> 16 in UNSEARCHABLE_GROUPS or tag & 0xFFFF == 0:
        raise _unknown(name, depth)
    creator = _ESCAPED.sub(r"\1", found["creator"] or "").strip(" ")
    needs_creator = is_private(tag) and not is_private_creator(tag)
    if needs_creator != bool(creator):
        accepted = 'a private attribute together with its creator, "ggggxxee@CREATOR", and no other with one'
        raise InvalidMatchError(f"{tag:08X}", accepted=accepted)
    return PathStep((tag & 0xFFFF0000) | (tag & 0xFF), creator) if creator else PathStep(tag)


def _unknown(name: str, depth: int) -> InvalidParameterError:
    # What is no plain token may be a value gone astray.
    return InvalidParameterError(
        f"the attribute {name} in filter" if harmless(name) else "an attribute in filter",
        accepted=f"keywords and tags of attributes, at most {depth} joined by dots into sequences; "
        "tags stand in double quotes, texts in single ones",
    )
