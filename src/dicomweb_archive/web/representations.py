"""Data sets as JSON or XML on the wire (PS3.18 8.7, Annex F; PS3.19 A.1)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
from starlette.requests import Request

from dicomweb_archive.dicom.xml_model import to_xml
from dicomweb_archive.wire.media_types import DICOM_XML, Offer, select
from dicomweb_archive.wire.multipart import PartFraming
from dicomweb_archive.wire.search_parameters import split_query

PIECE_BYTES = 64 * 1024
"""Small pieces are joined to about this size before they are sent."""


def accept_header(request: Request) -> str | None:
    """Return the Accept header; several lines of it are one list (RFC 9110 5.3)."""
    return ", ".join(request.headers.getlist("accept")) or None


def accept_parameter(request: Request) -> str | None:
    """Return the `accept` query parameter (PS3.18 8.3.3.1).

    Raises:
        InvalidParameterError: the query string is malformed.
    """
    query = request.scope["query_string"]
    return dict(split_query(query)).get("accept") if query else None


def negotiate(request: Request, offers: Sequence[Offer], *, parameter: str | None = None) -> Offer:
    """Choose the representation that the client likes best.

    Raises:
        NotAcceptableError: none of the offers is acceptable.
    """
    return select(accept_header(request), parameter, offers)


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
        text = xml_of(row) if len(row) < PIECE_BYTES else await asyncio.to_thread(xml_of, row)
        piece += framing.head(DICOM_XML, length=len(text))
        piece += text
        piece += framing.TAIL
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    piece += framing.closing()
    yield bytes(piece)


def xml_of(row: bytes) -> bytes:
    """Write a JSON object of the DICOM JSON model as Native DICOM XML."""
    document: dict[str, Any] = orjson.loads(row)
    return to_xml(document)
