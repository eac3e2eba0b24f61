"""Assembly: one instance of its encoded data set and the parts with its bulk values (PS3.18 10.5.1.4, PS3.5 A.4)."""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from dicomweb_archive.dicom import tags
from dicomweb_archive.dicom.element_encoding import SEQUENCE_END, UNDEFINED_LENGTH, element_head, item_head
from dicomweb_archive.dicom.model_encoding import BulkReference, Elsewhere, EncodedDataSet
from dicomweb_archive.dicom.part10 import EXPLICIT_VR_LITTLE_ENDIAN
from dicomweb_archive.dicom.part10_writing import encode_file_head
from dicomweb_archive.dicom.status import (
    CANNOT_UNDERSTAND,
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    LIMIT_EXCEEDED,
    OUT_OF_RESOURCES,
)
from dicomweb_archive.dicom.value_encoding import pad
from dicomweb_archive.errors import InvalidInstanceError, UndecodableError
from dicomweb_archive.imaging.image_heads import SentImage
from dicomweb_archive.imaging.sent_images import (
    DECODED_TYPES,
    OCTETS,
    SINGLE_FRAME_TYPES,
    describe_sent_image,
    fill_description,
    fill_native_description,
    is_compressed,
)
from dicomweb_archive.services.composition.filing import (
    DOCUMENT_LENGTH,
    ENCAPSULATED_DOCUMENT,
    MIME_TYPE,
    OFFSET_TABLES,
)
from dicomweb_archive.services.decoding import DecodingPool, StreamedPayload
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.storage.spool import Spool, SpooledValue

_MOST_FRAMES = 20_000
_HEAD_BYTES = 1024 * 1024


class Part(NamedTuple):
    """A part with bulk data; what its Content-Type says, empty where it does not.

    Attributes:
        frame: which one its Content-Location says that it is, 0 where it does not.
    """

    media_type: str
    transfer_syntax_uid: str
    value: SpooledValue
    frame: int = 0


class Range(NamedTuple):
    """Some bytes of a part, which stay where they are until they are sent on."""

    value: SpooledValue
    start: int
    stop: int


Assembled: TypeAlias = list[bytes | Range]


def too_much_made() -> InvalidInstanceError:
    """Return the error of more than a request may make of what it brings."""
    reason = "too much is made of what was sent; name a part less often"
    return InvalidInstanceError(reason, failure=OUT_OF_RESOURCES)


def frames_expected(number_of_frames: str, media_type: str, *, is_pixels: bool) -> int:
    """Tell how many parts hold a value: compressed frames of a single-frame media type are a part each."""
    if media_type not in SINGLE_FRAME_TYPES or not is_pixels:
        return 1
    text = number_of_frames.strip()
    frames = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 1
    return min(max(frames, 1), _MOST_FRAMES)


@dataclass(frozen=True, slots=True)
class Assembly:
    """Puts the pieces of one instance in order; what is large stays in the spool.

    Args:
        most_made_bytes: most bytes that may be made of parts.

    Attributes:
        made: values that were made of parts; whoever has sent them on releases them.
    """

    spool: Spool
    decoding: DecodingPool
    most_made_bytes: int = UNDEFINED_LENGTH
    made: list[SpooledValue] = field(default_factory=list)

    async def assemble(
        self, data: EncodedDataSet, parts: Mapping[str, Sequence[Part]], filed: SpooledValue | None = None
    ) -> Assembled:
        """Return the Part 10 file of an instance.

        Args:
            filed: where the elements are that were put away.

        Raises:
            InvalidInstanceError: its pixel data are no image of the kind that they are said to be, or not the image
                that the metadata describe, or of its frames some are missing.
        """
        parts = {uri: _in_order(sent) for uri, sent in parts.items()}
        syntax, made = await self._pixels(data, parts)
        _describe_document(data, parts)
        head = encode_file_head(
            sop_class_uid=data.text_of(tags.SOP_CLASS_UID),
            sop_instance_uid=data.text_of(tags.SOP_INSTANCE_UID),
            transfer_syntax_uid=syntax,
        )
        pieces: Assembled = [head]
        for tag in sorted(data.elements):
            if tag == tags.PIXEL_DATA and made:
                pieces.extend(made)
                continue
            for piece in data.elements[tag]:
                if isinstance(piece, BulkReference):
                    pieces.extend(_bulk_element(piece, parts))
                elif isinstance(piece, Elsewhere):
                    assert filed is not None
                    pieces.append(Range(filed, *piece))
                else:
                    pieces.append(piece)
        return _joined(pieces)

    async def _pixels(self, data: EncodedDataSet, parts: Mapping[str, Sequence[Part]]) -> tuple[str, Assembled]:
        """Return the transfer syntax, and the element of pixel data that came compressed."""
        pixels = data.elements.get(tags.PIXEL_DATA, ())
        if not pixels or not isinstance(pixels[0], BulkReference):
            return EXPLICIT_VR_LITTLE_ENDIAN, []
        sent = parts[pixels[0].uri]
        if not is_compressed(sent[0].media_type, sent[0].transfer_syntax_uid):
            return EXPLICIT_VR_LITTLE_ENDIAN, []
        if sent[0].media_type in DECODED_TYPES:
            return EXPLICIT_VR_LITTLE_ENDIAN, await self._native(data, sent)
        images = [
            describe_sent_image(part.media_type, part.transfer_syntax_uid, await self._head(part), part.value.length)
            for part in sent
        ]
        if len({(image.transfer_syntax_uid, image.rows, image.columns) for image in images}) > 1:
            reason = "the frames are not of one size and one transfer syntax"
            raise InvalidInstanceError(reason, failure=DATA_SET_DOES_NOT_MATCH_SOP_CLASS)
        fill_description(data, images[0], sent_bytes=sum(part.value.length for part in sent), frames=len(sent))
        for tag in OFFSET_TABLES:
            # They are about other fragments.
            data.elements.pop(tag, None)
        ranges = [Range(part.value, *image.extent) for part, image in zip(sent, images, strict=True)]
        return images[0].transfer_syntax_uid, _encapsulated(ranges)

    async def _native(self, data: EncodedDataSet, sent: Sequence[Part]) -> Assembled:
        """Return the element of pixel data that came as pictures which no transfer syntax has."""
        value = SpooledValue(users=1)
        self.made.append(value)
        frames = 0
        forms = set()
        for part in sent:
            described = await self._decode(part, value)
            frames += described.pop("frames")
            forms.add(tuple(described.items()))
        if len(forms) > 1:
            reason = "the frames are not of one size and one form"
            raise InvalidInstanceError(reason, failure=DATA_SET_DOES_NOT_MATCH_SOP_CLASS)
        samples = described["samples"]
        image = SentImage(
            EXPLICIT_VR_LITTLE_ENDIAN,
            (0, value.length),
            rows=described["rows"],
            columns=described["columns"],
            samples=samples,
            bits=described["bits"],
            photometric_interpretation="RGB" if samples > 1 else "MONOCHROME2",
        )
        fill_native_description(data, image, frames=frames)
        vr = "OB" if image.bits <= 8 else "OW"
        padding = bytes(value.length % 2)
        head = element_head(tags.PIXEL_DATA, vr, value.length + len(padding))
        return [head, Range(value, 0, value.length), padding]

    async def _decode(self, part: Part, value: SpooledValue) -> dict[str, int]:
        """Add the pixels of a picture to a value, and return what they are."""

        async def read() -> AsyncIterator[Buffer]:
            pieces = self.spool.read(part.value)
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece

        async def keep(piece: bytes) -> None:
            # Asked before it is written: thousands of blank pictures would fill the disk.
            if value.length + len(piece) > self.most_made_bytes:
                raise too_much_made()
            if value.length + len(piece) >= UNDEFINED_LENGTH - 1:
                reason = "the pixels are more than an element can hold"
                raise InvalidInstanceError(reason, failure=LIMIT_EXCEEDED)
            await asyncio.to_thread(self.spool.write, value, piece)

        try:
            return await self.decoding.run_streamed("read_picture", {}, StreamedPayload(part.value.length, read), keep)
        except UndecodableError:
            reason = "the part is no picture that can become pixel data"
            raise InvalidInstanceError(reason, failure=CANNOT_UNDERSTAND) from None

    async def _head(self, part: Part) -> bytes:
        chunks = self.spool.read(part.value, 0, _HEAD_BYTES)
        return await asyncio.to_thread(b"".join, chunks)


def _in_order(sent: Sequence[Part]) -> Sequence[Part]:
    """Put parts in the order of the frames that they say they are; those that say none stay as they came."""
    frames = sorted(part.frame for part in sent)
    if not any(frames):
        return sent
    if frames != list(range(1, len(sent) + 1)):
        reason = "the parts are not all frames of the image, each one once"
        raise InvalidInstanceError(reason, failure=DATA_SET_DOES_NOT_MATCH_SOP_CLASS)
    return sorted(sent, key=lambda part: part.frame)


def _describe_document(data: EncodedDataSet, parts: Mapping[str, Sequence[Part]]) -> None:
    """Say of an encapsulated document what its part says, where the metadata do not (PS3.3 C.24.2)."""
    pieces = data.elements.get(ENCAPSULATED_DOCUMENT, ())
    if not pieces or not isinstance(pieces[0], BulkReference):
        return
    part = parts[pieces[0].uri][0]
    if MIME_TYPE not in data.texts and part.media_type not in ("", OCTETS):
        data.put(MIME_TYPE, "LO", part.media_type.encode())
    # One that is too long for its element is refused there.
    if DOCUMENT_LENGTH not in data.texts and part.value.length < UNDEFINED_LENGTH:
        data.put(DOCUMENT_LENGTH, "UL", part.value.length.to_bytes(4, "little"))


def _bulk_element(reference: BulkReference, parts: Mapping[str, Sequence[Part]]) -> Assembled:
    """Return an element whose value came as a part, as it came (PS3.18 10.5.1.4: little endian)."""
    # Several only where pixel data of the same name are compressed frames, a part each.
    sent = parts[reference.uri]
    length = sum(part.value.length for part in sent)
    padding = pad(reference.vr, bytes(length % 2))[length % 2 :]
    if length + len(padding) >= UNDEFINED_LENGTH:
        reason = "a bulk value is longer than an element can be"
        raise InvalidInstanceError(reason, failure=LIMIT_EXCEEDED)
    ranges = [Range(part.value, 0, part.value.length) for part in sent]
    return [element_head(reference.tag, reference.vr, length + len(padding)), *ranges, padding]


def _encapsulated(frames: Sequence[Range]) -> Assembled:
    """Return Pixel Data of one fragment a frame, with a Basic Offset Table where it is of use (PS3.5 A.4)."""
    offsets = []
    position = 0
    for _, start, stop in frames:
        offsets.append(position)
        position += 8 + (stop - start) + (stop - start) % 2
        if stop - start >= UNDEFINED_LENGTH - 1:
            reason = "a compressed image is longer than a fragment can be"
            raise InvalidInstanceError(reason, failure=LIMIT_EXCEEDED)
    tabled = len(frames) > 1 and position < UNDEFINED_LENGTH
    table = struct.pack(f"<{len(offsets)}I", *offsets) if tabled else b""
    pieces: Assembled = [element_head(tags.PIXEL_DATA, "OB", UNDEFINED_LENGTH) + item_head(len(table)) + table]
    for value, start, stop in frames:
        length = stop - start
        pieces += [item_head(length + length % 2), Range(value, start, stop), bytes(length % 2)]
    return [*pieces, SEQUENCE_END]


def _joined(pieces: Assembled) -> Assembled:
    """Join what lies in memory, so that few pieces are sent on."""
    joined: Assembled = []
    held: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            held.append(piece)
            continue
        joined += [b"".join(held), piece]
        held = []
    return [*joined, b"".join(held)]
