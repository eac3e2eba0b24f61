"""Native DICOM Model: DICOM JSON to XML (PS3.19 A.1)."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dicomweb_archive.dicom.tags import is_private, is_private_creator, keyword_of

_HEAD: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">'
)
_NAME_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")

# XML 1.0 has no way at all to write most control characters, surrogates and the last two code points.
_ESCAPES: Final[dict[str, str]] = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"}
_TO_ESCAPE = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')


def encode_native_xml(dataset: Mapping[str, Any] | bytes) -> bytes:
    """Write one data set as a Native DICOM Model document (PS3.19 A.1.5).

    Given the JSON text, numbers keep their digits as they stand there; given a decoded object, they are
    written as Python writes them. Characters that XML cannot hold become U+FFFD. Private creator elements stay,
    although `privateCreator` repeats them, so that no attribute is lost.
    """
    decoded = json.loads(dataset, parse_float=str, parse_int=str) if isinstance(dataset, bytes) else dataset
    pieces = [_HEAD, *_attributes(decoded), "</NativeDicomModel>"]
    return "".join(pieces).encode("utf-8")


def _escape(text: object) -> str:
    return _TO_ESCAPE.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), str(text))


def _attributes(dataset: Mapping[str, Any]) -> Iterator[str]:
    for key, attribute in dataset.items():
        tag = int(key, 16)
        if tag & 0xFFFF == 0:
            continue  # group lengths have no place in the model
        vr = _escape(attribute["vr"])
        yield f'<DicomAttribute tag="{_model_tag(tag)}" vr="{vr}"{_names(dataset, tag)}>'
        yield from _content(vr, attribute)
        yield "</DicomAttribute>"


def _model_tag(tag: int) -> str:
    if is_private(tag) and not is_private_creator(tag):
        return f"{tag & 0xFFFF00FF:08X}"  # without its block, which privateCreator stands for
    return f"{tag:08X}"


def _names(dataset: Mapping[str, Any], tag: int) -> str:
    """Write the keyword of a standard attribute, the creator of a private one."""
    if not is_private(tag):
        keyword = keyword_of(tag)
        return f' keyword="{keyword}"' if keyword else ""
    creator = dataset.get(f"{tag & 0xFFFF0000 | tag >> 8 & 0xFF:08X}", {}).get("Value", [None])[0]
    return "" if creator is None or is_private_creator(tag) else f' privateCreator="{_escape(creator)}"'


def _content(vr: str, attribute: Mapping[str, Any]) -> Iterator[str]:
    if "BulkDataURI" in attribute:
        yield f'<BulkData uri="{_escape(attribute["BulkDataURI"])}"/>'
    elif "InlineBinary" in attribute:
        yield f"<InlineBinary>{_escape(attribute['InlineBinary'])}</InlineBinary>"
    for number, value in enumerate(attribute.get("Value", ()), 1):
        if vr == "SQ":
            yield f'<Item number="{number}">'
            yield from _attributes(value)
            yield "</Item>"
        elif vr == "PN":
            yield f'<PersonName number="{number}">{_person_name(value or {})}</PersonName>'
        elif value is None:
            yield f'<Value number="{number}"/>'
        else:
            yield f'<Value number="{number}">{_escape(value)}</Value>'


def _person_name(name: Mapping[str, str]) -> str:
    groups = []
    for group in _NAME_GROUPS:
        if name.get(group):
            # More than five components are wrong; what is too much stays with the last one.
            parts = zip(_NAME_COMPONENTS, name[group].split("^", len(_NAME_COMPONENTS) - 1), strict=False)
            components = "".join(f"<{tag}>{_escape(text)}</{tag}>" for tag, text in parts if text)
            groups.append(f"<{group}>{components}</{group}>")
    return "".join(groups)
