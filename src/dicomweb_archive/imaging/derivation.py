"""What an instance says of itself once it was compressed with loss for a client (PS3.3 C.7.6.1.1.5, C.12.4).

It is another image, derived from the stored one: it has a UID of its own, always the same for one instance and
transfer syntax, names its source, and tells method and ratio after those of earlier compressions.
"""

from hashlib import sha256
from uuid import UUID

from pydicom import Dataset

from dicomweb_archive.dicom.element_encoding import encode, encode_item
from dicomweb_archive.imaging.element_writer import value_of

_METHODS = {"1.2.840.10008.1.2.4.50": "ISO_10918_1", "1.2.840.10008.1.2.4.91": "ISO_15444_1"}
_UUID_BYTES = 16
_LONGEST_SHORT_TEXT = 1024


def derived_uid(dataset: Dataset, target: str) -> str:
    """Return the SOP Instance UID of the derived instance, made of a UUID (PS3.5 B.2)."""
    source = f"{value_of(dataset, 0x00080018)} {target}"
    digest = sha256(source.encode()).digest()[:_UUID_BYTES]
    return f"2.25.{UUID(bytes=digest, version=5).int}"


def derived_elements(dataset: Dataset, target: str, ratio: float) -> dict[int, bytes]:
    """Return the elements, encoded, that tell of lossy compression `ratio` to 1."""
    kind = ["DERIVED", *_values(dataset, 0x00080008)[1:]] if 0x00080008 in dataset else ["DERIVED", "PRIMARY"]
    ratios = [*_values(dataset, 0x00282112), f"{ratio:.2f}"]
    methods = [*_values(dataset, 0x00282114), _METHODS[target]]
    return {
        0x00080008: encode(0x00080008, "CS", "\\".join(kind).encode()),
        0x00080018: encode(0x00080018, "UI", derived_uid(dataset, target).encode()),
        0x00082111: encode(0x00082111, "ST", _description(dataset)),
        0x00082112: encode(0x00082112, "SQ", encode_item(_source(dataset))),
        0x00089215: encode(0x00089215, "SQ", encode_item(_code("113040", "Lossy Compression"))),
        0x00282110: encode(0x00282110, "CS", b"01"),
        0x00282112: encode(0x00282112, "DS", "\\".join(ratios).encode()),
        0x00282114: encode(0x00282114, "CS", "\\".join(methods).encode()),
    }


def _values(dataset: Dataset, tag: int) -> list[str]:
    value = value_of(dataset, tag)
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else list(map(str, value)) if hasattr(value, "__iter__") else [str(value)]


def _description(dataset: Dataset) -> bytes:
    said = getattr(dataset.get_item(0x00082111), "value", None) if 0x00082111 in dataset else None
    # A text that pydicom has not decoded is in the instance's character set, and stays so.
    before = said.strip(b" \0") + b"; " if isinstance(said, bytes) and said.strip(b" \0") else b""
    ours = b"compressed with loss on retrieval"
    return before + ours if len(before) + len(ours) <= _LONGEST_SHORT_TEXT else ours


def _source(dataset: Dataset) -> bytes:
    purpose = encode(0x0040A170, "SQ", encode_item(_code("121320", "Uncompressed predecessor")))
    return (
        encode(0x00081150, "UI", str(value_of(dataset, 0x00080016) or "").encode())
        + encode(0x00081155, "UI", str(value_of(dataset, 0x00080018) or "").encode())
        + purpose
    )


def _code(value: str, meaning: str) -> bytes:
    return (
        encode(0x00080100, "SH", value.encode())
        + encode(0x00080102, "SH", b"DCM")
        + encode(0x00080104, "LO", meaning.encode())
    )
