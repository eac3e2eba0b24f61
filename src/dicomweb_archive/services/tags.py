"""Tags: which attributes the archive holds, in how many series, as far as the caller may see them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from dicomweb_archive.dicom.held_attributes import HeldAttribute, held_attribute
from dicomweb_archive.index.upkeep.held_paths import HeldPath, HeldPaths, HeldPathsIndex
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.services.kept import Kept

# Columns of the tables of instances, series and studies: every instance has them, and no segment lists them.
_UNIQUE = ("00080018", "0020000D", "0020000E")


@dataclass(frozen=True, slots=True)
class Tag:
    """An attribute and what the archive has of it: the number of series that have it, and in which it varies."""

    attribute: HeldAttribute
    vr: str
    series: int
    varies_in: int


@dataclass(frozen=True, slots=True)
class TagPage:
    """Some of the attributes, by path.

    Attributes:
        total: how many pass the filter.
        series: how many series there are.
        complete: every series has been counted; else what was stored last is not yet.
    """

    tags: Sequence[Tag]
    total: int
    series: int
    complete: bool


@dataclass(frozen=True, slots=True)
class TagService:
    """Lists attributes on behalf of a principal; what it may not see does not exist for it."""

    index: HeldPathsIndex
    kept: Kept[HeldPaths] = field(default_factory=Kept)

    async def list_tags(
        self,
        principal: Principal,
        study_instance_uid: str | None = None,
        *,
        prefix: str = "",
        text: str = "",
        limit: int,
        offset: int = 0,
    ) -> TagPage:
        """List the attributes of the archive, or of one study.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not search.
            NotFoundError, GoneError: there is no such study that it may see.
            QueryTooExpensiveError: counting ran into the time limit.
            DatabaseUnavailableError: trying again later may help.
        """
        require(principal, Role.READER)
        held = await self._held(principal, study_instance_uid)
        tags = await asyncio.to_thread(_filtered, held, prefix, text)
        return TagPage(tags[offset : offset + limit], len(tags), held.series, held.complete)

    async def close(self) -> None:
        """Give up what is being counted."""
        await self.kept.close()

    async def _held(self, principal: Principal, study_instance_uid: str | None) -> HeldPaths:
        visibility = principal.sees
        if study_instance_uid is not None:
            return await self.index.count(visibility, study_instance_uid)

        async def ask() -> HeldPaths:
            return await self.index.count(visibility)

        return (await self.kept.get(visibility, ask)).value


def _filtered(held: HeldPaths, prefix: str, text: str) -> list[Tag]:
    unique = [HeldPath(path, "UI", held.series, held.series if path == _UNIQUE[0] else 0) for path in _UNIQUE]
    everything = sorted([*held.paths, *(unique if held.series else [])], key=lambda each: each.path)
    tags = [Tag(held_attribute(each.path), each.vr, each.series, each.varies_in) for each in everything]
    return [tag for tag in tags if tag.attribute.starts_with(prefix) and tag.attribute.contains(text)]
