"""Cutting what is sent into requests."""

from pathlib import Path

from dicomweb_archive.cli.client.batches import Batcher
from dicomweb_archive.cli.client.sources import Source


def _source(size: int, uid: str | None = None) -> Source:
    return Source(str(size), Path(str(size)), size, 0, sop_instance_uid=uid)


def _batches(batcher: Batcher, sources: list[Source]) -> list[list[int]]:
    batches = [*batcher.add(sources), *batcher.rest()]
    return [[source.size_bytes for source in batch] for batch in batches]


def test_a_batch_is_closed_before_it_is_too_large() -> None:
    assert _batches(Batcher(100, 99), [_source(size) for size in (60, 40, 1, 99, 100)]) == [
        [60, 40],
        [1, 99],
        [100],
    ]


def test_a_batch_is_closed_when_it_has_enough_files() -> None:
    assert _batches(Batcher(100, 2), [_source(1)] * 5) == [[1, 1], [1, 1], [1]]


def test_a_file_larger_than_a_batch_goes_alone() -> None:
    assert _batches(Batcher(100, 9), [_source(5), _source(500), _source(6)]) == [[5], [500], [6]]


def test_a_repeated_instance_waits_for_the_next_round() -> None:
    batcher = Batcher(100, 9)
    sources = [_source(1, "1.2"), _source(2, "1.3"), _source(3, "1.2"), _source(4), _source(5, "1.2")]
    assert _batches(batcher, sources) == [[1, 2, 4]]
    assert [source.size_bytes for source in batcher.repeated] == [3, 5]
    following = Batcher(100, 9)
    assert _batches(following, batcher.repeated) == [[3]]
    assert [source.size_bytes for source in following.repeated] == [5]


def test_nothing_gives_no_batch() -> None:
    assert _batches(Batcher(100, 9), []) == []
