"""The picture cache: bounded, and each picture is drawn once."""

import asyncio

import pytest

from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.services.picture_cache import PictureCache


class Artist:
    """Draws pictures of one size and counts them."""

    def __init__(self, size: int = 100) -> None:
        self.drawn = 0
        self.size = size

    async def draw(self) -> bytes:
        self.drawn += 1
        await asyncio.sleep(0)
        return bytes(self.size)


async def test_those_who_ask_at_once_share_one_picture() -> None:
    cache, artist = PictureCache(), Artist()
    pictures = await asyncio.gather(*(cache.get("tag", artist.draw) for _ in range(20)))
    assert pictures == [bytes(100)] * 20
    assert artist.drawn == 1
    assert await cache.get("other", artist.draw)
    assert artist.drawn == 2


async def test_what_was_not_asked_for_longest_goes_first() -> None:
    cache, artist = PictureCache(capacity_bytes=100 * (100 + 300)), Artist()
    for number in range(100):
        await cache.get(f"{number}", artist.draw)
    await cache.get("0", artist.draw)
    assert artist.drawn == 100
    await cache.get("one more", artist.draw)
    await cache.get("0", artist.draw)
    assert artist.drawn == 101
    await cache.get("1", artist.draw)
    assert artist.drawn == 102


async def test_a_large_picture_is_not_kept() -> None:
    cache, artist = PictureCache(capacity_bytes=32_000), Artist(size=1001)
    await cache.get("tag", artist.draw)
    await cache.get("tag", artist.draw)
    assert artist.drawn == 2


async def test_a_failure_is_not_kept() -> None:
    cache, artist = PictureCache(), Artist()

    async def fail() -> bytes:
        raise UndecodableError

    with pytest.raises(UndecodableError):
        await cache.get("tag", fail)
    assert await cache.get("tag", artist.draw) == bytes(100)
