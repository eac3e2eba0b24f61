"""What an S3 service refuses or fails at, in the archive's words, and which of it is worth another try."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dicomweb_archive.errors import (
    ArchiveError,
    ConflictError,
    ObjectNotFoundError,
    StorageFullError,
    StorageUnavailableError,
)

Result = TypeVar("Result")

ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0

_PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_PASSING_CODES = frozenset(
    {
        "RequestTimeout",
        "SlowDown",
        "InternalError",
        "ServiceUnavailable",
        "Throttling",
        # Two writes of a key at once, e.g. an attempt that was given up here and goes on there: nobody has won yet.
        "ConditionalRequestConflict",
        "OperationAborted",
    }
)
_FULL_CODES = frozenset({"QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull"})
_CODE = re.compile(r"[A-Za-z0-9.]{1,64}")


class PassingError(StorageUnavailableError):
    """A failure that may be over at the next try."""


class NotImplementedByServiceError(StorageUnavailableError):
    """The service does not know what was asked of it."""


def error_of(status: int, code: str) -> ArchiveError:
    """Say what an answer other than success means; `code` is the service's word for it, if it gave one."""
    named = code if _CODE.fullmatch(code) else "no code"
    if status == 404 and code != "NoSuchBucket":
        return ObjectNotFoundError("the object store does not hold this object")
    if status == 412 or code == "PreconditionFailed":
        return ConflictError("an object with this key exists already")
    if status == 507 or code in _FULL_CODES:
        return StorageFullError(f"the S3 service has no room ({named})")
    message = f"the S3 service answers {status} ({named})"
    if status == 501:
        return NotImplementedByServiceError(message)
    if status in _PASSING_STATUSES or code in _PASSING_CODES:
        return PassingError(message)
    return StorageUnavailableError(message)


async def retried(call: Callable[[], Awaitable[Result]], *, attempts: int = ATTEMPTS) -> Result:
    """Make a call that may be repeated, again after a random pause while its failure may pass.

    Raises:
        StorageUnavailableError: every attempt failed.
    """
    for failures in range(1, attempts):
        try:
            return await call()
        except PassingError:
            await pause(failures)
    return await call()


async def pause(failures: int) -> None:
    """Wait before the next attempt; longer, the more there have been in a row."""
    longest = min(_FIRST_PAUSE_SECONDS * 2 ** (failures - 1), _LONGEST_PAUSE_SECONDS)
    # Random, so that those who failed together do not come back together.
    await asyncio.sleep(random.uniform(0, longest))  # noqa: S311
