"""Fields of metadata: which attributes a client wants of each instance (an extension: includefield as in a search)."""

from collections.abc import Iterable, Sequence
from typing import Final

from dicomweb_archive.dicom.tags import format_tag, is_private, is_private_creator, parse_tag, vr_of
from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.attribute_paths import UNSEARCHABLE_GROUPS

ALWAYS: Final = frozenset({0x00080016, 0x00080018, 0x0020000D, 0x0020000E})
"""SOP Class UID and the UIDs of instance, study and series: what an instance cannot be told by otherwise."""

_MOST: Final = 500
_DEPTH: Final = 16
_ACCEPTED: Final = "keywords, tags, paths of them through sequences, or all, separated by commas"


def parse_metadata_fields(pairs: Sequence[tuple[str, str]]) -> frozenset[int] | None:
    """Read `includefield`, which may be given several times; `None` when all attributes are wanted.

    By a path the sequence is answered whole, as in a search. A private attribute is named by the tag that it has in
    the metadata, and comes with its creator.

    Raises:
        InvalidParameterError: a name is no attribute that a data set holds, or there are too many.
    """
    names = [name for key, value in pairs if key == "includefield" for name in value.split(",", _MOST)]
    if len(names) > _MOST:
        raise InvalidParameterError("includefield", accepted=f"at most {_MOST} attributes")
    tags = {tag for name in names if name != "all" for tag in _tags_of(name)}
    return None if not names or "all" in names else ALWAYS | tags


def format_metadata_fields(tags: Iterable[int]) -> str:
    """Write fields so that the same ones are always written alike."""
    return ",".join(map(format_tag, sorted(tags)))


def _tags_of(name: str) -> Iterable[int]:
    try:
        path = [parse_tag(member) for member in name.split(".", _DEPTH)]
    except ValueError:
        # Without a cause: the text may be anything.
        raise InvalidParameterError("includefield", accepted=_ACCEPTED) from None
    if any(tag >> 16 in UNSEARCHABLE_GROUPS or tag & 0xFFFF == 0 for tag in path):
        raise InvalidParameterError("includefield", accepted=_ACCEPTED)
    if any((vr_of(tag) or "SQ") != "SQ" for tag in path[:-1]):
        raise InvalidParameterError("includefield", accepted="paths whose inner attributes are sequences")
    yield path[0]
    if is_private(path[0]) and not is_private_creator(path[0]):
        yield (path[0] & 0xFFFF0000) | (path[0] >> 8 & 0xFF)
