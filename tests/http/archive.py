"""An archive under test, and how a client speaks to it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from dicomweb_archive.errors import UnauthenticatedError
from dicomweb_archive.services.access import AccessPolicy, Principal
from dicomweb_archive.services.keys.ring import Holder
from dicomweb_archive.settings import Settings
from dicomweb_archive.storage.ownership import OWNER_KEY

ROOT = "/dicom-web"
BOUNDARY = "a-boundary-of-the-tests"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


def related(parts: Sequence[bytes], *, content_type: str | None = "application/dicom", close: bool = True) -> bytes:
    """Write parts as a multipart/related body."""
    head = b"" if content_type is None else b"Content-Type: %b\r\n" % content_type.encode()
    delimiter = b"--" + BOUNDARY.encode()
    body = b"".join(delimiter + b"\r\n" + head + b"\r\n" + part + b"\r\n" for part in parts)
    return body + (delimiter + b"--\r\n" if close else b"")


def parts_of(answer: httpx.Response) -> list[tuple[dict[str, str], bytes]]:
    """Read a multipart/related answer: headers in lower case, and the bytes of each part."""
    found = re.search(r'boundary="?([^";]+)', answer.headers["content-type"])
    assert found is not None
    delimiter = b"--" + found[1].encode()
    pieces = (b"\r\n" + answer.content).split(b"\r\n" + delimiter)
    assert pieces[-1].startswith(b"--")
    parts = []
    for piece in pieces[1:-1]:
        head, _, body = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        lines = [line.partition(b":") for line in head.split(b"\r\n")]
        parts.append(({name.decode().lower(): value.strip().decode() for name, _, value in lines}, body))
    return parts


class NamesAsKeys:
    """Stands for the ring of keys: the name of a principal is its key, and nobody else may do more than read."""

    policy = AccessPolicy(is_open=False)

    def __init__(self, *principals: Principal) -> None:
        self._principals = {principal.name: principal for principal in principals}

    async def identify(self, key: bytes) -> Holder:
        """Return whose name this is."""
        if key.decode() not in self._principals:
            raise UnauthenticatedError
        return Holder(self._principals[key.decode()], key.decode(), key)


@dataclass(frozen=True)
class Archive:
    """A running archive and a client of it."""

    app: FastAPI
    client: httpx.AsyncClient
    settings: Settings

    def let_in(self, *principals: Principal) -> None:
        """Ask for keys from now on, and take the name of each of these for its key."""
        object.__setattr__(self.app.state.services, "keys", NamesAsKeys(*principals))

    async def store(
        self, *instances: bytes, study: str | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Store Part 10 instances in one request."""
        return await self.post(related(instances), study=study, headers=headers)

    async def post(
        self,
        body: Any,
        *,
        study: str | None = None,
        content_type: str = RELATED,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send any body as a store request."""
        path = f"{ROOT}/studies" + (f"/{study}" if study else "")
        sent = {"content-type": content_type, "accept": "application/dicom+json", **(headers or {})}
        return await self.client.post(path, content=body, headers=sent)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """Get a resource below the DICOMweb root."""
        return await self.client.get(ROOT + path, **options)

    async def stored_instances(self) -> int:
        """Count what a search for all instances finds."""
        answer = await self.get("/instances", params={"limit": "5000"})
        assert answer.status_code == 200
        return len(answer.json())

    def files(self) -> list[Path]:
        """List every file of the object store but the one that says whose it is; unfinished ones too."""
        found = self.settings.object_folder.rglob("*")
        return [path for path in found if path.is_file() and path.name != OWNER_KEY]


def values_of(document: Mapping[str, Any], tag: str) -> list[Any]:
    """Return the values of an attribute of the DICOM JSON model."""
    found: list[Any] = document.get(tag, {}).get("Value", [])
    return found
