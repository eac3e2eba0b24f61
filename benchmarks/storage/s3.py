"""Compare streaming a series from an S3 service with one raw ranged read of it, and with one request an instance.

    python -m benchmarks.storage.s3 [--instances 200] [--bytes 528000] [--rounds 7]

Starts a SeaweedFS of its own on loopback, so client and service share the processors: ratios count, and the
processor time is the client's alone. Rounds alternate between the contestants; each figure is the median round's.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from dicomweb_archive.cli.seaweedfs import BUCKET, REGION, SeaweedServer
from dicomweb_archive.services.representation import Part, multipart
from dicomweb_archive.storage.packs import Member, PackWriter, Placed, new_pack_key
from dicomweb_archive.storage.s3.place import S3Place
from dicomweb_archive.storage.s3.signature import EMPTY_SHA256, sign
from dicomweb_archive.storage.s3.store import S3Store
from dicomweb_archive.storage.spans import MIB, Span, stream_spans

_AT_ONCE = 8


class Bench:
    """One series in a bucket, written and read again and again."""

    def __init__(self, place: S3Place, store: S3Store, members: list[Member]) -> None:
        self.place = place
        self.store = store
        self.members = members
        self.key = ""
        self.placed: list[Placed] = []

    async def write_pack(self) -> None:
        """A pack as a store request writes it."""
        if self.key:
            await self.store.delete(self.key)
        self.key = new_pack_key()
        pack = await PackWriter.create(self.store, self.key)
        self.placed = []
        for start in range(0, len(self.members), 4):
            self.placed += await pack.append(self.members[start : start + 4])
        await pack.close()

    async def raw_ranged_read(self) -> None:
        """The limit: one signed request for all the bytes, which are counted and dropped."""
        end = self.placed[-1].offset + self.placed[-1].length
        headers = sign(
            "GET",
            self.place.path_of(self.key),
            "",
            {"host": self.place.origin[1], "range": f"bytes=0-{end - 1}"},
            payload_sha256=EMPTY_SHA256,
            now=datetime.now(UTC),
            region=REGION,
            access_key_id=self.place.access_key_id,
            secret_access_key=self.place.secret_access_key,
        )
        url = self.place.endpoint_url + self.place.path_of(self.key)
        received = 0
        async with aiohttp.ClientSession(read_bufsize=MIB) as session, session.get(url, headers=headers) as answer:
            async for chunk in answer.content.iter_any():
                received += len(chunk)
        assert received == end

    async def stream_spans(self) -> None:
        """The members as the retrieve transaction reads them."""
        received = 0
        async for piece in stream_spans(self.store, self._spans()):
            received += len(piece)
        assert received == sum(place.length for place in self.placed)

    async def multipart_body(self) -> None:
        """The payload of a series, looked up before and framed, as the server sends it."""
        parts = [Part("application/dicom", "http://archive.example/instance", (span,)) for span in self._spans()]
        answer = await multipart(self.store, "application/dicom", lambda: parts)
        received = 0
        async for piece in answer.chunks:
            received += len(piece)
        assert received == answer.content_length

    async def one_request_an_instance(self) -> None:
        """Each member by a request of ours, eight at once."""

        async def read(span: Span) -> None:
            await self.store.read(*span)

        await _eight_at_once([read(span) for span in self._spans()])

    async def one_request_an_instance_by_aiobotocore(self) -> None:
        """Each member by the general client, eight at once."""
        async with _client(self.place) as client:

            async def read(span: Span) -> None:
                wanted = f"bytes={span.offset}-{span.offset + span.length - 1}"
                answer = await client.get_object(Bucket=self.place.bucket, Key=span.key, Range=wanted)
                assert len(await answer["Body"].read()) == span.length

            await _eight_at_once([read(span) for span in self._spans()])

    def _spans(self) -> list[Span]:
        return [Span(self.key, place.offset, place.length) for place in self.placed]


@asynccontextmanager
async def _client(place: S3Place) -> AsyncIterator[object]:
    config = AioConfig(signature_version="s3v4", response_checksum_validation="when_required")
    async with AioSession().create_client(
        "s3",
        endpoint_url=place.endpoint_url,
        region_name=place.region,
        aws_access_key_id=place.access_key_id,
        aws_secret_access_key=place.secret_access_key,
        config=config,
    ) as client:
        yield client


async def _eight_at_once(reads: list[Awaitable[None]]) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(read: Awaitable[None]) -> None:
        async with gate:
            await read

    await asyncio.gather(*map(one, reads))


async def measure(bench: Bench, rounds: int) -> None:
    """Run the contestants in turn and print the median of each."""
    contestants: list[Callable[[], Awaitable[None]]] = [
        bench.write_pack, bench.raw_ranged_read, bench.stream_spans, bench.multipart_body,
        bench.one_request_an_instance, bench.one_request_an_instance_by_aiobotocore,
    ]  # fmt: skip
    size = sum(len(member.data) for member in bench.members)
    taken: dict[str, list[tuple[float, float]]] = {contestant.__name__: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant in contestants:
            wall, processor = time.perf_counter(), time.process_time()
            await contestant()
            taken[contestant.__name__].append((time.perf_counter() - wall, time.process_time() - processor))
    print(f"{len(bench.members)} instances of {len(bench.members[0].data)} bytes, median of {rounds} rounds")
    raw = [wall for wall, _ in taken["raw_ranged_read"]]
    for name, found in taken.items():
        wall = statistics.median(item[0] for item in found)
        processor = statistics.median(item[1] for item in found)
        # Within each round, so that a busy minute counts for both.
        ratio = statistics.median(limit / item[0] for limit, item in zip(raw, found, strict=True))
        print(
            f"{name:>40} {size / wall / 1e6:7.0f} MB/s  {ratio:5.2f} of the raw read  "
            f"{processor / size * 1e9:6.2f} ms of CPU a MB"
        )


async def run(server: SeaweedServer, arguments: argparse.Namespace) -> None:
    """Open the store and measure."""
    place = S3Place(
        endpoint_url=server.endpoint_url,
        region=REGION,
        bucket=BUCKET,
        prefix="",
        access_key_id=server.access_key_id,
        secret_access_key=server.secret_access_key,
    )
    store = await S3Store.open_bucket(place)
    members = [Member(f"1.2.{number}.dcm", os.urandom(arguments.bytes)) for number in range(arguments.instances)]
    await measure(Bench(place, store, members), arguments.rounds)
    await store.close()


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--bytes", type=int, default=528_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, SeaweedServer(Path(folder), durable=False) as server:
        uvloop.run(run(server, arguments))


if __name__ == "__main__":
    main()
