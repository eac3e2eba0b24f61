"""What every request passes: an id, a line in the log, figures, safe headers. Plain ASGI, no response is held."""

import logging
import re
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicomweb_archive.observability import EventLog, Metrics, request_id
from dicomweb_archive.web.disconnects import ClientVanishedError
from dicomweb_archive.web.errors import URI_TOO_LONG, answer_unexpected, problem_response
from dicomweb_archive.web.security_headers import Headers, SecurityHeaders
from dicomweb_archive.web.turns import Turns

_ANSWERED = EventLog(logging.getLogger(__name__), "request")

MAX_TARGET_BYTES = 16 * 1024
"""Longest path and query together; h11 alone would take 100 kB."""

CLIENT_VANISHED = 499
"""Status in logs and metrics of a request whose client left before its answer began; never sent."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
# Probes would fill the log with lines that say nothing.
_QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})

EXPOSED_HEADERS = (
    "Accept-Ranges",
    "Content-Length",
    "Content-Location",
    "Content-Range",
    "ETag",
    "Link",
    "Location",
    "Retry-After",
    "Warning",
    "WWW-Authenticate",
    "X-Request-ID",
)
"""Headers of our answers that a viewer on another origin may read (CORS)."""

ALLOWED_HEADERS = (
    "Accept",
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "Range",
    "X-Request-ID",
)
ALLOWED_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class RequestRecorder:
    """Gives each request an id, and writes it down by route template, status, duration and bytes.

    Paths and query strings hold UIDs and names, so they are never written. What no handler caught ends here.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, cross_origin: bool = False, root_path: str = "") -> None:
        self.app = app
        self.metrics = metrics
        self.root_path = root_path
        self.turns = Turns()
        self.security = SecurityHeaders(root_path=root_path, cross_origin=cross_origin)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP passes unseen."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.root_path:
            scope = _below(self.root_path, scope)
        identifier = _request_id_of(scope)
        token = request_id.set(identifier)
        headers = ((b"x-request-id", identifier.encode("ascii")), *self.security.of(scope["path"]))
        exchange = _Exchange(scope, receive, send, headers)
        self.metrics.running.inc()
        self.turns.begin(scope)
        try:
            await self._serve(scope, exchange)
        finally:
            self.turns.end()
            self.metrics.running.dec()
            exchange.write_down(self.metrics)
            request_id.reset(token)

    async def _serve(self, scope: Scope, exchange: "_Exchange") -> None:
        if len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"]) > MAX_TARGET_BYTES:
            answer = problem_response(URI_TOO_LONG, f"at most {MAX_TARGET_BYTES} bytes of path and query")
            await answer(scope, exchange.receive, exchange.send)
            return
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except ClientVanishedError:
            exchange.vanished = True
        except Exception as error:  # noqa: BLE001 - the outermost room: whatever else happened is a bug to log
            answer = answer_unexpected(error)
            # Once the head is out the server cuts the connection, because the answer never ends.
            if exchange.status is None:
                await answer(scope, exchange.receive, exchange.send)


def _below(root_path: str, scope: Scope) -> Scope:
    """Put the request below the proxy's prefix, whether the proxy has taken it off the path or not."""
    path = scope["path"]
    whole = path if path.startswith(root_path + "/") else root_path + path
    return {**scope, "root_path": root_path, "path": whole}


def _request_id_of(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return bytes(value).decode()
    return secrets.token_hex(8)


class _Exchange:
    """One request and its answer, counted as they pass."""

    __slots__ = (
        "_begun", "_headers", "_receive", "_scope", "_send",
        "bytes_in", "bytes_out", "complete", "status", "vanished",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        self._scope, self._receive, self._send, self._headers = scope, receive, send, headers
        self._begun = time.perf_counter()
        self.bytes_in = 0
        self.bytes_out = 0
        self.status: int | None = None
        self.complete = False
        self.vanished = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = status = message["status"]
            headers = [*message.get("headers", ()), *self._headers]
            message = {"type": "http.response.start", "status": status, "headers": headers}
        else:
            self.bytes_out += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        await self._send(message)

    def write_down(self, metrics: Metrics) -> None:
        seconds = time.perf_counter() - self._begun
        route = getattr(self._scope.get("route"), "path", "unmatched")
        method = self._scope["method"]
        status = self.status or (CLIENT_VANISHED if self.vanished else 500)
        metrics.count_request(route, method, status, seconds=seconds, bytes_in=self.bytes_in, bytes_out=self.bytes_out)
        level = logging.DEBUG if route in _QUIET else logging.INFO
        fields: dict[str, object] = {
            "method": method if len(method) < 16 else "OTHER",
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }
        if not self.complete:
            fields["cut"] = True
        _ANSWERED.write(level, fields)
