"""Store requests of metadata and bulk data, as clients write them: JSON of pydicom, parts by hand."""

import json
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset

JSON = "application/dicom+json"
BOUNDARY = "a-boundary-of-the-tests"

Part = tuple[dict[str, str], bytes]


def related_type(kind: str = JSON) -> str:
    """Write the Content-Type of a request whose root is of this kind."""
    return f'multipart/related; type="{kind}"; boundary={BOUNDARY}'


def body_of(parts: Sequence[Part]) -> bytes:
    """Write parts with their header fields as a multipart/related body."""
    pieces = []
    for headers, data in parts:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        pieces += [f"--{BOUNDARY}\r\n{lines}\r\n".encode(), data, b"\r\n"]
    return b"".join([*pieces, f"--{BOUNDARY}--\r\n".encode()])


def metadata_of(*datasets: Dataset, threshold: int = 128) -> tuple[list[dict[str, Any]], list[Part]]:
    """Write data sets in the DICOM JSON model; binary values above the threshold become parts of their own."""
    parts: list[Part] = []

    def put_aside(element: Any) -> str:
        location = f"bulk/{len(parts)}"
        headers = {"Content-Type": "application/octet-stream", "Content-Location": location}
        parts.append((headers, element.value))
        return location

    models = [dataset.to_json_dict(threshold, put_aside) for dataset in datasets]
    return models, parts


def json_part(models: Any) -> Part:
    """Write metadata as a part."""
    return {"Content-Type": JSON}, json.dumps(models).encode()


def bulk_part(data: bytes, location: str = "bulk/0", content_type: str = "application/octet-stream") -> Part:
    """Write bulk data as a part."""
    return {"Content-Type": content_type, "Content-Location": location}, data
