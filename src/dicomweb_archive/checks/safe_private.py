"""Private attributes that hold nothing of a person, as PS3.15 knows them (Table E.3.10-1, edition 2026a)."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from dicomweb_archive.dicom.attribute_path import PathStep

# By creator and group: the elements within the block, a hyphen between the first and last of several in a row.
_TABLE: Final[Mapping[tuple[str, int], str]] = MappingProxyType(
    {
        ("ELSCINT1", 0x00E1): "21 50",
        ("ELSCINT1", 0x01E1): "26",
        ("ELSCINT1", 0x01F1): "01 07 26 27",
        ("GEIIS PACS", 0x0903): "10-12",
        ("GEMS_ACQU_01", 0x0019): "23 24 27 9E",
        ("GEMS_HELIOS_01", 0x0045): "01 02",
        ("GEMS_PARM_01", 0x0043): "27 39 6F",
        ("GEMS_SERS_01", 0x0025): "07",
        ("HOLOGIC, Inc.", 0x7E01): "01 02 10-12",
        ("NQHeader", 0x0099): "01 02 04 05 10 20 21",
        ("NQLeft", 0x0199): "01-16",
        ("NQRight", 0x0299): "01-16",
        ("Philips Imaging DD 001", 0x2001): (
            "01-0C 0E-1F 21-51 53-5A 5D-6B 6D-6F 71-77 79-8C 90-94 9A 9B 9D 9F A1-A5 C0-C3 C5-C7 CA CB D0-DF E9 F1-F7"
            " F9 FB-FD FF"
        ),
        ("Philips Imaging DD 002", 0x2001): "01-40 50 52 53 57 58 5A 5C-5F 63-68 6B 71-75",
        ("Philips Imaging DD 097", 0x2001): (
            "01-08 0A 0B 0D-0F 12 17-1F 21-28 2A-32 36-3E 40-42 44-47 49-4C A1-A6 A8-AB"
        ),
        ("Philips Imaging DD 129", 0x2001): "00-09",
        ("Philips MR Imaging DD 001", 0x2005): "0D 0E",
        ("Philips PET Private Group", 0x7053): "00 09",
        ("Philips ST80i", 0x0025): "01",
        ("SIEMENS MR HEADER", 0x0019): "0C-0E 27",
        ("SIEMENS SYNGO ULTRA-SOUND TOYON DATA STREAMING", 0x7FD1): "01 09 10 11",
        ("SIEMENS Ultrasound SC2000", 0x0119): "00-09 10-13 21",
        ("SIEMENS Ultrasound SC2000", 0x0129): "00 02-09 10-12 20-22 29 30",
        ("SIEMENS Ultrasound SC2000", 0x0139): "01",
        ("SIEMENS Ultrasound SC2000", 0x0149): "01-03",
        ("SIEMENS Ultrasound SC2000", 0x7FD1): "01 09 10 11",
    }
)


def _elements(text: str) -> Iterator[int]:
    for run in text.split():
        first, _, last = run.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1)


SAFE_PRIVATE: Final = frozenset(
    str(PathStep(group << 16 | element, creator))
    for (creator, group), text in _TABLE.items()
    for element in _elements(text)
)
"""Their paths."""
