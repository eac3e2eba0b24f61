"""Thumbnails: one small picture for a study, a series, an instance or a frame (PS3.18 10.4.1.1.4)."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple
from weakref import WeakValueDictionary

from dicomweb_archive.dicom.representative import middle_frame, rank_instances, rank_series
from dicomweb_archive.errors import NotFoundError
from dicomweb_archive.imaging.picture import Picture
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.reading.instances import InstanceIndex, InstanceLocation
from dicomweb_archive.index.reading.representatives import RepresentativeIndex, Revision
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.services.instance_bytes import can_convert, pixels_of
from dicomweb_archive.services.picture_cache import PictureCache
from dicomweb_archive.services.pictures import Drawing, Pictures, picture_tag
from dicomweb_archive.wire.media_types import Acceptable
from dicomweb_archive.wire.rendered_media_types import PICTURES

THUMBNAIL_SIZE = (256, 256)
"""What a thumbnail fits into when no viewport is asked for; smaller images stay as small as they are."""

# Series and instances looked at before a study is taken to have nothing to show.
_MOST_SERIES = 8
_MOST_INSTANCES = 4
_MOST_CHOICES = 20_000
# So many take a millisecond.
_RANKED_AT_ONCE = 500


class Choice(NamedTuple):
    """What stands for a study or series at one revision."""

    scope: Scope
    digest: bytes
    frame: int


@dataclass(slots=True)
class Choices:
    """Choices of this process by revision, least recently used out first; `None`: there is nothing to show."""

    _kept: OrderedDict[Revision, Choice | None] = field(default_factory=OrderedDict)
    _locks: WeakValueDictionary[Revision, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def get(self, revision: Revision, choose: Callable[[], Awaitable[Choice | None]]) -> Choice | None:
        """Return what was chosen, or is chosen now; what `choose` raises is raised."""
        # A page of results asks for many at once, and of a large series ten thousand instances are looked at.
        async with self._locks.setdefault(revision, asyncio.Lock()):
            if revision in self._kept:
                self._kept.move_to_end(revision)
                return self._kept[revision]
            choice = self._kept[revision] = await choose()
        if len(self._kept) > _MOST_CHOICES:
            self._kept.popitem(last=False)
        return choice


@dataclass(frozen=True, slots=True)
class ThumbnailService:
    """Draws thumbnails, and keeps the finished ones.

    What stands for a study is chosen by what the index holds and remembered until something is stored or deleted
    in it; so a thumbnail that was seen before costs one point query, which also finds out whether it may be seen.
    """

    representatives: RepresentativeIndex
    instances: InstanceIndex
    pictures: Pictures
    cache: PictureCache = field(default_factory=PictureCache)
    choices: Choices = field(default_factory=Choices)

    async def thumbnail(
        self,
        scope: Scope,
        principal: Principal,
        accepted: Acceptable,
        *,
        frame: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> Drawing:
        """Return the thumbnail of a study, a series, an instance, or one of its frames, numbered from 1.

        Raises:
            NotFoundError, GoneError: there is no such resource, or nothing in it has pixels.
            NotAcceptableError: the client accepts none of the picture formats.
        """
        require(principal, Role.READER)
        visibility = principal.sees
        picture = Picture(size=size or THUMBNAIL_SIZE, enlarge=size is not None)
        if scope.sop_instance_uid is not None:
            location = await self._locate(scope, visibility)
            _, pixels = pixels_of(location)
            chosen = frame or middle_frame(pixels.number_of_frames)
            picture = replace(picture, media_type=accepted.select(PICTURES).type)
            drawing = self.pictures.drawing(location, chosen, picture, visibility)
        else:
            choice = await self._choice(scope, visibility)
            picture = replace(picture, media_type=accepted.select(PICTURES).type)
            draw = partial(self._draw, choice, picture, visibility)
            drawing = Drawing(picture.media_type, picture_tag(choice.digest, choice.frame, picture), draw)
        return replace(
            drawing,
            draw=partial(self.cache.get, drawing.etag, drawing.draw),
            length=self.cache.length(drawing.etag),
        )

    async def _locate(self, scope: Scope, visibility: Visibility) -> InstanceLocation:
        study, series, instance = scope.parameters()
        assert series is not None
        assert instance is not None
        return await self.instances.locate_instance(study, series, instance, visibility)

    async def _draw(self, choice: Choice, picture: Picture, visibility: Visibility) -> bytes:
        location = await self._locate(choice.scope, visibility)
        return await self.pictures.draw(location, choice.frame, picture, visibility)

    async def _choice(self, scope: Scope, visibility: Visibility) -> Choice:
        revision = await self.representatives.revision(scope, visibility)
        choice = await self.choices.get(revision, partial(self._choose, scope, visibility))
        if choice is None:
            resource = "study" if scope.series_instance_uid is None else "series"
            message = f"nothing in this {resource} is an image, so it has no thumbnail"
            raise NotFoundError(message)
        return choice

    async def _choose(self, scope: Scope, visibility: Visibility) -> Choice | None:
        """Choose the best instance of the best series that has one to show."""
        for series in rank_series(await self.representatives.series(scope, visibility))[:_MOST_SERIES]:
            outlines = await self.representatives.instances(series.id)
            ranked = (
                await asyncio.to_thread(rank_instances, outlines, series.modality)
                if len(outlines) > _RANKED_AT_ONCE
                else rank_instances(outlines, series.modality)
            )
            for outline in ranked[:_MOST_INSTANCES]:
                uid = await self.representatives.sop_instance_uid(outline)
                if uid is None:
                    continue
                found = Scope(scope.study_instance_uid, series.series_instance_uid, uid)
                location = await self._locate(found, visibility)
                # Video and the like cannot be drawn here; another instance may be.
                if location.pixel_data is not None and can_convert(location):
                    _, pixels = pixels_of(location)
                    return Choice(found, location.digest, middle_frame(pixels.number_of_frames))
        return None
