"""Archives of given sizes, each built once in a folder of its own and kept."""

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.search_scale import elements, headers
from benchmarks.search_scale.headers import Shape
from benchmarks.search_scale.kinds import Archive
from benchmarks.search_scale.load import fill
from dicomweb_archive.index.database.embedded import EmbeddedPostgres
from dicomweb_archive.index.database.engine import connect
from dicomweb_archive.index.database.migrate import upgrade

TABLE_SIZES = """
select relname as table, pg_total_relation_size(oid) - pg_indexes_size(oid) as rows, pg_indexes_size(oid) as indexes
from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace and pg_relation_size(oid) > 0
order by pg_total_relation_size(oid) desc
"""


@contextmanager
def archive_of(
    kept: Path, instances: int, shape: Shape, *, sample: int, workers: int
) -> Iterator[tuple[str, Archive, dict[str, object]]]:
    """Start the archive of this size, built before if it is not there or was built by another release.

    Yields its URL, what is in it, and what is known of its building: seconds, and bytes by table.
    """
    folder = kept / f"{shape.series_per_study}x{shape.series_length}-{instances}"
    note = folder / "built.json"
    made_by = asdict(shape) | {"instances": instances, "headers": _generation()}
    built = json.loads(note.read_text("utf-8")) if note.exists() else {}
    fresh = built.get("made_by") != made_by
    if fresh and folder.exists():
        shutil.rmtree(folder)
    for passable in (kept, folder):
        # Passable, not readable: the cluster in it belongs to another user when we are root.
        passable.mkdir(mode=0o711, parents=True, exist_ok=True)
        passable.chmod(0o711)
    archive = Archive(shape, shape.studies(instances))
    with EmbeddedPostgres(folder, durable=False) as postgres:
        if fresh:
            start = time.perf_counter()
            asyncio.run(_build(postgres.url, archive, sample=sample, workers=workers))
            built = {"made_by": made_by, "seconds": round(time.perf_counter() - start)}
        else:
            asyncio.run(upgrade(postgres.url))
        built["tables"] = asyncio.run(_table_sizes(postgres.url))
        note.write_text(json.dumps(built, indent=1), "utf-8")
        yield postgres.url, archive, built


async def _build(url: str, archive: Archive, *, sample: int, workers: int) -> None:
    await upgrade(url)
    await fill(url, archive.shape, archive.studies, sample=sample, workers=workers)


async def _table_sizes(url: str) -> dict[str, dict[str, int]]:
    connection = await connect(url)
    try:
        rows = await connection.fetch(TABLE_SIZES)
    finally:
        await connection.close()
    return {row["table"]: {"rows": row["rows"], "indexes": row["indexes"]} for row in rows}


def _generation() -> str:
    """Tell one way of making headers from another: archives made otherwise are built anew."""
    digest = hashlib.blake2b(digest_size=8)
    for module in (elements, headers):
        assert module.__file__ is not None
        digest.update(Path(module.__file__).read_bytes())
    return digest.hexdigest()
