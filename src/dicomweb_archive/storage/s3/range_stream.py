"""Streams of ranges: bytes passed on as the service sends them, gone on with where they broke off."""

import asyncio
from collections.abc import AsyncGenerator

from dicomweb_archive.storage.s3.failures import ATTEMPTS, PassingError, pause
from dicomweb_archive.storage.s3.requests import ObjectRequests, RangeAnswer

STALL_SECONDS = 2.0
"""A connection whose bytes nobody takes for so long is given back."""

SLOW_BYTES = 256 * 1024
"""What is asked for at a time on behalf of a consumer that let a connection wait."""

WATCHED_SECONDS = 1.0
"""A consumer is judged anew each time it has had our bytes for so long."""

SLOW_BYTES_PER_SECOND = 4 * 1024 * 1024
"""Whoever takes less does not keep a connection either: there are few, and others wait for them."""


async def stream_range(requests: ObjectRequests, key: str, offset: int, length: int) -> AsyncGenerator[bytes, None]:
    """Yield exactly these bytes of an object in pieces as they come.

    A service that breaks off is asked again for what is missing, as often in a row as for any other request. A
    consumer that stops taking, or takes little, does not keep the connection: it gets the rest in small requests,
    each twice as long as the one before while it keeps up. A read that was begun ahead waits for its turn like that.

    Raises:
        DamagedObjectError: the object ends before them.
        ObjectNotFoundError: there is no such object.
        StorageUnavailableError: every attempt to go on failed.
    """
    position, end = offset, offset + length
    at_once = length
    failures = 0
    loop = asyncio.get_running_loop()
    while position < end:
        begun, kept = position, 0.0
        judged: tuple[int, float] | None = None
        answer: RangeAnswer | None = None
        try:
            answer = await requests.open_range(key, position, min(at_once, end - position))
            while chunk := await answer.next_chunk():
                position += len(chunk)
                stall, given = loop.call_later(STALL_SECONDS, answer.give_up), loop.time()
                try:
                    yield chunk
                finally:
                    stall.cancel()
                kept += loop.time() - given
                if judged is None:
                    # A read that was begun ahead waits for its turn with its first chunk, however quick the consumer.
                    judged = position, kept
                elif kept - judged[1] >= WATCHED_SECONDS:
                    if position - judged[0] < SLOW_BYTES_PER_SECOND * (kept - judged[1]):
                        answer.give_up()
                    judged = position, kept
            at_once = at_once * 2 if kept < STALL_SECONDS else SLOW_BYTES
        except PassingError:
            if answer is not None and answer.was_given_up:
                at_once = SLOW_BYTES
                continue
            failures = 1 if position > begun else failures + 1
            if failures == ATTEMPTS:
                raise
            await pause(failures)
        finally:
            if answer is not None:
                answer.close()
