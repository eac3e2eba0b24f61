"""Stored instances for tests of the index: scanned from files built in code, as if they lay in a pack."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b

from dicomweb_archive.dicom.instance import Element, ScannedInstance
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.index.segments.building import StoredInstance
from dicomweb_archive.index.writing.register import PackRecord

_numbers = itertools.count(1)


def sharing_base(scanned: Iterable[ScannedInstance]) -> list[ScannedInstance]:
    """Express instances as what differs from the first of them, the plain way."""
    instances = list(scanned)
    base = instances[0].attributes()
    shared = []
    for instance in instances:
        own = instance.attributes()
        delta: dict[int, Element | None] = {tag: e for tag, e in own.items() if base.get(tag) != e}
        delta.update((tag, None) for tag in base.keys() - own.keys())
        shared.append(replace(instance, base=base, delta=delta))
    return shared


def in_pack(scanned: Iterable[ScannedInstance], *, digests: Mapping[str, bytes] | None = None) -> list[StoredInstance]:
    """Give each instance a place in a pack and a digest."""
    stored, offset = [], 100
    for instance in scanned:
        digest = (digests or {}).get(instance.sop_instance_uid) or digest_of(instance.sop_instance_uid)
        stored.append(StoredInstance(instance, offset, instance.size_bytes, digest))
        offset += instance.size_bytes + 100
    return stored


def digest_of(text: str) -> bytes:
    """Return 32 bytes that stand for a BLAKE3 digest."""
    return blake2b(text.encode(), digest_size=32).digest()


def segment_of(files: Iterable[bytes], *, digests: Mapping[str, bytes] | None = None) -> list[StoredInstance]:
    """Scan files of one series and lay them into a pack as one segment."""
    return in_pack(sharing_base(scan(data) for data in files), digests=digests)


def pack_of(*segments: list[StoredInstance]) -> PackRecord:
    """Return a pack under a new key with these segments."""
    size = sum(stored.byte_length for segment in segments for stored in segment)
    return PackRecord(f"packs/00/00/{next(_numbers):032x}.zip", size + 1000, list(segments))
