"""Search results as the server itself writes them, CSV or Parquet, where it offers that."""

from collections.abc import Callable
from typing import Final

import httpx

from dicomweb_archive.cli.client.connection import (
    RetryPolicy,
    Server,
    UnexpectedAnswerError,
    check_status,
    transport_failure,
)
from dicomweb_archive.cli.client.searching import Search

MEDIA_TYPES: Final = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}

_WHOLE_TABLE = 2**31 - 1


async def write_table_of_server(
    client: httpx.AsyncClient,
    server: Server,
    search: Search,
    form: str,
    write: Callable[[bytes], object],
    *,
    limit: int | None,
    retry: RetryPolicy,
) -> str | None:
    """Hand the server's own table on, piece by piece as it arrives.

    Returns:
        its warnings, empty when there are none; `None` when the server makes no such table, and nothing was written.

    Raises:
        UnexpectedAnswerError: the server refuses the search, or the answer broke off.
        ServerUnreachableError: no answer, or we are not let in.
    """
    url = search.url(server.root, limit=_WHOLE_TABLE if limit is None else limit, offset=0)
    media_type = MEDIA_TYPES[form]

    async def begin() -> httpx.Response:
        request = client.build_request("GET", url, headers={"Accept": media_type})
        try:
            response = await client.send(request, stream=True, follow_redirects=True)
        except httpx.TransportError as error:
            raise transport_failure(error) from error
        try:
            check_status(response)
        except BaseException:
            await response.aclose()
            raise
        return response

    response = await retry.run(begin)
    try:
        if response.status_code == 400:
            await response.aread()
            message = "the server answers 400 to the search"
            raise UnexpectedAnswerError(message)
        if response.status_code != 200 or not response.headers.get("content-type", "").startswith(media_type):
            return None
        async for piece in response.aiter_bytes():
            write(piece)
    except httpx.TransportError as error:
        message = "the connection broke in the middle of the table"
        raise UnexpectedAnswerError(message) from error
    finally:
        await response.aclose()
    return ", ".join(response.headers.get_list("warning"))
