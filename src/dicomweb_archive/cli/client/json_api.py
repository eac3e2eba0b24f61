"""JSON resources of an archive like this one: read with patience, changed once."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click
import httpx

from dicomweb_archive.cli.client.connection import (
    RetryPolicy,
    Server,
    ServerUnreachableError,
    TransientError,
    UnexpectedAnswerError,
    check_status,
    transport_failure,
)
from dicomweb_archive.cli.client.options import ExitCode, server_of
from dicomweb_archive.cli.client.terminal import json_text, say

T = TypeVar("T")

Document = dict[str, Any]


class RefusedError(UnexpectedAnswerError):
    """The archive refuses what was asked; the text is its own.

    Attributes:
        status: of the answer; 412 says that the resource has changed meanwhile.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as it was answered, and the revision that a change of it has to name."""

    document: Document
    etag: str


@dataclass(frozen=True, slots=True)
class JsonApi:
    """Asks an archive for its resources of JSON, over connections that are kept open.

    Attributes:
        base: the archive's root, without `/dicom-web`.
    """

    client: httpx.AsyncClient
    base: str
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(attempts=3))

    async def get(self, path: str, **parameters: Any) -> Resource:
        """Read a resource, however often it takes.

        Raises:
            RefusedError: it is not there, or not for us.
            ServerUnreachableError: no answer, or we are not let in.
        """
        return await self.retry.run(lambda: self.attempt("GET", path, parameters=parameters))

    async def send(self, method: str, path: str, body: Document | None = None, *, etag: str | None = None) -> Resource:
        """Change something, once: a repeated POST would do it twice.

        Raises:
            RefusedError: the archive refuses it.
            ServerUnreachableError: no answer, so nobody knows whether it was done; or we are not let in.
        """
        try:
            return await self.attempt(method, path, body, etag=etag)
        except TransientError as error:
            raise ServerUnreachableError(str(error)) from error

    async def attempt(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        *,
        etag: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Resource:
        """Send one request.

        Raises:
            TransientError: another attempt may mend it.
            RefusedError, ServerUnreachableError: see `get`.
        """
        headers = {"Accept": "application/json", **({} if etag is None else {"If-Match": etag})}
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        try:
            response = await self.client.request(method, self.base + path, json=body, headers=headers, params=given)
        except httpx.TransportError as error:
            raise transport_failure(error) from error
        _check(response)
        return Resource(_document(response), response.headers.get("etag", "*"))


@asynccontextmanager
async def open_api(server: Server, retry: RetryPolicy | None = None) -> AsyncIterator[JsonApi]:
    """Open connections to the archive whose DICOMweb root the server is."""
    async with server.client(4) as client:
        base = server.root.removesuffix("/dicom-web")
        yield JsonApi(client, base, retry or RetryPolicy(attempts=3))


def run_command(server: Server, work: Coroutine[Any, Any, T]) -> T:
    """Run the work of a command; what goes wrong is told and becomes its exit status."""
    try:
        return asyncio.run(work)
    except UnexpectedAnswerError as error:
        say(f"{server.root}: {error}", err=True)
        raise SystemExit(ExitCode.INCOMPLETE) from error
    except ServerUnreachableError as error:
        say(f"{server.root}: {error}", err=True)
        raise SystemExit(ExitCode.UNREACHABLE) from error
    except KeyboardInterrupt:
        raise SystemExit(ExitCode.INTERRUPTED) from None


def take_server(given: dict[str, Any]) -> Server:
    """Take the connection out of a command's options."""
    return server_of(*(given.pop(name) for name in ("root", "key", "headers", "timeout_seconds")))


def print_json(document: Document | Sequence[Document]) -> None:
    """Print what a program may read."""
    click.echo(json_text(document, indent=1))


def _check(response: httpx.Response) -> None:
    try:
        check_status(response)
    except ServerUnreachableError as error:
        detail = _detail(response)
        # Which role is missing is said by the archive alone.
        raise ServerUnreachableError(f"{error}: {detail}" if detail else str(error)) from error
    if not response.is_success:
        unknown = f"the server answers {response.status_code}; is it an archive like this one?"
        raise RefusedError(response.status_code, _detail(response) or unknown)


def _document(response: httpx.Response) -> Document:
    if response.status_code == 204:
        return {}
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        message = "the server answers something else than JSON; is it an archive like this one?"
        raise UnexpectedAnswerError(message)
    return document


def _detail(response: httpx.Response) -> str:
    try:
        document = response.json()
        return ": ".join(filter(None, (document["title"], document.get("detail"))))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
