"""Part 10 files with edited attributes: all but these, from preamble to pixel data, stays as it is (PS3.10 7.1)."""

import zlib
from collections.abc import Callable, Iterable
from struct import Struct
from typing import Final, NamedTuple

from dicomweb_archive.dicom.editing.extents import Encoding, editable_stop
from dicomweb_archive.dicom.editing.planning import Operation
from dicomweb_archive.dicom.editing.rewriting import Raw, in_order, raw_of, rewritten, swapped
from dicomweb_archive.dicom.editing.unfit import Unfit, UnfitForEditError
from dicomweb_archive.dicom.element_heads import EXPLICIT_BIG, IMPLICIT_LITTLE
from dicomweb_archive.dicom.file_meta import FileMetaReader
from dicomweb_archive.dicom.inflate import BoundedInflate
from dicomweb_archive.dicom.limits import DEFAULT_LIMITS
from dicomweb_archive.dicom.part10 import DEFLATED_SYNTAXES, encoding_of
from dicomweb_archive.errors import InvalidInstanceError

LARGEST_HEAD: Final = 64 * 1024 * 1024
"""Bytes before the pixel data, which are held to be rewritten; all of a deflated data set."""

WHOLE: Final = 0xFFFFFFFF
"""Stands among kept elements for all of them, where their order is none that could be found again."""

_ENTRY: Final = Struct("<II")
_ABSENT: Final = 0xFFFFFFFF


class EditedFile(NamedTuple):
    """A file whose first bytes are others.

    Attributes:
        head: put in the place of the first `replaced` bytes.
        old: what was there, to be put back: the elements that were edited, or all before the pixel data (`WHOLE`).
        tags: of the elements that were edited.
    """

    head: bytes
    replaced: int
    old: Raw
    tags: frozenset[int]


def edit_file(data: bytes, operations: Iterable[Operation]) -> EditedFile:
    """Edit a file, of which at least all before the pixel data is given; of a deflated one all.

    Raises:
        UnfitForEditError: it cannot be edited.
    """
    return _changed(data, lambda head, encoding: rewritten(head, encoding, operations))


def restore_file(data: bytes, old: Raw) -> EditedFile:
    """Put elements back that an edit has left with its audit; what they replace is the new `old`.

    Raises:
        UnfitForEditError: it cannot be edited.
    """
    return _changed(data, lambda *_: old)


def encode_raw(raw: Raw) -> bytes:
    """Write elements in the form in which they are kept with an edit."""
    pieces = []
    for tag, element in sorted(raw.items()):
        pieces += [_ENTRY.pack(tag, _ABSENT if element is None else len(element)), element or b""]
    return zlib.compress(b"".join(pieces))


def decode_raw(kept: bytes) -> Raw:
    """Read elements back that `encode_raw` has written."""
    data = zlib.decompress(kept)
    raw: dict[int, bytes | None] = {}
    pos = 0
    while pos < len(data):
        tag, length = _ENTRY.unpack_from(data, pos)
        pos += _ENTRY.size
        raw[tag] = None if length == _ABSENT else data[pos : pos + length]
        pos += 0 if length == _ABSENT else length
    return raw


def _changed(data: bytes, change: Callable[[bytes, Encoding], Raw]) -> EditedFile:
    try:
        meta = FileMetaReader(DEFAULT_LIMITS).run(data, is_whole=True)
    except InvalidInstanceError:
        raise UnfitForEditError(Unfit.STRUCTURE) from None
    if meta is None:
        raise UnfitForEditError(Unfit.STRUCTURE)
    is_deflated = meta.transfer_syntax_uid in DEFLATED_SYNTAXES
    content = _inflated(data[meta.end :]) if is_deflated else data
    start = 0 if is_deflated else meta.end
    encoding = _encoding(meta.transfer_syntax_uid, content, start)
    stop = editable_stop(content, start, encoding)
    head = content[start:stop]
    new = change(head, encoding)
    whole = new.get(WHOLE)
    # Out of order an element that is put back would stand where it belongs, and not where it was.
    is_kept_whole = whole is not None or not in_order(head, encoding)
    old = {WHOLE: head} if is_kept_whole else raw_of(head, encoding, new)
    edited = whole if whole is not None else swapped(head, encoding, new)
    if is_deflated:
        edited_file = data[: meta.end] + _deflated(edited + content[stop:])
        return EditedFile(edited_file, len(data), old, frozenset(new))
    return EditedFile(data[: meta.end] + edited, stop, old, frozenset(new))


def _encoding(transfer_syntax_uid: str, content: bytes, start: int) -> Encoding:
    heads = encoding_of(transfer_syntax_uid)
    if heads is EXPLICIT_BIG:
        return Encoding(is_big=True)
    shown = content[start + 4 : start + 6].decode("latin_1")
    # As the scanner does: what the first element shows counts, whatever the transfer syntax says.
    is_explicit = shown.isalpha() and shown.isupper() if len(shown) == 2 else heads is not IMPLICIT_LITTLE
    return Encoding(is_explicit=is_explicit)


def _inflated(data: bytes) -> bytes:
    inflate = BoundedInflate(DEFAULT_LIMITS)
    pieces, size = [], 0
    try:
        for piece in inflate.feed(data):
            size += len(piece)
            if size > LARGEST_HEAD:
                raise UnfitForEditError(Unfit.TOO_LARGE)
            pieces.append(piece)
        inflate.finish()
    except InvalidInstanceError:
        raise UnfitForEditError(Unfit.STRUCTURE) from None
    return b"".join(pieces)


def _deflated(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = engine.compress(data) + engine.flush()
    # Of even length, as PS3.5 A.5 has it.
    return deflated + bytes(len(deflated) % 2)
