"""ObjectRequests: signed requests for the bytes of single objects.

These are the calls that are made for every read and every part of a write. They go around the general client,
which needs seven times as much processor time for a small read (benchmarks/storage).
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from dicomweb_archive.errors import DamagedObjectError
from dicomweb_archive.storage.base import Buffer
from dicomweb_archive.storage.s3.failures import PassingError, error_of
from dicomweb_archive.storage.s3.place import S3Place
from dicomweb_archive.storage.s3.signature import EMPTY_SHA256, encode_query, sign

# Twice as much may wait for whoever reads an answer.
_READ_BUFFER_BYTES = 512 * 1024
_STREAM_BUFFER_BYTES = 256 * 1024
_WRITTEN_AT_ONCE_BYTES = 512 * 1024
_LONGEST_ERROR_BYTES = 16 * 1024
# One request as a whole, in silences: a read of some MiB or a part of an upload.
_SILENCES_IN_ALL = 6
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")


class ObjectRequests:
    """Asks an S3 service for single objects; each method makes one attempt.

    All of them raise what `failures.error_of` makes of a refusal, and `PassingError` where the service is away, too
    slow, or breaks off.
    """

    def __init__(self, place: S3Place) -> None:
        self._place = place
        self._scheme, self._host = place.origin
        self._session = _session(place, total=place.timeout_seconds * _SILENCES_IN_ALL, buffer_bytes=_READ_BUFFER_BYTES)
        # Connections of their own: whoever wants a frame does not wait for those who want whole studies.
        self._streams = _session(place, total=None, buffer_bytes=_STREAM_BUFFER_BYTES)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
        await self._streams.close()

    async def get_range(self, key: str, offset: int, length: int) -> Buffer:
        """Read exactly these bytes, at least one, of an object.

        Raises:
            DamagedObjectError: the object ends before them.
        """
        async with self._request("GET", key, headers=_range(offset, length), accepted=(206, 416)) as answer:
            _check_length(answer, length)
            return await _read_exactly(answer, length)

    async def get_at_most(self, key: str, offset: int, length: int) -> Buffer:
        """Read these bytes, at least one, of an object as far as it goes; none behind its end."""
        async with self._request("GET", key, headers=_range(offset, length), accepted=(206, 416)) as answer:
            if answer.status == 416:
                return b""
            if answer.content_length is None or answer.content_length > length:
                message = "the S3 service answers with another range than it was asked for"
                raise PassingError(message)
            return await _read_exactly(answer, answer.content_length)

    async def open_range(self, key: str, offset: int, length: int) -> "RangeAnswer":
        """Ask for these bytes, at least one, of an object; whoever gets the answer closes it.

        Raises:
            DamagedObjectError: the object ends before them.
        """
        url, headers = self._signed("GET", key, _range(offset, length))
        with _translated():
            answer = await self._streams.get(url, headers=headers, allow_redirects=False)
            try:
                await _check_status(answer, (206, 416))
                _check_length(answer, length)
            except BaseException:
                answer.close()
                raise
        return RangeAnswer(answer)

    async def head(self, key: str) -> Mapping[str, str]:
        """Return the headers of an object, or of the bucket for an empty key."""
        async with self._request("HEAD", key) as answer:
            return answer.headers

    async def put(
        self,
        key: str,
        body: Buffer,
        *,
        payload_sha256: bytes,
        headers: Mapping[str, str],
        query: Sequence[tuple[str, str]] = (),
    ) -> Mapping[str, str]:
        """Write an object or a part of one, and return the headers of the answer.

        The hash is part of the signature, so the service refuses other bytes than these.
        """
        async with self._request("PUT", key, headers=headers, query=query, body=body, sha256=payload_sha256) as answer:
            return answer.headers

    async def delete(self, key: str) -> None:
        """Remove an object; no error when there is none."""
        async with self._request("DELETE", key, accepted=(200, 204, 404)):
            pass

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        key: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Sequence[tuple[str, str]] = (),
        body: Buffer | None = None,
        sha256: bytes | None = None,
        accepted: Sequence[int] = (200,),
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url, signed = self._signed(method, key, headers, query=query, body=body, sha256=sha256)
        with _translated():
            data = None if body is None else _slices(body)
            async with self._session.request(method, url, headers=signed, data=data, allow_redirects=False) as answer:
                await _check_status(answer, accepted)
                yield answer

    def _signed(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str] | None,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Buffer | None = None,
        sha256: bytes | None = None,
    ) -> tuple[URL, dict[str, str]]:
        path, parameters = self._place.path_of(key), encode_query(query)
        content = {} if body is None else {"content-length": str(len(body))}
        signed = sign(
            method,
            path,
            parameters,
            {"host": self._host, **(headers or {}), **content},
            payload_sha256=EMPTY_SHA256 if sha256 is None else sha256.hex(),
            now=datetime.now(UTC),
            region=self._place.region,
            access_key_id=self._place.access_key_id,
            secret_access_key=self._place.secret_access_key,
        )
        text = f"{self._scheme}://{self._host}{path}" + (f"?{parameters}" if parameters else "")
        return URL(text, encoded=True), signed


class RangeAnswer:
    """The bytes of a range as the service sends them: what nobody takes stays at the service, but for a buffer."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer: aiohttp.ClientResponse | None = answer
        self.was_given_up = False

    async def next_chunk(self) -> bytes:
        """Return what has come, nothing at the end of the range.

        Raises:
            PassingError: the service breaks off, or the answer was given up meanwhile.
        """
        if self._answer is None:
            message = "the answer of the S3 service was given up"
            raise PassingError(message)
        with _translated():
            # Hot path: a chunk as it came from the connection; others of aiohttp's methods join them.
            chunk, _ = await self._answer.content.readchunk()
        return chunk

    def give_up(self) -> None:
        """Free the connection and the buffer, unless all has come and the connection serves others already."""
        if self._answer is not None and not self._answer.content.is_eof():
            self.was_given_up = True
            self.close()

    def close(self) -> None:
        """Give back what is held; harmless when closed."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None


def _session(place: S3Place, *, total: float | None, buffer_bytes: int) -> aiohttp.ClientSession:
    silence = place.timeout_seconds
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=place.connections, ttl_dns_cache=60),
        timeout=aiohttp.ClientTimeout(total=total, sock_connect=min(silence, 5.0), sock_read=silence),
        read_bufsize=buffer_bytes,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # Only its kind: the texts of these errors hold addresses.
        message = f"the S3 service cannot be reached or breaks off ({type(error).__name__})"
        raise PassingError(message) from None


def _range(offset: int, length: int) -> dict[str, str]:
    return {"range": f"bytes={offset}-{offset + length - 1}"}


async def _check_status(answer: aiohttp.ClientResponse, accepted: Sequence[int]) -> None:
    if answer.status not in accepted:
        raise error_of(answer.status, await _code_of(answer))


def _check_length(answer: aiohttp.ClientResponse, length: int) -> None:
    if answer.status == 416 or answer.content_length != length:
        message = "an object is shorter than what was stored"
        raise DamagedObjectError(message)


async def _slices(body: Buffer) -> AsyncIterator[Buffer]:
    view = memoryview(body)
    for start in range(0, len(view), _WRITTEN_AT_ONCE_BYTES):
        yield view[start : start + _WRITTEN_AT_ONCE_BYTES]


async def _read_exactly(answer: aiohttp.ClientResponse, length: int) -> bytes:
    # Hot path: joined once; filling a buffer of zeros costs as much again (benchmarks/storage).
    data = b"".join([chunk async for chunk, _ in answer.content.iter_chunks()])
    if len(data) != length:
        message = "the S3 service breaks off within an answer"
        raise PassingError(message)
    return data


async def _code_of(answer: aiohttp.ClientResponse) -> str:
    """Read the service's word for an error, from the beginning of its document."""
    found = _CODE.search(await answer.content.read(_LONGEST_ERROR_BYTES))
    return found[1].decode() if found else ""
