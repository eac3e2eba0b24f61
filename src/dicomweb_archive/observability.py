"""What operators see: JSON logs without patient values, request ids, and Prometheus metrics."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TextIO

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the request being served, for every log line written on its behalf."""

# What `logging` itself puts on a record, and coloured twins of messages that some libraries attach; anything else came
# by `extra=` and is ours to print.
_UNPRINTED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def escape_control(text: str) -> str:
    r"""Write control characters and line separators as `\xNN` escapes, so that no value can forge a log line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _timestamp(created: float) -> str:
    return f"{_second(int(created))}.{int(created % 1 * 1000):03d}Z"


@lru_cache(maxsize=4)
def _second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


class EventLog:
    """Writes one kind of event to a log, many times a second, with fields of its own.

    Hot path: `Logger.log` looks through the stack for the line that it was called from, and asks the process for
    names and numbers that no layout of ours prints; that took longer than writing the line.
    """

    def __init__(self, logger: logging.Logger, message: str) -> None:
        self._logger = logger
        self._blank = vars(logging.makeLogRecord({"name": logger.name, "msg": message, "args": None}))

    def write(self, level: int, fields: Mapping[str, object]) -> None:
        """Write the event with these fields, as with `extra=`, where its level is written at all."""
        if not self._logger.isEnabledFor(level):
            return
        created = time.time()
        record = logging.LogRecord.__new__(logging.LogRecord)
        vars(record).update(
            self._blank,
            levelno=level,
            levelname=logging.getLevelName(level),
            created=created,
            msecs=int(created % 1 * 1000),
            **fields,
        )
        self._logger.handle(record)


def describe_exception(error: BaseException, *, with_message: bool = False) -> list[str]:
    """Name an exception, its causes and where each was raised, innermost last.

    Messages of foreign exceptions may hold a value of a request or data set (a database error quotes whole
    rows), so they are left out unless asked for; file, line and function are enough to find a bug.
    """
    lines: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        kind = f"{type(current).__module__}.{type(current).__qualname__}"
        lines.append(f"{kind}: {escape_control(str(current))}" if with_message else kind)
        trace = current.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            lines.append(f"  {code.co_filename}:{trace.tb_lineno} {code.co_qualname}")
            trace = trace.tb_next
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return lines


class _RecordReader:
    """Takes from a log record what both formats print."""

    def __init__(self, *, with_exception_messages: bool) -> None:
        self._with_messages = with_exception_messages

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        message = record.getMessage()
        if record.name == "asyncio":
            # Behind its first line stands the repr of a task with its exception, message and all.
            message = message.partition("\n")[0]
        found: dict[str, Any] = {"message": escape_control(message)}
        identifier = request_id.get()
        if identifier is not None:
            found["request_id"] = identifier
        for name, value in vars(record).items():
            if name not in _UNPRINTED:
                found[name] = escape_control(value) if isinstance(value, str) else value
        if record.exc_info and record.exc_info[1] is not None:
            found["exception"] = describe_exception(record.exc_info[1], with_message=self._with_messages)
        return found


class JsonFormatter(logging.Formatter):
    """One JSON object a line; about a quarter cheaper than python-json-logger, which an access log feels."""

    def __init__(self, *, with_exception_messages: bool = False) -> None:
        super().__init__()
        self._reader = _RecordReader(with_exception_messages=with_exception_messages)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON without raw control characters."""
        head = {"time": _timestamp(record.created), "level": record.levelname.lower(), "logger": record.name}
        document = head | self._reader.fields(record)
        return orjson.dumps(document, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


class TextFormatter(logging.Formatter):
    """One plain line a record, for people at a terminal."""

    def __init__(self, *, with_exception_messages: bool = False) -> None:
        super().__init__()
        self._reader = _RecordReader(with_exception_messages=with_exception_messages)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, or a line and the indented frames of its exception."""
        fields = self._reader.fields(record)
        exception = fields.pop("exception", ())
        rest = "".join(f" {name}={value}" for name, value in fields.items() if name != "message")
        head = f"{_timestamp(record.created)} {record.levelname.lower():7} {record.name}: {fields['message']}{rest}"
        return "\n    ".join((head, *exception))


def configure_logging(
    level: Literal["debug", "info", "warning", "error"] = "info",
    layout: Literal["json", "text"] = "json",
    stream: TextIO | None = None,
) -> None:
    """Send every log line of this process to standard error (or `stream`) in one layout.

    Exception messages are printed at level debug only, see `describe_exception`.
    """
    formatter: logging.Formatter = (JsonFormatter if layout == "json" else TextFormatter)(
        with_exception_messages=level == "debug"
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Their own handlers would print a second time; uvicorn's access log prints paths with UIDs and queries.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    # These quote values of data sets in their warnings; what matters to us they raise.
    for name in ("pydicom", "PIL"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
        # Python writes warnings to standard error, past every handler.
        warnings.filterwarnings("ignore", module=rf"{name}\b")
    # At debug level they speak of values, signatures and every wait, and of URLs already at level info.
    for name in ("asyncpg", "asyncio", "aiobotocore", "aiohttp", "botocore", "httpcore", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})


class _RouteMeters:
    """The meters of one route, method and status, looked up once (labels cost more than counting)."""

    __slots__ = ("bytes_in", "bytes_out", "requests", "seconds")

    def __init__(self, metrics: "Metrics", route: str, method: str, status: int) -> None:
        self.requests = metrics.requests.labels(route, method, str(status))
        self.seconds = metrics.seconds.labels(route, method)
        self.bytes_in = metrics.bytes_in.labels(route)
        self.bytes_out = metrics.bytes_out.labels(route)


class BlockMeters:
    """Meters of the block cache of one server process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        reads = Counter(
            "dicomweb_block_cache_reads",
            "Blocks of objects that requests needed, by where they were found: memory, disk, or store for a miss.",
            ("found",),
            registry=registry,
        )
        self._memory, self._disk, self._store = (reads.labels(place) for place in ("memory", "disk", "store"))
        evicted = Counter("dicomweb_block_cache_evicted", "Blocks evicted to make room.", ("level",), registry=registry)
        self.evicted_from_memory, self.evicted_from_disk = evicted.labels("memory"), evicted.labels("disk")
        self.fetched_bytes = Counter(
            "dicomweb_block_cache_fetched_bytes",
            "Bytes read from the object store into the cache, ahead of requests too.",
            registry=registry,
        )
        self.damaged = Counter(
            "dicomweb_block_cache_damaged", "Blocks on the disk that were found damaged.", registry=registry
        )
        self.disk_failures = Counter(
            "dicomweb_block_cache_disk_failures", "Times the disk level could not be used.", registry=registry
        )
        self.memory_bytes = Gauge(
            "dicomweb_block_cache_memory_bytes",
            "Memory that blocks take.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.disk_bytes = Gauge(
            "dicomweb_block_cache_disk_bytes",
            "Room on the disk that blocks take.",
            registry=registry,
            multiprocess_mode="livemax",
        )

    def count_reads(self, *, memory: int = 0, disk: int = 0, store: int = 0) -> None:
        """Count the blocks of one read by where they were found."""
        # Hot path: a counter that stays as it is costs as much as one that is moved.
        if memory:
            self._memory.inc(memory)
        if disk:
            self._disk.inc(disk)
        if store:
            self._store.inc(store)


class LocationMeters:
    """Counts how single instances were located by one server process; without a registry for nobody."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        located = Counter(
            "dicomweb_locations",
            "Single instances that were located: from memory, from memory after a check, or by the database.",
            ("found",),
            registry=registry or CollectorRegistry(),
        )
        self.memory, self.checked, self.database = (
            located.labels(found) for found in ("memory", "checked", "database")
        )


class Metrics:
    """Prometheus meters of one server process; labels come from bounded sets only.

    With `PROMETHEUS_MULTIPROC_DIR` set before this module is imported, every process writes its figures into
    that folder and each one answers `/metrics` for all of them.
    """

    def __init__(self) -> None:
        # Each app has its own registry, so that tests can make many.
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "dicomweb_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self.seconds = Histogram(
            "dicomweb_request_seconds",
            "Time from the head of a request to the last byte of its answer.",
            ("route", "method"),
            registry=registry,
            buckets=_SECONDS,
        )
        self.bytes_in = Counter("dicomweb_received_bytes", "Bytes of request bodies.", ("route",), registry=registry)
        self.bytes_out = Counter("dicomweb_sent_bytes", "Bytes of answers' bodies.", ("route",), registry=registry)
        self.running = Gauge(
            "dicomweb_requests_running",
            "Requests being served.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.instances = Counter(
            "dicomweb_store_instances", "Instances received, by what became of them.", ("outcome",), registry=registry
        )
        self.blocks = BlockMeters(registry)
        self.locations = LocationMeters(registry)
        self._routes: dict[tuple[str, str, int], _RouteMeters] = {}

    def count_request(
        self, route: str, method: str, status: int, *, seconds: float, bytes_in: int, bytes_out: int
    ) -> None:
        """Count one request; `route` is a template, never a path."""
        # Methods are the client's to invent, label values are kept for ever.
        method = method if method in _METHODS else "OTHER"
        key = (route, method, status)
        meters = self._routes.get(key)
        if meters is None:
            meters = self._routes[key] = _RouteMeters(self, route, method, status)
        meters.requests.inc()
        meters.seconds.observe(seconds)
        meters.bytes_out.inc(bytes_out)
        if bytes_in:
            meters.bytes_in.inc(bytes_in)

    def exposition(self) -> bytes:
        """Return the figures of all processes in Prometheus' text format."""
        return generate_latest(self._merged())

    def block_totals(self) -> "BlockTotals":
        """Sum up the block cache of all processes."""
        sums = {"memory": 0.0, "disk": 0.0, "store": 0.0}
        for family in self._merged().collect():
            for sample in family.samples:
                if sample.name == "dicomweb_block_cache_reads_total":
                    sums[sample.labels["found"]] += sample.value
                elif sample.name.startswith("dicomweb_block_cache"):
                    sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return BlockTotals(
            from_memory=int(sums["memory"]),
            from_disk=int(sums["disk"]),
            from_store=int(sums["store"]),
            memory_bytes=int(sums.get("dicomweb_block_cache_memory_bytes", 0)),
            disk_bytes=int(sums.get("dicomweb_block_cache_disk_bytes", 0)),
            disk_failures=int(sums.get("dicomweb_block_cache_disk_failures_total", 0)),
        )

    def totals(self) -> "list[RouteTotal]":
        """Sum up the requests of all processes by route, the most frequent first."""
        sums: dict[str, list[float]] = {}
        for family in self._merged().collect():
            for sample in family.samples:
                found = sums.setdefault(sample.labels.get("route", ""), [0, 0, 0, 0])
                if sample.name == "dicomweb_requests_total":
                    found[0] += sample.value
                    found[1] += sample.value if sample.labels["status"].startswith("5") else 0
                elif sample.name == "dicomweb_request_seconds_sum":
                    found[2] += sample.value
                elif sample.name == "dicomweb_sent_bytes_total":
                    found[3] += sample.value
        totals = [
            RouteTotal(route, int(requests), int(failures), seconds, int(sent))
            for route, (requests, failures, seconds, sent) in sums.items()
            if requests
        ]
        return sorted(totals, key=lambda total: -total.requests)

    def _merged(self) -> CollectorRegistry:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self.registry
        merged = CollectorRegistry()
        MultiProcessCollector(merged)  # type: ignore[no-untyped-call]
        return merged


@dataclass(frozen=True, slots=True)
class RouteTotal:
    """What one route has done since the archive was started: `seconds` of all its requests together."""

    route: str
    requests: int
    failures: int
    seconds: float
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class BlockTotals:
    """What the block cache has done since the archive was started: blocks by where they were found, and its size."""

    from_memory: int
    from_disk: int
    from_store: int
    memory_bytes: int
    disk_bytes: int
    disk_failures: int

    @property
    def hit_rate(self) -> float | None:
        """Share of blocks that needed no request to the store; None before the first."""
        reads = self.from_memory + self.from_disk + self.from_store
        return 1 - self.from_store / reads if reads else None
