"""What stands for a study is chosen once for all who ask, and never keeps others waiting."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dicomweb_archive.dicom.representative import InstanceOutline, SeriesOutline
from dicomweb_archive.errors import NotFoundError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.reading.representatives import Revision
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services import thumbnails
from dicomweb_archive.services.thumbnails import Choice, Choices, ThumbnailService

CHOICE = Choice(Scope("1.2", "1.2.3", "1.2.3.4"), b"digest", 1)
REVISION = Revision("study", 1, 7)


@pytest.mark.parametrize("choice", [CHOICE, None], ids=["found", "nothing to show"])
async def test_a_choice_is_made_once_however_many_ask_at_the_same_time(choice: Choice | None) -> None:
    choices, made = Choices(), 0

    async def choose() -> Choice | None:
        nonlocal made
        made += 1
        await asyncio.sleep(0.01)
        return choice

    found = await asyncio.gather(*(choices.get(REVISION, choose) for _ in range(10)))
    assert (set(found), made) == ({choice}, 1)
    assert await choices.get(REVISION, choose) == choice
    assert made == 1
    await choices.get(Revision("study", 1, 8), choose)
    await choices.get(Revision("series", 1, 7), choose)
    assert made == 3, "another revision, and another level, is another choice"


async def test_a_choice_that_failed_is_made_anew() -> None:
    choices = Choices()

    async def fail() -> Choice | None:
        raise NotFoundError("deleted meanwhile")

    async def choose() -> Choice | None:
        return CHOICE

    with pytest.raises(NotFoundError):
        await choices.get(REVISION, fail)
    assert await choices.get(REVISION, choose) == CHOICE


async def test_thousands_of_instances_are_ranked_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def rank(outlines: list[InstanceOutline], modality: str) -> list[InstanceOutline]:
        threads.append(threading.current_thread())
        return []

    async def series(*_: object) -> list[SeriesOutline]:
        return [SeriesOutline(1, "1.2.3", "CT", (), has_rows=True)]

    sizes = iter((10, 10_000))

    async def instances(_: object) -> list[InstanceOutline]:
        return [InstanceOutline(1, position, None, ()) for position in range(next(sizes))]

    monkeypatch.setattr(thumbnails, "rank_instances", rank)
    index = cast("Any", SimpleNamespace(series=series, instances=instances))
    service = ThumbnailService(index, cast("Any", None), cast("Any", None))
    for _ in range(2):
        assert await service._choose(Scope("1.2"), Visibility()) is None
    assert [thread is threading.main_thread() for thread in threads] == [True, False]
