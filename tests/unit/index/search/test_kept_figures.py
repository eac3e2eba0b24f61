"""Kept figures: while the database is asked whether one still holds, others come and go."""

from collections.abc import Callable

from dicomweb_archive.index.search.kept_figures import KeptFigures


class AskedMeanwhile:
    """A connection on which something else happens before it answers."""

    def __init__(self, revision: str, meanwhile: Callable[[], None]) -> None:
        self.revision = revision
        self.meanwhile = meanwhile

    async def fetchval(self, _: str) -> str:
        self.meanwhile()
        return self.revision


async def test_a_figure_that_another_search_has_put_out_meanwhile_is_not_found():
    figures = KeptFigures()
    ours, others = figures.name("text", [1]), figures.name("text", [2])
    figures.keep(ours, "before", 7)
    connection = AskedMeanwhile("after", lambda: figures.keep(others, "after", 8))
    assert await figures.find(connection, ours) is None
    assert await figures.find(AskedMeanwhile("after", lambda: None), others) == 8


async def test_a_figure_that_had_to_make_room_meanwhile_is_not_found():
    figures = KeptFigures(1)
    ours, others = figures.name("text", [1]), figures.name("text", [2])
    figures.keep(ours, "now", 7)
    connection = AskedMeanwhile("now", lambda: figures.keep(others, "now", 8))
    assert await figures.find(connection, ours) is None
