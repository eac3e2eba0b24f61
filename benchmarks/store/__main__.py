"""Store instances of several shapes, in batches of several sizes, into archives of ours and into peers, in turn.

    python -m benchmarks.store [--shapes ct,small] [--batches 1,50] [--rounds 3] [--stores folder,s3]
        [--destinations archive,collection,curated,submission]
        [--peer NAME URL PID,PID...]...

An archive runs as `serve` does: two workers, a private PostgreSQL with fsync, a folder or a SeaweedFS of its own. Its
destinations: `archive` is the root of what is published, where the structural checks judge each instance on its way
in; `collection` is another automatic collection; in a `curated` one and in a `submission` everything waits. A peer is
running already, by the same user on the same machine, and is given by its URL and its processes, whose children count
too. Servers take turns within each round, so that a busy machine hits each alike. Every instance has to be answered
for. Processor time is that of all processes of a server, its database with them, per instance; the S3 service is
left out. Memory is the most that all of them had at a time, without what they map from files; what forked processes
share counts in each.

What is refused is sent again, which is counted; ours should never refuse anything here.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from benchmarks.store.client import Cell, Taken, store
from benchmarks.store.servers import StoreServer, archive, archive_on_s3
from benchmarks.store.shapes import SHAPES, Shape

DESTINATIONS = ("archive", "collection", "curated", "submission")

_MOST_BYTES = 512 * 1024 * 1024
"""No cell stores more, however many instances it is asked for."""

_WARMING_INSTANCES = 200


def cells(arguments: argparse.Namespace) -> list[Cell]:
    """Everything that is measured."""
    found = []
    for shape in (SHAPES[name] for name in arguments.shapes.split(",")):
        for batch in map(int, arguments.batches.split(",")):
            clients = arguments.single_clients if batch == 1 else arguments.clients
            found.append(Cell(shape, batch, clients, _instances(shape, batch, clients, arguments.instances)))
    return found


def _instances(shape: Shape, batch: int, clients: int, asked: int) -> int:
    # Single instances are slow to store, a few hundred of them say enough.
    wanted = asked // 4 if batch == 1 else max(asked, batch * clients)
    return max(1, min(wanted, _MOST_BYTES // shape.instance_bytes))


@contextmanager
def servers(arguments: argparse.Namespace, folder: Path) -> Iterator[list[StoreServer]]:
    """Run our archives, and give them by store and destination, with the peers."""
    with ExitStack() as opened:
        found = []
        for store_name in filter(None, arguments.stores.split(",")):
            if store_name == "s3":
                context = archive_on_s3("s3", folder / "s3", workers=arguments.workers)
            else:
                context = archive("folder", folder / "folder", workers=arguments.workers)
            server = opened.enter_context(context)
            found += [destination(server, name) for name in arguments.destinations.split(",")]
        for name, url, pids in arguments.peer or ():
            found.append(StoreServer(name, url.rstrip("/"), [int(pid) for pid in pids.split(",")], is_peer=True))
        yield found


def destination(server: StoreServer, name: str) -> StoreServer:
    """Return the server with the root of a destination, which is made for it."""
    if name == "archive":
        return replace(server, name=f"{server.name} {name}")
    base = server.root.removesuffix(urlsplit(server.root).path)
    if name == "submission":
        made = httpx.post(f"{base}/submissions", json={"title": "a benchmark"}).raise_for_status().json()
    else:
        policy = "curated" if name == "curated" else "automatic"
        asked = {"title": f"a benchmark, {name}", "policy": policy}
        made = httpx.post(f"{base}/collections", json=asked).raise_for_status().json()
    # Studies have one home, so destinations of an archive count theirs together.
    return replace(server, name=f"{server.name} {name}", root=made["dicomweb"])


def measure(asked: Sequence[Cell], contestants: Sequence[StoreServer], arguments: argparse.Namespace) -> None:
    """Store every cell into every server in turn, and print a table as it grows."""
    print(
        f"{'shape':>8} {'batch':>5} {'clients':>7}  {'':<20} {'1/s':>7} {'MB/s':>6} {'CPU ms':>7} {'MB':>6} "
        f"{'answer':>7}  rates and CPU beside the better peer, by round"
    )
    for cell in asked:
        taken: dict[str, list[Taken]] = {server.name: [] for server in contestants}
        for server in contestants:
            store(server, replace(cell, instances=min(cell.instances, _WARMING_INSTANCES)))
        for number in range(arguments.rounds):
            for server in contestants if number % 2 == 0 else reversed(contestants):
                taken[server.name].append(store(server, cell, settle_seconds=arguments.settle))
        peers = [taken[server.name] for server in contestants if server.is_peer]
        for server in contestants:
            print(_line(server, taken[server.name], [] if server.is_peer else peers), flush=True)


def _line(server: StoreServer, found: Sequence[Taken], peers: Sequence[Sequence[Taken]]) -> str:
    cell = found[0].cell
    rate = statistics.median(each.rate for each in found)
    processor = statistics.median(each.processor_milliseconds for each in found)
    memory = max(each.memory_bytes for each in found) / 1e6
    answer = statistics.median(each.answer_seconds for each in found) * 1000
    return (
        f"{cell.shape.name:>8} {cell.batch:5} {cell.clients:7}  {server.name:<20} {rate:7.0f} "
        f"{rate * cell.shape.instance_bytes / 1e6:6.0f} {processor:7.2f} {memory:6.0f} {answer:7.1f}  "
        f"{_beside(found, peers)}{_refusals(found)}"
    )


def _refusals(found: Sequence[Taken]) -> str:
    count = sum(each.refusals for each in found)
    return f"  {count} refused and sent again" if count else ""


def _beside(found: Sequence[Taken], peers: Sequence[Sequence[Taken]]) -> str:
    """Say by round how many times the rate of the quickest peer, and which part of the least processor time."""
    if not peers:
        return ""
    rounds = list(zip(found, *peers, strict=True))
    rates = [ours.rate / max(each.rate for each in theirs) for ours, *theirs in rounds]
    costs = [ours.processor_seconds / min(each.processor_seconds for each in theirs) for ours, *theirs in rounds]
    return (
        f"{statistics.median(rates):.2f} ({', '.join(f'{ratio:.1f}' for ratio in rates)})  "
        f"{statistics.median(costs):.2f} ({', '.join(f'{ratio:.2f}' for ratio in costs)})"
    )


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shapes", default="ct,small,studies", help=", ".join(SHAPES))
    options.add_argument("--batches", default="1,50,500", help="instances in a request")
    options.add_argument("--instances", type=int, default=1200, help="of a round; a quarter of them one by one")
    options.add_argument("--clients", type=int, default=4, help="that send batches")
    options.add_argument("--single-clients", type=int, default=8, help="that send one by one")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--stores", default="folder", help="folder, s3; empty: peers alone")
    options.add_argument("--destinations", default="archive", help=", ".join(DESTINATIONS))
    options.add_argument("--workers", type=int, default=2, help="of an archive")
    options.add_argument("--settle", type=float, default=0, help="seconds after a round whose processor time counts")
    options.add_argument("--folder", type=Path, help="in which the archives keep what is stored; else a temporary one")
    options.add_argument("--peer", nargs=3, action="append", metavar=("NAME", "URL", "PIDS"))
    return options


def main() -> None:
    """Measure and print the table."""
    arguments = parser().parse_args()
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as name,
        servers(arguments, Path(name)) as contestants,
    ):
        measure(cells(arguments), contestants, arguments)


if __name__ == "__main__":
    main()
