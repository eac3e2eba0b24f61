"""Native DICOM Model read into the DICOM JSON model (PS3.19 A.1, PS3.18 F.2).

Documents with a document type are refused, so that no entity exists that could expand or name anything. How deep
elements nest and how many there are is bounded while they are read.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final
from xml.parsers import expat

from dicomweb_archive.dicom.limits import DEFAULT_LIMITS, ScanLimits
from dicomweb_archive.dicom.status import LIMIT_EXCEEDED, METADATA_UNREADABLE
from dicomweb_archive.dicom.value_encoding import NAME_GROUPS
from dicomweb_archive.errors import InvalidInstanceError, InvalidRequestError

_TAG = re.compile(r"[0-9A-Fa-f]{8}").fullmatch
_NAME_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_ROOT: Final = "NativeDicomModel"
# Each costs a call or two, whatever its name is.
_MOST_TAGS: Final = 1_000_000
# A tag is held until its end is there, with all attributes that it has.
_LONGEST_TAG: Final = 1024 * 1024
_PIECE_BYTES: Final = 256 * 1024
_MOST_GAPS: Final = 1000
_FIRST_BLOCK, _LAST_BLOCK = 0x10, 0xFF


def read_native_xml(text: bytes, limits: ScanLimits = DEFAULT_LIMITS) -> dict[str, Any]:
    """Read a Native DICOM Model document as a data set in the DICOM JSON model, all values as text.

    Raises:
        InvalidRequestError: it is no XML, has a document type, or is another kind of document.
        InvalidInstanceError: it is no data set, or beyond a limit.
    """
    reader = _Reader(limits)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_document_type
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        for start in range(0, len(text), _PIECE_BYTES):
            parser.Parse(text[start : start + _PIECE_BYTES], False)
            if start - parser.CurrentByteIndex > _LONGEST_TAG:
                raise InvalidInstanceError("a tag is too long", failure=LIMIT_EXCEEDED)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError):
        message = "the metadata are not well-formed XML"
        raise InvalidRequestError(message) from None
    return reader.result


def _refuse_document_type(*_: object) -> None:
    message = "XML with a document type is not taken"
    raise InvalidRequestError(message)


@dataclass(slots=True)
class _DataSet:
    """A data set being read; private attributes get their block when all of it is there."""

    model: dict[str, Any] = field(default_factory=dict)
    private: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)


class _Reader:
    """Takes the events of one document."""

    def __init__(self, limits: ScanLimits) -> None:
        self.result: dict[str, Any] = {}
        self._elements_left = limits.elements
        self._tags_left = _MOST_TAGS
        self._most_depth = 2 * limits.depth + 8
        self._path: list[str] = []
        self._data_sets: list[_DataSet] = []
        # Of each attribute that is open, innermost last: its tag, private creator and content.
        self._attributes: list[tuple[str, str, dict[str, Any]]] = []
        self._name: dict[str, list[str]] = {}
        self._text: list[str] | None = None

    def start(self, name: str, given: dict[str, str]) -> None:
        self._tags_left -= 1
        if self._tags_left < 0:
            raise InvalidInstanceError("too many tags", failure=LIMIT_EXCEEDED)
        name = name.rpartition(" ")[2]
        self._path.append(name)
        if len(self._path) > self._most_depth:
            raise InvalidInstanceError("sequences are nested too deeply", failure=LIMIT_EXCEEDED)
        if len(self._path) == 1 and name != _ROOT:
            message = f"the metadata are another kind of document than {_ROOT}"
            raise InvalidRequestError(message)
        if name == _ROOT or name == "Item":
            self._begin_data_set(name, given)
        elif name == "DicomAttribute":
            self._begin_attribute(given)
        elif name == "BulkData":
            self._attribute["BulkDataURI"] = given.get("uri") or given.get("uuid") or ""
        elif name == "PersonName":
            self._name = {}
            self._make_room(given)
        elif name == "Value":
            self._make_room(given)
            self._text = []
        elif name in (*_NAME_COMPONENTS, "InlineBinary"):
            self._text = []
        elif name in NAME_GROUPS:
            self._name[name] = [""] * len(_NAME_COMPONENTS)

    def characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def end(self, name: str) -> None:
        name = name.rpartition(" ")[2]
        self._path.pop()
        text, self._text = "".join(self._text or ()), None
        if name == "Value":
            self._attribute["Value"].append(text or None)
        elif name == "InlineBinary":
            self._attribute["InlineBinary"] = text
        elif name in _NAME_COMPONENTS and self._path and self._path[-1] in self._name:
            self._name[self._path[-1]][_NAME_COMPONENTS.index(name)] = text
        elif name == "PersonName":
            groups = {group: "^".join(parts).rstrip("^") for group, parts in self._name.items()}
            self._attribute["Value"].append(groups or None)
        elif name == "DicomAttribute":
            self._end_attribute()
        elif name == "Item":
            self._attribute["Value"].append(_with_blocks(self._data_sets.pop()))
        elif name == _ROOT and not self._path:
            self.result = _with_blocks(self._data_sets.pop())

    @property
    def _attribute(self) -> dict[str, Any]:
        """The content of the innermost attribute."""
        if not self._attributes:
            raise _unreadable()
        return self._attributes[-1][2]

    def _begin_data_set(self, name: str, given: dict[str, str]) -> None:
        if name == "Item":
            self._make_room(given)
        elif len(self._path) > 1:
            raise _unreadable()
        self._data_sets.append(_DataSet())

    def _begin_attribute(self, given: dict[str, str]) -> None:
        tag = given.get("tag", "")
        self._elements_left -= 1
        if self._elements_left < 0:
            raise InvalidInstanceError("too many elements", failure=LIMIT_EXCEEDED)
        if not _TAG(tag) or len(self._data_sets) != len(self._attributes) + 1:
            raise _unreadable()
        content: dict[str, Any] = {"vr": given["vr"]} if "vr" in given else {}
        self._attributes.append((tag.upper(), given.get("privateCreator", ""), content))

    def _end_attribute(self) -> None:
        tag, creator, content = self._attributes.pop()
        data_set = self._data_sets[-1]
        number = int(tag, 16)
        if creator and number & 0x10000:
            data_set.private.append((number, creator, content))
        elif tag in data_set.model:
            raise _unreadable()
        else:
            data_set.model[tag] = content

    def _make_room(self, given: dict[str, str]) -> None:
        """Put empty values in where the numbers of those that are there leave a gap."""
        values = self._attribute.setdefault("Value", [])
        number = given.get("number", "")
        gap = int(number) - 1 - len(values) if number.isascii() and number.isdecimal() and len(number) < 9 else 0
        if not 0 <= gap <= _MOST_GAPS:
            raise _unreadable()
        self._elements_left -= 1 + gap
        if self._elements_left < -DEFAULT_LIMITS.elements * 4:
            raise InvalidInstanceError("too many values", failure=LIMIT_EXCEEDED)
        values.extend([None] * gap)


def _with_blocks(data_set: _DataSet) -> dict[str, Any]:
    """Give private attributes the block of their creator, a new one where there is none (PS3.5 7.8.1)."""
    model = data_set.model
    blocks = _blocks_of(model) if data_set.private else {}
    for number, creator, content in data_set.private:
        group = number & 0xFFFF0000
        block = number >> 8 & 0xFF
        if _creator_of(model, group | block) != creator:
            block = blocks.get((group, creator), 0)
            if not block:
                block = blocks[group, creator] = _free_block(model, group)
                model[f"{group | block:08X}"] = {"vr": "LO", "Value": [creator]}
        tag = f"{group | block << 8 | number & 0xFF:08X}"
        if tag in model:
            raise _unreadable()
        model[tag] = content
    return model


def _creator_of(model: dict[str, Any], tag: int) -> str | None:
    values = model.get(f"{tag:08X}", {}).get("Value") or [None]
    return values[0] if isinstance(values[0], str) else None


def _blocks_of(model: dict[str, Any]) -> dict[tuple[int, str], int]:
    """Return the first block that each creator has in each group; looked up once, for there may be many attributes."""
    blocks: dict[tuple[int, str], int] = {}
    for tag in sorted(int(key, 16) for key in model):
        creator = _creator_of(model, tag) if tag & 0x10000 and _FIRST_BLOCK <= tag & 0xFFFF <= _LAST_BLOCK else None
        if creator is not None:
            blocks.setdefault((tag & 0xFFFF0000, creator), tag & 0xFF)
    return blocks


def _free_block(model: dict[str, Any], group: int) -> int:
    for block in range(_FIRST_BLOCK, _LAST_BLOCK + 1):
        if f"{group | block:08X}" not in model:
            return block
    raise _unreadable()


def _unreadable() -> InvalidInstanceError:
    reason = "the document is no data set in the Native DICOM Model"
    return InvalidInstanceError(reason, failure=METADATA_UNREADABLE)
