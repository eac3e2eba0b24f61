"""The bare limits of S3: one raw ranged read of a pack by the client library that the archive uses, and its relays."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import aiohttp

from benchmarks.retrieve.servers import Server
from benchmarks.transactions.__main__ import served
from dicomweb_archive.cli.seaweedfs import BUCKET, REGION, SeaweedServer
from dicomweb_archive.storage.s3.place import S3Place
from dicomweb_archive.storage.s3.signature import EMPTY_SHA256, sign
from dicomweb_archive.storage.s3.store import S3Store

_BUFFER_BYTES = 1024 * 1024


def place_of(server: SeaweedServer) -> S3Place:
    """Say where the objects of the archive on this service lie."""
    return S3Place(server.endpoint_url, REGION, BUCKET, "", server.access_key_id, server.secret_access_key)


async def largest_object(place: S3Place) -> tuple[str, int]:
    """Return key and size of the largest object, which is the pack of a series."""
    store = await S3Store.open_bucket(place)
    try:
        found = [item async for item in store.list()]
    finally:
        await store.close()
    largest = max(found, key=lambda item: item.size_bytes)
    return largest.key, largest.size_bytes


@contextmanager
def relay(place: S3Place, key: str, size: int, *, step: int) -> Iterator[Server]:
    """Run a server that passes the object on, whole or by a request for each step."""
    with served(
        "benchmarks.retrieve.relay:app",
        RELAY_URL=place.endpoint_url + place.path_of(key),
        RELAY_SIZE=str(size),
        RELAY_STEP=str(step),
        RELAY_REGION=place.region,
        RELAY_KEY_ID=place.access_key_id,
        RELAY_KEY=place.secret_access_key,
    ) as server:
        yield Server("relay", server.url, server.pid)


def raw_read(place: S3Place, key: str, size: int) -> tuple[float, float]:
    """Read the object by one request, drop its bytes, and return wall and processor seconds."""
    processor, begun = time.process_time(), time.perf_counter()
    asyncio.run(_raw_read(place, key, size))
    return time.perf_counter() - begun, time.process_time() - processor


async def _raw_read(place: S3Place, key: str, size: int) -> None:
    headers = sign(
        "GET",
        place.path_of(key),
        "",
        {"host": place.origin[1], "range": f"bytes=0-{size - 1}"},
        payload_sha256=EMPTY_SHA256,
        now=datetime.now(UTC),
        region=REGION,
        access_key_id=place.access_key_id,
        secret_access_key=place.secret_access_key,
    )
    url, received = place.endpoint_url + place.path_of(key), 0
    async with (
        aiohttp.ClientSession(read_bufsize=_BUFFER_BYTES) as session,
        session.get(url, headers=headers) as answer,
    ):
        async for chunk in answer.content.iter_any():
            received += len(chunk)
    assert received == size
