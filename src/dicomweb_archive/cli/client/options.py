"""Options and exit codes that all client commands share."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar

import click
import httpx

from dicomweb_archive.cli.client.connection import Server

DEFAULT_ROOT = "http://127.0.0.1:8000/dicom-web"

F = TypeVar("F", bound=Callable[..., Any])


class ExitCode(IntEnum):
    """What a script can tell from the exit status; 2 is click's own for a wrong command line."""

    FINE = 0
    INCOMPLETE = 1
    UNREACHABLE = 3
    INTERRUPTED = 130


def server_options(name: str) -> Callable[[F], F]:
    """Add the options that say which server (`--to` or `--from`) and with which credentials."""

    def decorate(command: F) -> F:
        for option in reversed(_options(name)):
            command = option(command)
        return command

    return decorate


def _options(name: str) -> list[Callable[[F], F]]:
    return [
        click.option(
            name,
            "root",
            default=DEFAULT_ROOT,
            show_default=True,
            envvar="DICOMWEB_ARCHIVE_SERVER",
            callback=_root,
            metavar="URL",
            help="Root of the DICOMweb service [env: DICOMWEB_ARCHIVE_SERVER].",
        ),
        click.option(
            "--key",
            envvar="DICOMWEB_ARCHIVE_API_KEY",
            metavar="KEY",
            help="Key sent as `Authorization: Bearer KEY` [env: DICOMWEB_ARCHIVE_API_KEY].",
        ),
        click.option(
            "--header",
            "headers",
            multiple=True,
            callback=_headers,
            metavar="'NAME: VALUE'",
            help="Further header for each request; may be given several times.",
        ),
        click.option(
            "--timeout",
            "timeout_seconds",
            type=click.FloatRange(min=0, min_open=True),
            default=120.0,
            show_default=True,
            metavar="SECONDS",
            help="Longest silence of the server.",
        ),
    ]


def server_of(root: str, key: str | None, headers: tuple[tuple[str, str], ...], timeout_seconds: float) -> Server:
    """Make the server that the options describe; credentials leave the URL, which is printed in messages."""
    url = httpx.URL(root)
    auth = (url.username, url.password) if url.userinfo else None
    clean = str(url.copy_with(userinfo=b"")).rstrip("/")
    return Server(clean, key=key, auth=auth, headers=headers, timeout_seconds=timeout_seconds)


def _root(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not value.startswith(("http://", "https://")):
        message = "must begin with http:// or https://"
        raise click.BadParameter(message)
    try:
        httpx.URL(value)
    except httpx.InvalidURL as error:
        message = "is not a URL"
        raise click.BadParameter(message) from error
    return value.rstrip("/")


def _headers(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    headers = []
    for text in values:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            message = "must look like 'Name: value'"
            raise click.BadParameter(message)
        headers.append((name.strip(), value.strip()))
    return tuple(headers)


def parse_keys(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Read KEY=VALUE arguments."""
    keys = []
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            message = "must look like KEY=VALUE"
            raise click.BadParameter(message)
        keys.append((name, value))
    return tuple(keys)
