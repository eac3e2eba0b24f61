"""A small DICOMweb server in memory, and a transport that fails when told, for tests of the client commands."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dicomweb_archive.cli.client.connection import RetryPolicy, Server
from dicomweb_archive.cli.client.heads import read_head
from dicomweb_archive.wire.multipart import (
    PartBegin,
    PartData,
    PartFraming,
    PartReader,
    parse_multipart_related,
)

ROOT = "http://fake.test/dicom-web"
STUDY, SERIES = "1.2", "1.2.3"

Fault = Callable[[httpx.Request], httpx.Response | None]


@dataclass
class FakeServer:
    """Keeps one series; answers as told.

    Attributes:
        refuse: Failure Reasons by SOP Instance UID.
        mute: answer stores with 200 and no body.
        asterisk: understands `transfer-syntax=*`.
        damage: changes the payload of a retrieval.
        offsets: knows the parameter `offset` of searches.
        links: names the next page, by another address than the one it is reached by.
    """

    kept: dict[str, bytes] = field(default_factory=dict)
    refuse: dict[str, int] = field(default_factory=dict)
    mute: bool = False
    asterisk: bool = True
    damage: Callable[[bytes], bytes] = bytes
    offsets: bool = True
    links: bool = False
    page: int = 1000
    stores: list[list[str | None]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        root = "/dicom-web"
        series = f"{root}/studies/{STUDY}/series/{SERIES}"
        return Starlette(
            routes=[
                Route(f"{root}/studies", self._store, methods=["POST"]),
                Route(f"{root}/studies", self._studies),
                Route(f"{root}/studies/{STUDY}/series", self._series),
                Route(f"{series}/instances", self._instances),
                Route(series, self._retrieve),
                Route(series + "/instances/{uid}", self._retrieve),
                Route(series + "/instances/{uid}/metadata", self._metadata),
            ]
        )

    async def _store(self, request: Request) -> Response:
        assert int(request.headers["content-length"]) == len(await request.body())
        parts = parts_of(request.headers["content-type"], await request.body())
        self.stores.append([read_head(part).sop_instance_uid for part in parts])
        answer: dict[str, Any] = {}
        for part in parts:
            uid = read_head(part).sop_instance_uid
            if uid is None:
                _sequence(answer, "0008119A").append({"00081197": _element("US", 0xC000)})
            elif uid in self.refuse or self.kept.get(uid, part) != part:
                reason = _element("US", self.refuse.get(uid, 0xA902))
                _sequence(answer, "00081198").append({"00081155": _element("UI", uid), "00081197": reason})
            else:
                self.kept[uid] = part
                url = f"http://elsewhere/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{uid}"
                item = {"00081155": _element("UI", uid), "00081190": _element("UR", url)}
                _sequence(answer, "00081199").append(item)
        if self.mute:
            return Response(status_code=200)
        bad = "00081198" in answer or "0008119A" in answer
        return JSONResponse(answer, 200 if not bad else 202 if "00081199" in answer else 409)

    async def _studies(self, request: Request) -> Response:
        return self._page(request, [{"0020000D": _element("UI", STUDY)}] if self.kept else [])

    async def _series(self, request: Request) -> Response:
        return self._page(request, [{"0020000E": _element("UI", SERIES)}] if self.kept else [])

    async def _instances(self, request: Request) -> Response:
        return self._page(request, [{"00080018": _element("UI", uid)} for uid in self.kept])

    def _page(self, request: Request, rows: list[dict[str, Any]]) -> Response:
        self.requests.append(f"{request.url.path}?{request.url.query}")
        offset = int(request.query_params.get("offset", 0)) if self.offsets else 0
        offset = int(request.query_params.get("page_token", offset))
        end = offset + min(self.page, int(request.query_params["limit"]))
        headers = {}
        if self.links and end < len(rows):
            headers["link"] = f'<http://elsewhere.test/x?limit={self.page}&page_token={end}>; rel="next"'
        return JSONResponse(rows[offset:end], headers=headers) if rows[offset:end] else Response(status_code=204)

    async def _metadata(self, request: Request) -> Response:
        return JSONResponse([{}]) if request.path_params["uid"] in self.kept else Response(status_code=404)

    async def _retrieve(self, request: Request) -> Response:
        self.requests.append(request.url.path)
        if not self.asterisk and "transfer-syntax=*" in request.headers["accept"]:
            return Response(status_code=406)
        wanted = request.path_params.get("uid")
        parts = [part for uid, part in self.kept.items() if wanted in (None, uid)]
        if not parts:
            return Response(status_code=404)
        framing = PartFraming("application/dicom")
        body = b"".join(framing.head("application/dicom") + part + framing.TAIL for part in parts)
        return Response(self.damage(body + framing.closing()), media_type=framing.content_type)


class FaultyTransport(httpx.AsyncBaseTransport):
    """Answers the first requests with faults, then lets them through to an ASGI app."""

    def __init__(self, app: Starlette, *faults: Fault) -> None:
        self._inner = httpx.ASGITransport(app)
        self._faults = list(faults)
        self.requests: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(f"{request.method} {request.url.path}")
        response = self._faults.pop(0)(request) if self._faults else None
        return response or await self._inner.handle_async_request(request)


def status(code: int, **headers: str) -> Fault:
    """Answer with a status."""
    return lambda _request: httpx.Response(code, headers=headers)


def broken_connection(request: httpx.Request) -> httpx.Response | None:
    """Break the connection while the request is sent."""
    message = "reset by peer"
    raise httpx.WriteError(message, request=request)


def refused_connection(request: httpx.Request) -> httpx.Response | None:
    """Nobody listens."""
    message = "refused"
    raise httpx.ConnectError(message, request=request)


def fine(_request: httpx.Request) -> httpx.Response | None:
    """Let this one through."""
    return None


def server(fake: FakeServer, *faults: Fault) -> Server:
    """Reach a fake server through its transport."""
    return Server(ROOT, transport=FaultyTransport(fake.app(), *faults))


@dataclass
class Waits:
    """A clock that only notes how long was to be waited."""

    seconds: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


def impatient(attempts: int = 3, waits: Waits | None = None) -> RetryPolicy:
    """Retry without waiting."""
    return RetryPolicy(attempts, sleep=(waits or Waits()).sleep)


def parts_of(content_type: str, body: bytes) -> list[bytes]:
    """Split a multipart body."""
    parts: list[bytearray] = []
    reader = PartReader(parse_multipart_related(content_type).boundary)
    for event in reader.feed(body):
        if isinstance(event, PartBegin):
            assert event.head.content_type == "application/dicom"
            parts.append(bytearray())
        elif isinstance(event, PartData):
            parts[-1] += event.data
    reader.finish()
    return [bytes(part) for part in parts]


def _element(vr: str, value: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _sequence(answer: dict[str, Any], tag: str) -> list[Any]:
    items: list[Any] = answer.setdefault(tag, {"vr": "SQ", "Value": []})["Value"]
    return items
