"""Parts of series made of data sets, as checks look at them."""

from collections.abc import Sequence

from pydicom.dataset import Dataset
from tests.factories import part10

from dicomweb_archive.checks.content import Column, SeriesPart, StoredFile
from dicomweb_archive.dicom.instance import Element
from dicomweb_archive.dicom.part10 import scan


def part_of(*datasets: Dataset) -> SeriesPart:
    """Scan data sets of one series; what is equal in all is kept once, as the index keeps it."""
    scanned = [scan(part10(dataset)) for dataset in datasets]
    own = [instance.attributes() for instance in scanned]
    elements: dict[int, Element | Column] = {}
    for tag in sorted({tag for attributes in own for tag in attributes}):
        column: Sequence[Element | None] = [attributes.get(tag) for attributes in own]
        first = column[0]
        elements[tag] = first if first is not None and column.count(first) == len(column) else column
    files = [
        StoredFile(
            each.sop_instance_uid,
            each.sop_class_uid,
            each.transfer_syntax_uid,
            each.pixel_data,
            each.preamble_neutralised,
        )
        for each in scanned
    ]
    return SeriesPart(scanned[0].study_instance_uid, scanned[0].series_instance_uid, files, elements)
