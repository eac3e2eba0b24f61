"""A list of series in the body of a request: JSON objects with the UIDs that a search for series has answered."""

import orjson

from dicomweb_archive.errors import InvalidRequestError, RequestTooLargeError
from dicomweb_archive.wire.json_checks import check_nesting
from dicomweb_archive.wire.resources import parse_uid

MOST_SERIES = 1000
MOST_BYTES = 256 * 1024

_DEPTH = 3
_GRAMMAR = "the body must be a JSON array of objects with StudyInstanceUID and SeriesInstanceUID"


def read_series_list(raw: bytes) -> list[tuple[str, str]]:
    """Read a body as UIDs of study and series, each series once, in the order of the list.

    Raises:
        InvalidRequestError: it has another grammar, is empty, or what it names is no UID.
        RequestTooLargeError: it names too many series.
    """
    check_nesting(raw, "the body", _DEPTH)
    try:
        entries = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise InvalidRequestError(_GRAMMAR) from None
    if not isinstance(entries, list) or not entries:
        raise InvalidRequestError(_GRAMMAR)
    if len(entries) > MOST_SERIES:
        raise RequestTooLargeError(f"more than {MOST_SERIES} series in one request")
    return list(dict.fromkeys(map(_series, entries)))


def _series(entry: object) -> tuple[str, str]:
    if not isinstance(entry, dict):
        raise InvalidRequestError(_GRAMMAR)
    study, series = entry.get("StudyInstanceUID"), entry.get("SeriesInstanceUID")
    if not isinstance(study, str) or not isinstance(series, str) or len(entry) > 2:
        raise InvalidRequestError(_GRAMMAR)
    return parse_uid(study, "study"), parse_uid(series, "series")
