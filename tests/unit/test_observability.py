"""Logs that cannot be forged and name no value, metrics with bounded labels."""

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator

import pytest
from pydicom.charset import convert_encodings

from dicomweb_archive import observability
from dicomweb_archive.observability import EventLog, Metrics, configure_logging, escape_control


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("pydicom").setLevel(logging.NOTSET)


def test_a_line_is_one_json_object_with_the_request_id(log: io.StringIO) -> None:
    configure_logging("info", "json", log)
    token = observability.request_id.set("abc-123")
    logging.getLogger("dicomweb_archive.test").info("packs: %d", 3, extra={"packs": 3})
    observability.request_id.reset(token)
    line = json.loads(log.getvalue())
    assert line["message"] == "packs: 3"
    assert line["request_id"] == "abc-123"
    assert line["packs"] == 3
    assert line["level"] == "info"
    assert line["time"].endswith("Z")


@pytest.mark.parametrize("layout", ["json", "text"])
@pytest.mark.parametrize("forged", ["a\nb", "a\r\nb", "a\x1b[31mb", "a\x00b", "a\x85b", "a\u2028b"])
def test_control_characters_cannot_begin_a_line_of_their_own(log: io.StringIO, layout: str, forged: str) -> None:
    configure_logging("info", layout, log)  # type: ignore[arg-type]
    logging.getLogger("dicomweb_archive.test").info("%s", forged, extra={"named": forged})
    written = log.getvalue()
    assert written.count("\n") == 1
    assert written.endswith("\n")
    assert written[:-1].isprintable()


@pytest.mark.parametrize("layout", ["json", "text"])
def test_an_event_is_written_as_the_logger_itself_would_write_it(log: io.StringIO, layout: str) -> None:
    configure_logging("info", layout, log)  # type: ignore[arg-type]
    logger = logging.getLogger("dicomweb_archive.test")
    fields = {"route": "/studies/{study}", "status": 200, "duration_ms": 1.5, "forged": "a\nb"}
    logger.info("request", extra=fields)
    EventLog(logger, "request").write(logging.INFO, fields)
    EventLog(logger, "request").write(logging.DEBUG, fields)
    first, second = log.getvalue().splitlines()
    time_of = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
    assert time_of.sub("", second) == time_of.sub("", first) != first


def test_text_without_control_characters_stays_as_it_is() -> None:
    assert escape_control("Größe 山田 = 3") == "Größe 山田 = 3"


@pytest.mark.parametrize("layout", ["json", "text"])
def test_the_message_of_a_foreign_exception_stays_out(log: io.StringIO, layout: str) -> None:
    configure_logging("info", layout, log)  # type: ignore[arg-type]
    try:
        try:
            int("Doe^Jane")
        except ValueError as error:
            raise KeyError("Doe^Jane") from error
    except KeyError as error:
        logging.getLogger("dicomweb_archive.test").error("failed", exc_info=error)
    written = log.getvalue()
    assert "Doe" not in written
    assert "builtins.KeyError" in written
    assert "builtins.ValueError" in written
    assert "test_observability.py" in written


def test_a_task_that_failed_unseen_names_no_value(log: io.StringIO) -> None:
    configure_logging("info", "json", log)
    error = ValueError("Doe^Jane")
    text = f"Task exception was never retrieved\nfuture: <Task exception={error!r}>"
    logging.getLogger("asyncio").error(text, exc_info=error)
    assert "Doe" not in log.getvalue()
    assert json.loads(log.getvalue())["message"] == "Task exception was never retrieved"


def test_libraries_that_quote_values_are_silent(log: io.StringIO) -> None:
    configure_logging("info", "json", log)
    logging.getLogger("pydicom").warning("Invalid value for VR UI: %r", "Doe^Jane")
    logging.getLogger("httpx").info("HTTP Request: POST https://hooks.example.org/in?token=secret")
    assert log.getvalue() == ""


def test_what_libraries_warn_of_is_not_written_past_the_log(log: io.StringIO) -> None:
    with warnings.catch_warnings(record=True) as written:
        warnings.simplefilter("always")
        configure_logging("info", "json", log)
        # Pictures are drawn in the server's process, and read odd headers by pydicom.
        assert convert_encodings(["Doe^Jane"]) == ["iso8859"]
    assert [str(warning.message) for warning in written] == []


def test_debug_shows_the_messages_of_exceptions(log: io.StringIO) -> None:
    configure_logging("debug", "json", log)
    logging.getLogger("dicomweb_archive.test").error("failed", exc_info=KeyError("which"))
    assert json.loads(log.getvalue())["exception"] == ["builtins.KeyError: 'which'"]


def test_the_access_log_of_the_server_is_silent(log: io.StringIO) -> None:
    configure_logging("debug", "json", log)
    logging.getLogger("uvicorn.access").info("GET /dicom-web/studies?PatientName=Doe")
    assert log.getvalue() == ""


def test_requests_are_counted_by_route_method_and_status() -> None:
    metrics = Metrics()
    metrics.count_request("/dicom-web/studies", "GET", 200, seconds=0.01, bytes_in=0, bytes_out=20)
    metrics.count_request("/dicom-web/studies", "GET", 200, seconds=0.02, bytes_in=5, bytes_out=22)
    text = metrics.exposition().decode()
    assert 'dicomweb_requests_total{method="GET",route="/dicom-web/studies",status="200"} 2.0' in text
    assert 'dicomweb_sent_bytes_total{route="/dicom-web/studies"} 42.0' in text
    assert 'dicomweb_received_bytes_total{route="/dicom-web/studies"} 5.0' in text
    assert 'dicomweb_request_seconds_count{method="GET",route="/dicom-web/studies"} 2.0' in text


def test_invented_methods_share_one_label() -> None:
    metrics = Metrics()
    for method in ("BREW", "WHEN", "TRACE"):
        metrics.count_request("unmatched", method, 405, seconds=0, bytes_in=0, bytes_out=0)
    text = metrics.exposition().decode()
    assert 'dicomweb_requests_total{method="OTHER",route="unmatched",status="405"} 3.0' in text
    assert "BREW" not in text


def test_requests_are_summed_up_by_route() -> None:
    metrics = Metrics()
    for status in (200, 200, 503):
        metrics.count_request("/dicom-web/studies", "GET", status, seconds=0.5, bytes_in=0, bytes_out=10)
    metrics.count_request("/", "GET", 404, seconds=0.1, bytes_in=0, bytes_out=1)
    studies, home = metrics.totals()
    assert (studies.route, studies.requests, studies.failures, studies.sent_bytes) == ("/dicom-web/studies", 3, 1, 30)
    assert studies.seconds == pytest.approx(1.5)
    assert (home.requests, home.failures) == (1, 0)
