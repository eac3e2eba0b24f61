"""Filing: encoded data sets that wait are put away, so that nothing but the names of their parts is held."""

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.model_encoding import BulkReference, Elsewhere, EncodedDataSet, Piece
from dicomweb_archive.dicom.part10 import IDENTIFIERS
from dicomweb_archive.dicom.status import AttributeNote
from dicomweb_archive.imaging.sent_images import DESCRIPTION_TAGS
from dicomweb_archive.storage.spool import Spool, SpooledValue

ENCAPSULATED_DOCUMENT: Final = 0x00420011
MIME_TYPE: Final = 0x00420012
DOCUMENT_LENGTH: Final = 0x00420015
NUMBER_OF_FRAMES: Final = 0x00280008
OFFSET_TABLES: Final = (tags.EXTENDED_OFFSET_TABLE, tags.EXTENDED_OFFSET_TABLE_LENGTHS)

# What assembly looks at, puts in or takes out; elements between them are filed as one.
_APART: Final = sorted(
    {
        *DESCRIPTION_TAGS,
        *OFFSET_TABLES,
        *(ENCAPSULATED_DOCUMENT, MIME_TYPE, DOCUMENT_LENGTH, NUMBER_OF_FRAMES, tags.PIXEL_DATA),
    }
)
_NAMED: Final = frozenset({*_APART, *(tag for tag, _ in IDENTIFIERS)})
# What is compared with a number or a UID; longer ones are none.
_TEXT_LENGTH: Final = 256


@dataclass(frozen=True, slots=True)
class FiledDataSet:
    """A data set that was put away.

    Attributes:
        value: its encoded elements, and behind them from `index` on where each is.
        uris: what it names; with each whether that are its pixel data.
        frames: its Number of Frames as text.
    """

    value: SpooledValue
    index: int
    uris: dict[str, bool]
    frames: str


def file_data_set(data: EncodedDataSet, spool: Spool) -> FiledDataSet:
    """Put a data set away."""
    value = SpooledValue(users=1)
    elements: list[tuple[int, list[tuple[Any, ...]]]] = []
    for first, pieces in _runs(data):
        filed: list[tuple[Any, ...]] = []
        for piece in pieces:
            if isinstance(piece, bytes):
                start = value.length
                spool.write(value, piece)
                filed.append((start, value.length))
            else:
                filed.append(tuple(piece))
        elements.append((first, filed))
    texts = {tag: data.texts[tag][:_TEXT_LENGTH] for tag in _NAMED if tag in data.texts}
    notes = [(note.tag, note.warning, note.text, note.sequences) for note in data.notes]
    index = value.length
    # ASCII, since a text of JSON may hold what no encoding of Unicode has.
    spool.write(value, json.dumps([elements, list(texts.items()), notes]).encode("ascii"))
    uris: dict[str, bool] = {}
    for reference in data.references:
        uris[reference.uri] = uris.get(reference.uri, False) or reference.tag == tags.PIXEL_DATA
    return FiledDataSet(value, index, uris, texts.get(NUMBER_OF_FRAMES, ""))


def load_data_set(filed: FiledDataSet, spool: Spool) -> EncodedDataSet:
    """Return a data set whose encoded bytes stay where they are."""
    elements, texts, notes = json.loads(b"".join(spool.read(filed.value, filed.index)))
    data = EncodedDataSet()
    for first, pieces in elements:
        data.elements[first] = [
            BulkReference(*piece) if isinstance(piece[0], str) else Elsewhere(*piece) for piece in pieces
        ]
    data.references = [
        piece for pieces in data.elements.values() for piece in pieces if isinstance(piece, BulkReference)
    ]
    data.texts = dict(texts)
    data.notes = [
        AttributeNote(tag, warning, text, tuple((int(outer), int(number)) for outer, number in sequences))
        for tag, warning, text, sequences in notes
    ]
    return data


def _runs(data: EncodedDataSet) -> Iterator[tuple[int, list[Piece]]]:
    """Yield the elements, joined where nothing is ever put between them, each run with its first tag."""
    ordered = sorted(data.elements)
    cuts = {len(ordered)}
    for tag in _APART:
        at = bisect_left(ordered, tag)
        cuts |= {at, at + 1} if ordered[at : at + 1] == [tag] else {at}
    start = 0
    for stop in sorted(cuts - {0}):
        run = ordered[start:stop]
        yield run[0], _joined([piece for tag in run for piece in data.elements[tag]])
        start = stop


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    joined: list[Piece] = []
    encoded: list[bytes] = []
    for piece in (*pieces, None):
        if isinstance(piece, bytes):
            encoded.append(piece)
            continue
        if encoded:
            joined.append(b"".join(encoded))
            encoded = []
        if piece is not None:
            joined.append(piece)
    return joined
