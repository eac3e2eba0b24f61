"""Dry runs of edits hold and try no more than so many kinds of work of a series."""

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from dicomweb_archive.errors import ObjectNotFoundError
from dicomweb_archive.services.edits import preview as previews


def planned(number: int, *changes: str) -> Any:
    """Say that an instance is edited to text that is not ASCII, beside other such text of its own."""
    layout = SimpleNamespace(transfer_syntax_uid="1.2", pixel_data=None)
    instance = SimpleNamespace(
        texts=lambda: {8: f"\u00e4{number}".encode()},
        layout=layout,
        sop_instance_uid=str(number),
        place=SimpleNamespace(length=1, object_key="gone", offset=0),
        digest=b"",
    )
    operation = SimpleNamespace(parents=(), tag=16, vr="PN", text="\u00fc")
    return SimpleNamespace(
        instance=instance, plan=SimpleNamespace(operations=[operation], changes=changes or ["change"])
    )


@pytest.fixture
def kinds() -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    previews._sort(previews.EditPreview(), found, [planned(number) for number in range(1000)])
    return found


def test_kinds_beyond_some_are_told_apart_by_their_encoding_alone(kinds: dict[Any, Any]) -> None:
    assert len(kinds) == previews._MOST_KINDS + 1
    assert sum(kind.instances for kind in kinds.values()) == 1000


def test_trying_ends_with_the_time(kinds: dict[Any, Any]) -> None:
    tried = []

    async def read(key: str, *_: int) -> bytes:
        tried.append(key)
        raise ObjectNotFoundError(key)

    objects: Any = SimpleNamespace(streaming=SimpleNamespace(read=read))
    preview = previews.EditPreview()
    previewer = previews.EditPreviewer(content=SimpleNamespace(), objects=objects)  # type: ignore[arg-type]
    asyncio.run(previewer._try(preview, SimpleNamespace(), kinds, time.monotonic() - 1))  # type: ignore[arg-type]
    assert (tried, preview.complete) == (["gone"], False)


def test_different_changes_are_bounded_in_all_kinds_together() -> None:
    preview, kinds = previews.EditPreview(), {}
    for number in range(3):
        changes = [f"{number}/{change}" for change in range(previews.MOST_CHANGES // 2)]
        previews._sort(preview, kinds, [planned(number, *changes)])
        assert preview.complete is (number < 2)
    assert sum(len(kind.changes) for kind in kinds.values()) == previews.MOST_CHANGES


def test_a_dry_run_that_leaves_series_out_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(previews, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def series(_: int) -> AsyncIterator[Any]:
        yield SimpleNamespace(id=1)
        # Trying a file of it took long.
        now[0] = 100.0
        yield SimpleNamespace(id=2)

    async def segments(_: int) -> list[Any]:
        return []

    content: Any = SimpleNamespace(series=series, segments=segments)
    previewer = previews.EditPreviewer(content, SimpleNamespace())  # type: ignore[arg-type]
    submission: Any = SimpleNamespace(space_id=1)
    rules: Any = None
    assert not asyncio.run(previewer.preview(submission, rules, seconds=20)).complete
