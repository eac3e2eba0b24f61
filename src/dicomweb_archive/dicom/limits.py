"""Bounds of the scanner: what an instance may cost before it is refused."""

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """How much of an instance is read, held and nested (docs/design/0002-scanner.md has the reasons).

    Attributes:
        depth: sequences within sequences.
        elements: data elements, those in items included.
        items: items of all sequences.
        fragments: of one encapsulated value; also entries of an offset table.
        meta_bytes: File Meta Information.
        header_bytes: all values that are held, so everything but bulk values.
        json_bytes: JSON text of all sequences; a nested one counts once a level.
        value_bytes: one value; a larger one is referred to by BulkDataURI where PS3.18 10.4.1.1.2 allows it
            and cut otherwise.
        bulk_threshold: a larger value of OB OD OF OL OV OW UN is referred to by BulkDataURI.
        inflate_ratio: inflated bytes for each deflated one, once `inflate_free_bytes` came out.
    """

    depth: int = 64
    elements: int = 200_000
    items: int = 200_000
    fragments: int = 500_000
    meta_bytes: int = MEBIBYTE
    header_bytes: int = 64 * MEBIBYTE
    json_bytes: int = 256 * MEBIBYTE
    value_bytes: int = 64 * 1024
    bulk_threshold: int = 1024
    inflate_ratio: int = 200
    inflate_free_bytes: int = 16 * MEBIBYTE


DEFAULT_LIMITS = ScanLimits()
