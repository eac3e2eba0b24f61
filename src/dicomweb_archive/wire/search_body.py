"""The body of a search by POST: a JSON object whose members are the parameters of a search."""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from dicomweb_archive.errors import InvalidParameterError, InvalidRequestError
from dicomweb_archive.wire.attribute_paths import harmless
from dicomweb_archive.wire.json_checks import check_members, check_nesting
from dicomweb_archive.wire.search_limits import SearchLimits

_LISTS = {"includefield": ",", "orderby": ","}
_SEVERAL_VALUES = "\\"
_PLACES = ("offset", "page_token")
_DEPTH = 80


def read_search_body(raw: bytes, limits: SearchLimits) -> list[tuple[str, str]]:
    """Read a body as names and values, as if they had stood in the query string.

    Lists are joined as the parameter has it there. A filter may be an object of CQL2 JSON or a text.

    Raises:
        InvalidRequestError: it is no JSON object.
        InvalidParameterError: it nests too deep, has too many members or one twice, or a member has no value for a
            parameter.
    """
    check_nesting(raw, "the body", _DEPTH)
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise InvalidRequestError("the body must be a JSON object in UTF-8 whose members are parameters of a search")
    # As in a query string.
    check_members(raw)
    if len(body) > limits.parameters:
        raise InvalidParameterError("the body", accepted=f"at most {limits.parameters} members")
    if isinstance(body.get("filter"), dict):
        if body.setdefault("filter-lang", "cql2-json") != "cql2-json":
            raise InvalidParameterError("filter-lang", accepted="cql2-json beside a filter that is an object")
        body["filter"] = orjson.dumps(body["filter"]).decode()
    return list(_pairs(body))


def join_body(address: Sequence[tuple[str, str]], body: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Join the parameters of the address and of the body of a search by POST.

    A page token in the address, where the `Link` of a page before has put it, stands before the `offset` and
    `page_token` of the body, so that the same body may be posted to each such link.
    """
    goes_on = any(name == "page_token" for name, _ in address)
    return [*address, *(pair for pair in body if not (goes_on and pair[0] in _PLACES))]


def _pairs(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in body.items():
        told = harmless(name) or "a parameter"
        entries = value if isinstance(value, list) else [value]
        text = _LISTS.get(name, _SEVERAL_VALUES).join(_text(told, entry) for entry in entries)
        if "\0" in text or "\0" in name:
            raise InvalidParameterError(told, accepted="text without NUL")
        yield name, text


def _text(name: str, value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
    raise InvalidParameterError(name, accepted="a text, a number, true or false, or a list of these")
