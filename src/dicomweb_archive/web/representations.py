"""Data sets as JSON or XML on the wire (PS3.18 8.7, Annex F; PS3.19 A.1)."""

import asyncio
import codecs
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dicomweb_archive.dicom.xml_model import encode_native_xml
from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.web.streams import SEND_TIMEOUT_SECONDS, ByteStreamResponse
from dicomweb_archive.wire.media_types import DICOM_XML, Offer, select
from dicomweb_archive.wire.multipart import PartFraming
from dicomweb_archive.wire.query_strings import split_query

logger = logging.getLogger(__name__)

PIECE_BYTES = 64 * 1024
"""Small pieces are joined to about this size before they are sent."""


_LONGEST_KEPT = 1024


def accept_header(request: Request) -> str | None:
    """Return the Accept header; several lines of it are one list (RFC 9110 5.3)."""
    return ", ".join(request.headers.getlist("accept")) or None


def accept_parameter(request: Request) -> str | None:
    """Return the `accept` query parameter (PS3.18 8.3.3.1), once `charset` is found to name ours (8.3.3.2).

    Raises:
        InvalidParameterError: the query string is malformed, or UTF-8 is not among the character sets.
    """
    query = request.scope["query_string"]
    if not query:
        return None
    parameters = dict(split_query(query))
    named = [each.partition(";")[0].strip().lower() for each in parameters.get("charset", "utf-8").split(",")]
    if "utf-8" not in named:
        raise InvalidParameterError("charset", accepted="a list with utf-8 in it")
    return parameters.get("accept")


def negotiate(request: Request, offers: Sequence[Offer], *, parameter: str | None) -> Offer:
    """Choose the representation that the client likes best.

    Raises:
        NotAcceptableError: none of the offers is acceptable.
    """
    header = accept_header(request)
    # Clients of a kind send the same header with each request.
    if parameter is None and len(header or "") <= _LONGEST_KEPT:
        return _selected(header, tuple(offers))
    return select(header, parameter, offers)


@lru_cache(maxsize=256)
def _selected(header: str | None, offers: tuple[Offer, ...]) -> Offer:
    return select(header, None, offers)


class WholeResponse(Response):
    """An answer that is in memory: nothing of it is copied, and a long one is watched over until it is taken."""

    def __init__(self, pieces: Sequence[Buffer], *, media_type: str, headers: Mapping[str, str]) -> None:
        self._pieces = pieces
        self._size = sum(map(len, pieces))
        self.status_code = 200
        self.background = None
        self.body = b""
        described = {**headers, "content-type": media_type, "content-length": str(self._size)}
        self.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in described.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head and all pieces; for HEAD the head alone."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        is_head = scope["method"] == "HEAD"
        if is_head or self._size <= PIECE_BYTES:
            body = b"" if is_head else b"".join(self._pieces)
            await send({"type": "http.response.body", "body": body, "more_body": False})
            return
        try:
            # The end waits for the client to take what is before it, and none may let it wait for ever.
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                for piece in self._pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            # Returning without the end makes the server close the connection.
            logger.warning("answer cut short: the client did not take it")


async def collected_or_streamed(
    pieces: AsyncIterator[bytes], *, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with the pieces: in one go and with its length when they are few bytes, else as a stream."""
    first = bytearray()
    async for piece in pieces:
        first += piece
        if len(first) >= PIECE_BYTES:
            rest = _behind(bytes(first), pieces)
            return ByteStreamResponse(rest, content_length=None, media_type=media_type, headers=headers)
    return Response(bytes(first), media_type=media_type, headers=dict(headers or {}))


async def _behind(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


async def json_array(rows: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join finished JSON objects to one array (PS3.18 F.2.1), in pieces worth sending."""
    piece = bytearray(b"[")
    separator = b""
    async for row in rows:
        piece += separator
        piece += row
        separator = b","
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    piece += b"]"
    yield bytes(piece)


async def xml_parts(rows: AsyncIterator[bytes], framing: PartFraming) -> AsyncIterator[bytes]:
    """Turn finished JSON objects into the parts of a multipart answer, one each (PS3.18 10.6.4)."""
    piece = bytearray()
    async for row in rows:
        # A large data set takes milliseconds.
        large = len(row) > PIECE_BYTES
        text = await asyncio.to_thread(encode_native_xml, row) if large else encode_native_xml(row)
        piece += framing.head(DICOM_XML, length=len(text))
        piece += text
        piece += framing.TAIL
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    piece += framing.closing()
    yield bytes(piece)


async def split_array(chunks: AsyncIterator[Buffer]) -> AsyncIterator[bytes]:
    """Take a JSON array of objects apart again, holding little more than one of them."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    text = ""
    worth_a_try = 0
    async for chunk in chunks:
        text += decode(chunk)
        if len(text) >= worth_a_try:
            rows, text = _whole_objects(text)
            for row in rows:
                yield row
            # A long object is tried anew each time that twice as much has come, so the work stays linear.
            worth_a_try = 2 * len(text)
    for row in _whole_objects(text)[0]:
        yield row


def _whole_objects(text: str) -> tuple[list[bytes], str]:
    """Return the objects that are complete, and the rest of the text."""
    rows = []
    position = 0
    while (start := text.find("{", position)) >= 0:
        try:
            _, position = _DECODER.raw_decode(text, start)
        except ValueError:
            break
        rows.append(text[start:position].encode())
    return rows, text[position:]


_DECODER = json.JSONDecoder()
