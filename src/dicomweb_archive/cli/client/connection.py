"""The line to a DICOMweb server: where it is, how we show who we are, and when a request is tried again."""

import asyncio
import importlib.metadata
import ipaddress
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from dicomweb_archive.errors import ArchiveError

T = TypeVar("T")

TRANSIENT_STATUS = frozenset({429, 502, 503, 504})
_LONGEST_WAIT_SECONDS = 30.0


class ServerUnreachableError(ArchiveError):
    """The server cannot be reached, does not let us in, or is no DICOMweb server: going on is pointless."""


class TransientError(ArchiveError):
    """An attempt failed in a way that another attempt may mend."""

    def __init__(self, message: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UnexpectedAnswerError(ArchiveError):
    """The server's answer is no success, or not in a form that we understand."""


@dataclass(frozen=True, slots=True)
class Server:
    """A DICOMweb service: its root URL without trailing slash, and what each request carries.

    Attributes:
        key: sent as `Authorization: Bearer KEY`.
        auth: user name and password for basic authentication.
        timeout_seconds: longest silence; a large store may take long to be acknowledged.
        transport: where requests go instead of the network, in tests.
    """

    root: str
    key: str | None = None
    auth: tuple[str, str] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    timeout_seconds: float = 120.0
    transport: httpx.AsyncBaseTransport | None = None

    def client(self, connections: int) -> httpx.AsyncClient:
        """Open a client that holds up to `connections` connections."""
        headers = {
            "User-Agent": f"dicomweb-archive/{importlib.metadata.version('dicomweb-archive')}",
            **dict(self.headers),
        }
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        options: dict[str, Any] = {} if self.transport is None else {"transport": self.transport}
        return httpx.AsyncClient(
            headers=headers,
            auth=self.auth,
            timeout=httpx.Timeout(self.timeout_seconds, connect=10.0, pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            # A proxy of the environment cannot reach this machine's own loopback address.
            trust_env=not _is_loopback(self.root),
            **options,
        )


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and after which waits an attempt is repeated: exponential with full jitter.

    Attributes:
        sleep: how to wait; a clock of its own in tests.
    """

    attempts: int = 6
    first_wait_seconds: float = 0.5
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep)

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Call `attempt` until it does not fail in a transient way.

        Raises:
            ServerUnreachableError: the last attempt failed too.
        """
        for number in range(1, self.attempts + 1):
            try:
                return await attempt()
            except TransientError as error:
                if number == self.attempts:
                    message = f"{error}, after {number} attempts"
                    raise ServerUnreachableError(message) from error
                await self.sleep(self._wait_seconds(number, error.retry_after_seconds))
        message = "no attempt was allowed"
        raise ServerUnreachableError(message)

    def _wait_seconds(self, number: int, asked_seconds: float) -> float:
        ceiling = min(self.first_wait_seconds * 2**number, _LONGEST_WAIT_SECONDS)
        # Jitter, so that several clients of a server that restarts do not come back in one wave.
        jittered = random.uniform(ceiling / 4, ceiling)  # noqa: S311 - no secret hangs on it
        return max(min(asked_seconds, _LONGEST_WAIT_SECONDS), jittered)


def transport_failure(error: httpx.TransportError) -> TransientError:
    """Say in words of ours why a request did not get its answer."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return TransientError("the server does not answer on its address")
    if isinstance(error, httpx.TimeoutException):
        return TransientError("the server fell silent")
    return TransientError("the connection broke")


def check_status(response: httpx.Response) -> None:
    """Sort the answers that end or repeat a request out of those that belong to its transaction.

    Raises:
        TransientError: the server is overloaded or a gateway cannot reach it.
        ServerUnreachableError: we are not let in, or the server has no room left.
    """
    status = response.status_code
    if status in TRANSIENT_STATUS:
        seconds = response.headers.get("Retry-After", "")
        message = f"the server answers {status}"
        raise TransientError(message, retry_after_seconds=float(seconds) if seconds.isdecimal() else 0.0)
    if status in (401, 403, 407):
        message = f"the server does not let us in ({status}); give a key with --key or DICOMWEB_ARCHIVE_API_KEY"
        raise ServerUnreachableError(message)
    if status == 507:
        message = "the server has no room left (507)"
        raise ServerUnreachableError(message)


async def get_json(
    client: httpx.AsyncClient, url: str, retry: RetryPolicy, *, accept: str = "application/dicom+json"
) -> httpx.Response:
    """Get a DICOM JSON resource, with retries; the caller judges the status.

    Raises:
        ServerUnreachableError: no answer, or we are not let in.
    """

    async def attempt() -> httpx.Response:
        try:
            headers = {"Accept": accept}
            response = await client.get(url, headers=headers, follow_redirects=True)
        except httpx.TransportError as error:
            raise transport_failure(error) from error
        check_status(response)
        return response

    return await retry.run(attempt)


def first_failure(failures: BaseExceptionGroup[ArchiveError]) -> ArchiveError:
    """Take one error out of those of a task group: they mostly say the same."""
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ArchiveError)
    return error


def _is_loopback(root: str) -> bool:
    host = httpx.URL(root).host
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
