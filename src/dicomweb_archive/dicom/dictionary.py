"""The entries of the data dictionary (PS3.6), and of private ones that vendors have published, as pydicom has them.

pydicom's tables are read without pydicom itself, which brings along NumPy, each codec that is installed and an HTTP
client: half a second of a processor for every command that only wants to know what a keyword means. A test holds the
look-ups together with pydicom's own.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple


class Entry(NamedTuple):
    """What PS3.6 says of an attribute; the fields are in the order of pydicom's tables."""

    vr: str
    vm: str
    name: str
    retired: str
    keyword: str


def _read_table(name: str) -> ModuleType:
    """Read one of the modules that hold nothing but a table; pydicom will find it under its name."""
    full_name = f"pydicom.{name}"
    if full_name in sys.modules:
        return sys.modules[full_name]
    # Found, not imported.
    package = importlib.util.find_spec("pydicom")
    assert package is not None
    assert package.submodule_search_locations
    file = Path(package.submodule_search_locations[0], f"{name}.py")
    spec = importlib.util.spec_from_file_location(full_name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return sys.modules.setdefault(full_name, module)


_TABLES = _read_table("_dicom_dict")
_PUBLIC: Final[dict[int, tuple[str, str, str, str, str]]] = _TABLES.DicomDictionary
# Bits that count, and their values, of the tags of repeating groups, which are written like "60xx0010".
_REPEATING: Final = [
    (int("".join("0" if digit == "x" else "F" for digit in mask), 16), int(mask.replace("x", "0"), 16), Entry(*entry))
    for mask, entry in _TABLES.RepeatersDictionary.items()
]
_PRIVATE: Final[dict[str, dict[str, tuple[str, str, str, str]]]] = _read_table("_private_dict").private_dictionaries

UID_NAMES: Final[dict[str, tuple[str, str, str, str, str]]] = _read_table("_uid_dict").UID_dictionary
"""Well-known UIDs (PS3.6 Annex A): name, type, information, whether it is retired, keyword."""

TAGS_BY_KEYWORD: Final = {entry[4]: tag for tag, entry in _PUBLIC.items()}
"""Tags of the attributes of PS3.6; retired ones without a keyword share the empty one."""


def public_entry(tag: int) -> Entry | None:
    """Return what PS3.6 says of a tag, of a repeating group too; `None` for private and unknown ones."""
    entry = _PUBLIC.get(tag)
    if entry is not None:
        return Entry(*entry)
    if tag & 0x10000:
        return None
    return next((entry for bits, value, entry in _REPEATING if tag & bits == value), None)


def private_vr(tag: int, creator: str) -> str | None:
    """Return the value representation of a private element as its creator has published it (PS3.5 7.8.1)."""
    published = _PRIVATE.get(creator)
    if published is None:
        return None
    digits = f"{tag:08X}"
    # The block is free in most entries, the second half of the group in some.
    for name in (digits, f"{digits[:4]}xx{digits[6:]}", f"{digits[:2]}xxxx{digits[6:]}"):
        if name in published:
            return published[name][0]
    return None
