"""Bytes in and out: request bodies under a watch, answers that stop nobody else."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from dicomweb_archive.errors import RequestTimeoutError
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.web.disconnects import ClientVanishedError, WhileClientWaits, until_disconnect
from dicomweb_archive.web.silence import SilenceWatch
from dicomweb_archive.web.turns import Turns, turns_of

logger = logging.getLogger(__name__)

YIELD_BYTES = 256 * 1024
"""After so many bytes a stream lets others run: a server's `send` need not suspend while the client keeps up."""

LONG_BYTES = 1024 * 1024
"""An answer of more bytes is sent while it is read; a shorter one is read before it is sent."""

# Copying so many bytes takes less than a walk through the server for each piece of them.
_JOINED_BYTES = 64 * 1024

SEND_TIMEOUT_SECONDS = 600.0
"""Longest wait for a client to take some of an answer; one that stopped reading holds no file for ever."""

_MOVE_SECONDS = 1.0

RATE_GRACE_SECONDS = 30.0

# Most answers have begun by then, and listening for the client's leaving costs a task.
_LISTEN_AFTER_SECONDS = 0.1

_PROOF_BYTES = 4096
"""More than the head of a part, so that some of the data have been had."""


async def request_chunks(
    receive: Receive, *, idle_timeout_seconds: float, minimum_bytes_per_second: int
) -> AsyncIterator[bytes]:
    """Yield the request body as it arrives.

    Only time spent waiting for the client counts, so that our own slowness is not held against it.

    Raises:
        RequestTimeoutError: silence, or a rate under the minimum after the first 30 seconds.
        ClientVanishedError: the connection is gone.
    """
    received = 0
    waited = 0.0
    more = True
    with SilenceWatch(idle_timeout_seconds) as watch:
        while more:
            begun = time.monotonic()
            message = await watch.wait_for(receive)
            waited += time.monotonic() - begun
            if message["type"] == "http.disconnect":
                raise ClientVanishedError
            chunk = message.get("body", b"")
            more = message.get("more_body", False)
            received += len(chunk)
            if waited > RATE_GRACE_SECONDS and received < minimum_bytes_per_second * waited:
                text = f"the request body came slower than {minimum_bytes_per_second} bytes a second"
                raise RequestTimeoutError(text)
            if chunk:
                yield chunk


class ByteStreamResponse(Response):
    """An answer sent piece by piece from `source`, which it closes whatever happens.

    With `content_length` known the client can tell an answer that was cut from a whole one; without it a chunked
    answer that fails is cut before its last chunk. Either way a failure after the head ends the connection. Of a
    short answer all is had before its head is sent, so whatever fails can still be an error.
    """

    def __init__(
        self,
        source: AsyncIterator[Buffer],
        *,
        content_length: int | None,
        media_type: str,
        headers: Mapping[str, str] | None = None,
        status_code: int = 200,
    ) -> None:
        self.source = source
        self._is_long = content_length is None or content_length > LONG_BYTES
        self.status_code = status_code
        self.media_type = None
        self.background = None
        self.body = b""
        described = {**(headers or {}), "content-type": media_type}
        if content_length is not None:
            described["content-length"] = str(content_length)
        self.raw_headers = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in described.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then the pieces; for HEAD the head alone."""
        try:
            if scope["method"] == "HEAD":
                await send(self._head())
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            if not self._is_long:
                await self._send_short(receive, send)
                return
            async with WhileClientWaits(receive, after_seconds=_LISTEN_AFTER_SECONDS):
                first, ended = await self._first_pieces()
            turns = turns_of(scope)
            with turns.stream():
                await self._send_while_wanted(first, ended, receive, send, turns)
        finally:
            await _close(self.source)

    def _head(self) -> Message:
        return {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}

    async def _send_short(self, receive: Receive, send: Send) -> None:
        """Send few bytes: had whole, then handed over at once, with one timer for all that may take long."""
        begun = False
        try:
            async with WhileClientWaits(receive, after_seconds=_LISTEN_AFTER_SECONDS) as waiting:
                pieces = [piece async for piece in self.source if len(piece)]
                if sum(map(len, pieces)) <= _JOINED_BYTES:
                    pieces = [b"".join(pieces)]
                last = pieces.pop()
                waiting.at_most(SEND_TIMEOUT_SECONDS)
                begun = True
                await send(self._head())
                for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                # The end goes with the last piece: by itself it would wait until a slow client has taken the rest.
                await send({"type": "http.response.body", "body": last, "more_body": False})
        except ClientVanishedError:
            raise
        except Exception as error:
            if not begun:
                raise
            # Returning without a last piece makes the server close it, so a short answer never looks whole.
            logger.error("answer cut short", exc_info=error)

    async def _first_pieces(self) -> tuple[list[Buffer], bool]:
        """Get more than the head of a part before ours is sent: what fails at once can still be an error."""
        pieces: list[Buffer] = []
        size = 0
        while size < _PROOF_BYTES:
            piece = await anext(self.source, None)
            if piece is None:
                return pieces, True
            pieces.append(piece)
            size += len(piece)
        return pieces, False

    async def _send_while_wanted(
        self, first: list[Buffer], ended: bool, receive: Receive, send: Send, turns: Turns
    ) -> None:
        # A server may drop what is sent to a vanished client without a word, so a long stream listens for its end.
        gone = asyncio.create_task(until_disconnect(receive))
        try:
            await send(self._head())
            # One deadline that moves on with the bytes: a timeout around each piece costs as much as sending it.
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS) as deadline:
                # Taken out one by one: what was sent must not be kept for as long as a slow client takes the rest.
                while first:
                    await send({"type": "http.response.body", "body": first.pop(0), "more_body": True})
                await self._send_rest(ended, send, gone, deadline, turns)
        except Exception as error:
            # Returning without a last piece makes the server close it, so a short answer never looks whole.
            logger.error("answer cut short", exc_info=error)
        finally:
            gone.cancel()

    async def _send_rest(
        self, ended: bool, send: Send, gone: "asyncio.Task[None]", deadline: asyncio.Timeout, turns: Turns
    ) -> None:
        unyielded = 0
        loop = asyncio.get_running_loop()
        moved = loop.time()
        while not ended and not gone.done():
            piece = await anext(self.source, None)
            if piece is None:
                ended = True
                break
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            unyielded += len(piece)
            if unyielded >= YIELD_BYTES:
                unyielded = 0
                # Not each time: moving the deadline costs as much as a tenth of sending so many bytes.
                if (now := loop.time()) > moved + _MOVE_SECONDS:
                    moved = now
                    deadline.reschedule(now + SEND_TIMEOUT_SECONDS)
                await turns.step_back()
        if ended:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _close(source: AsyncIterator[Buffer]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()
