"""Answers made of instances: located for one principal, described part by part, checked before they begin."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from dicomweb_archive.errors import NotAcceptableError, NotFoundError
from dicomweb_archive.index.reading.instances import InstanceIndex, InstanceLocation, SegmentLocations
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.access import Principal
from dicomweb_archive.services.decoding import DecodingPool
from dicomweb_archive.services.instance_bytes import InstanceBytes, frame_ranges
from dicomweb_archive.services.one_read import is_one_read, multipart_of_one_read, single_of_one_read
from dicomweb_archive.services.recheck import rechecked
from dicomweb_archive.services.representation import Part, Representation, multipart, single
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.wire.media_types import Acceptable, Offer


@dataclass(frozen=True, slots=True)
class InstanceAnswers:
    """Locates instances and answers with parts of them."""

    instances: InstanceIndex
    objects: ObjectStore
    decoding: DecodingPool
    bytes: InstanceBytes = field(init=False)
    """What reads and converts the bytes of instances."""

    def __post_init__(self) -> None:
        """Make once what every request needs."""
        object.__setattr__(self, "bytes", InstanceBytes(self.objects, self.decoding))

    async def locate_one(self, scope: Scope, principal: Principal) -> InstanceLocation:
        """Locate the instance that the scope names.

        Raises:
            GoneError: it was deleted.
            NotFoundError: there is none, or this principal may not see it.
        """
        study, series, instance = scope.parameters()
        assert series is not None
        assert instance is not None
        return await self.instances.locate_instance(study, series, instance, principal.sees)

    async def locate_all(self, scope: Scope, principal: Principal) -> Sequence[SegmentLocations]:
        """Locate every instance below the scope, in the order of packs.

        Raises:
            GoneError: it was deleted.
            NotFoundError: there is none, or this principal may not see it.
        """
        return await self.instances.locate(scope, principal.sees)

    async def of_one(
        self, location: InstanceLocation, principal: Principal, answering: Awaitable[Representation]
    ) -> Representation:
        """Answer from one instance, whose location may be out of date."""
        return await rechecked(self.instances, location, principal.sees, answering)

    async def answer(self, offer: Offer, parts: Sequence[Part], etag: str) -> Representation:
        """Answer with these parts, or with the only one of them when the offer is a single part."""
        if offer.multipart:
            # Each answer has its own boundary, so the tag names what is in it and not its bytes.
            headers = {"ETag": f'W/{etag[:-1]}/multipart"'}
            if is_one_read(parts):
                return multipart_of_one_read(self.objects, offer.type, parts[0], headers)
            return replace(await multipart(self.objects, offer.type, lambda: parts), headers=headers)
        if is_one_read(parts):
            return single_of_one_read(self.objects, parts[0], {"ETag": etag})
        return await single(self.objects, parts[0], {"ETag": etag})

    async def several(self, parts: Callable[[], Iterable[Part]], *, nothing: str) -> Representation:
        """Answer with parts of one or many instances, whose media type is that of the first (RFC 2387 3.1).

        Args:
            parts: called anew each time they are needed, so that those of a study need not be listed in memory.
            nothing: what to say when there are none.

        Raises:
            NotFoundError: there are none.
            ObjectNotFoundError, DamagedObjectError: an object is not there as it should be.
        """
        first = next(iter(parts()), None)
        if first is None:
            raise NotFoundError(nothing)
        return await multipart(self.objects.streaming, first.content_type.partition(";")[0], parts)


class Choice:
    """The representation of each of many instances: negotiated once for each kind of instance met."""

    def __init__(self, accepted: Acceptable) -> None:
        self._accepted = accepted
        self._chosen: dict[tuple[object, ...], Offer | NotAcceptableError] = {}

    def __call__(self, offers: Callable[[], Sequence[Offer]], *kind: object) -> Offer:
        """Choose for an instance of a kind, whose offers are always the same.

        Raises:
            NotAcceptableError: nothing that can be had of it is accepted.
        """
        if kind not in self._chosen:
            try:
                self._chosen[kind] = self._accepted.select(offers())
            except NotAcceptableError as error:
                self._chosen[kind] = error
        chosen = self._chosen[kind]
        if isinstance(chosen, NotAcceptableError):
            # Raised for each of thousands, it would gather the frames of every time.
            raise chosen.with_traceback(None)
        return chosen


def uids_of(location: InstanceLocation) -> tuple[str, str, str]:
    """Return the UIDs of study, series and instance."""
    return location.study_instance_uid, location.series_instance_uid, location.sop_instance_uid


def codestream_parts(
    stored: InstanceBytes, location: InstanceLocation, frames: Sequence[int], offer: Offer, urls: Iterable[str]
) -> list[Part]:
    """Describe compressed frames: bare codestreams, without the items around their fragments (PS3.18 8.7.3.3.2).

    Raises:
        UndecodableError: they cannot be told apart.
    """
    return [
        stored.fragments_part(location, ranges, offer.content_type, url)
        for ranges, url in zip(frame_ranges(location, frames), urls, strict=False)
    ]
