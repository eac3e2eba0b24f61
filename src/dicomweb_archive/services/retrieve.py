"""Retrieve: choose a representation, locate, and stream it (PS3.18 10.4)."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from dicomweb_archive.errors import NotFoundError, RequestTooLargeError
from dicomweb_archive.index.reading.documents import MetadataIndex
from dicomweb_archive.index.reading.instances import InstanceIndex, InstanceLocation, SegmentLocations
from dicomweb_archive.index.reading.metadata_answers import MetadataAnswer
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.services.conversions import (
    choose_first,
    choose_or_keep,
    offers_in_archive,
    offers_of_file,
    offers_of_frames,
)
from dicomweb_archive.services.decoding import DecodingPool
from dicomweb_archive.services.instance_answers import Choice, InstanceAnswers, codestream_parts, uids_of
from dicomweb_archive.services.instance_bytes import InstanceBytes, pixels_of, span_of
from dicomweb_archive.services.packing import member_name
from dicomweb_archive.services.representation import Made, Part, Representation, StoredParts, multipart
from dicomweb_archive.services.zip_archive import Member, archive_of
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.storage.spans import Span
from dicomweb_archive.wire.media_types import (
    DICOM,
    EXPLICIT_VR_LITTLE_ENDIAN,
    ZIP,
    Acceptable,
    Offer,
)
from dicomweb_archive.wire.resources import ServiceRoot

# Where each instance lies is held while an archive is sent: some 300 bytes.
_MOST_LISTED = 100_000
_PARTS_TOGETHER = 1000


@dataclass(frozen=True, slots=True)
class RetrieveService:
    """Answers retrieve transactions.

    What is stored goes out as it lies; only what must be converted is, one instance or frame at a time. Payloads
    are streams that read when they are asked to: what can be found out before their first byte is.
    """

    instances: InstanceIndex
    metadata: MetadataIndex
    objects: ObjectStore
    decoding: DecodingPool
    _answers: InstanceAnswers = field(init=False)

    def __post_init__(self) -> None:
        """Make once what every request needs."""
        object.__setattr__(self, "_answers", InstanceAnswers(self.instances, self.objects, self.decoding))

    async def retrieve_instances(
        self, scope: Scope, principal: Principal, accepted: Acceptable, root: ServiceRoot
    ) -> Representation:
        """Retrieve a study, a series or an instance (PS3.18 10.4.1.1.1), as parts or as an archive of files.

        Of several instances, one that turns out not to be decodable goes as it is stored (8.7.3.4).

        Raises:
            NotFoundError, GoneError: there is none.
            NotAcceptableError: the client accepts nothing that can be had.
            UndecodableError: the one instance cannot be converted as asked.
            ObjectNotFoundError, DamagedObjectError: what is stored is not there as it should be.
        """
        require(principal, Role.READER)
        if scope.sop_instance_uid is not None:
            location = await self._answers.locate_one(scope, principal)
            return await self._answers.of_one(location, principal, self._retrieve_instance(location, accepted, root))
        segments = await self._answers.locate_all(scope, principal)
        choose = Choice(accepted)
        if (await choose_first(_kinds_of(segments), choose, _offers_of_many)).type == ZIP:
            name = scope.series_instance_uid or scope.study_instance_uid
            return await self._archive(name, lambda: self._archive_members(segments, choose))
        return await multipart(self.objects.streaming, DICOM, lambda: self._instance_parts(segments, choose, root))

    async def retrieve_series_list(
        self, series: Sequence[Scope], principal: Principal, accepted: Acceptable
    ) -> Representation:
        """Retrieve several series, of any studies, as one archive of files (an extension of ours).

        Raises:
            NotFoundError, GoneError: one of them is not there; the others are not sent without it.
            RequestTooLargeError: they have too many instances.
            NotAcceptableError, ObjectNotFoundError, DamagedObjectError: see above.
        """
        require(principal, Role.READER)
        segments: list[SegmentLocations] = []
        count = 0
        for scope in series:
            found = await self._answers.locate_all(scope, principal)
            count += sum(map(len, found))
            if count > _MOST_LISTED:
                message = f"the series have more than {_MOST_LISTED} instances; ask for fewer at a time"
                raise RequestTooLargeError(message)
            segments += found
        choose = Choice(accepted)
        await choose_first(_kinds_of(segments), choose, offers_in_archive)
        return await self._archive("series", lambda: self._archive_members(segments, choose))

    async def retrieve_frames(
        self, scope: Scope, frames: Sequence[int], principal: Principal, accepted: Acceptable, root: ServiceRoot
    ) -> Representation:
        """Retrieve frames, numbered from 1, of an instance (PS3.18 10.4.1.1.6).

        Decoded frames are little endian pixels as in the instance's Explicit VR Little Endian form: YBR colours
        of JPEG have become RGB there, while the metadata speak of the stored instance.

        Raises:
            NotFoundError, GoneError: there is no such instance or frame.
            NotAcceptableError, UndecodableError, ObjectNotFoundError, DamagedObjectError: see above.
        """
        require(principal, Role.READER)
        location = await self._answers.locate_one(scope, principal)
        _, pixels = pixels_of(location)
        if not all(1 <= number <= pixels.number_of_frames for number in frames):
            message = f"frames of this instance are numbered from 1 to {pixels.number_of_frames}"
            raise NotFoundError(message)
        offer = accepted.select(offers_of_frames(location, single=len(frames) == 1))
        parts = self._frame_parts(location, frames, offer, root)
        etag = f'"{location.digest.hex()}/{offer.transfer_syntax}"'
        return await self._answers.of_one(location, principal, self._answers.answer(offer, parts, etag))

    async def retrieve_metadata(
        self, scope: Scope, principal: Principal, root: ServiceRoot, *, fields: frozenset[int] | None = None
    ) -> MetadataAnswer:
        """Retrieve the metadata of a study, a series or an instance (PS3.18 10.4.1.1.2), or some attributes of them.

        Raises:
            NotFoundError, GoneError: there is none.
        """
        require(principal, Role.READER)
        study, series, instance = scope.parameters()
        visibility = principal.sees
        if series is None:
            return await self.metadata.study_metadata(study, visibility, service_root=root.url, fields=fields)
        if instance is None:
            return await self.metadata.series_metadata(study, series, visibility, service_root=root.url, fields=fields)
        return await self.metadata.instance_metadata(
            study, series, instance, visibility, service_root=root.url, fields=fields
        )

    @property
    def _bytes(self) -> InstanceBytes:
        return self._answers.bytes

    async def _retrieve_instance(
        self, location: InstanceLocation, accepted: Acceptable, root: ServiceRoot
    ) -> Representation:
        offer = accepted.select(offers_of_file(location, single=True) + offers_in_archive(location))
        if offer.type == ZIP:
            return await self._archive(location.sop_instance_uid, lambda: [self._archive_member(location, offer)])
        make = None if offer.as_stored else partial(self._bytes.transcode, location, offer.transfer_syntax)
        part = _instance_part(location, offer, root, make)
        return await self._answers.answer(offer, [part], f'"{location.digest.hex()}/{offer.transfer_syntax}"')

    def _instance_parts(
        self, segments: Sequence[SegmentLocations], choose: Choice, root: ServiceRoot
    ) -> Iterator[Part | StoredParts]:
        for segment in segments:
            kind = segment.kind()
            offer = None if kind is None else choose_or_keep(kind, choose, offers_of_file)
            if offer is not None and offer.as_stored:
                yield from _stored_parts(segment, offer, root)
                continue
            for location in segment:
                offer = choose_or_keep(location, choose, offers_of_file)
                make = None
                if not offer.as_stored:
                    make = partial(self._bytes.transcode_or_keep, location, offer.transfer_syntax)
                yield _instance_part(location, offer, root, make)

    async def _archive(self, name: str, members: Callable[[], Iterable[Member]]) -> Representation:
        answer = await archive_of(self.objects.streaming, members)
        headers = {"ETag": answer.headers["ETag"], "Content-Disposition": f'attachment; filename="{name}.zip"'}
        return replace(answer, headers=headers)

    def _archive_members(self, segments: Sequence[SegmentLocations], choose: Choice) -> Iterator[Member]:
        for segment in segments:
            for location in segment:
                yield self._archive_member(location, choose_or_keep(location, choose, offers_in_archive))

    def _archive_member(self, location: InstanceLocation, offer: Offer) -> Member:
        return Member(
            f"{location.series_instance_uid}/{location.sop_instance_uid}.dcm".encode("ascii"),
            member_name(location.sop_instance_uid).encode("ascii"),
            span_of(location),
            location.digest,
            None if offer.as_stored else partial(self._bytes.transcode, location, offer.transfer_syntax),
        )

    def _frame_parts(
        self, location: InstanceLocation, frames: Sequence[int], offer: Offer, root: ServiceRoot
    ) -> list[Part]:
        uids = uids_of(location)
        urls = [root.frames(*uids, (number,)) for number in frames]
        stored, _ = pixels_of(location)
        if stored.encapsulated and offer.as_stored:
            return codestream_parts(self._bytes, location, frames, offer, urls)
        describe = self._bytes.frame_part
        if offer.transfer_syntax != EXPLICIT_VR_LITTLE_ENDIAN:
            describe = partial(self._bytes.encoded_frame_part, offer.transfer_syntax)
        return [describe(location, number, offer.content_type, url) for number, url in zip(frames, urls, strict=True)]


def _kinds_of(segments: Iterable[SegmentLocations]) -> Iterator[InstanceLocation]:
    """Yield instances that between them can be had in every form that one of the segments' can."""
    for segment in segments:
        kind = segment.kind()
        yield from segment if kind is None else (kind,)


def _instance_part(
    location: InstanceLocation, offer: Offer, root: ServiceRoot, make: Callable[[], Awaitable[Made]] | None
) -> Part:
    spans = (span_of(location),) if make is None else ()
    return Part(offer.content_type, root.instance(*uids_of(location)), spans, make)


def _stored_parts(segment: SegmentLocations, offer: Offer, root: ServiceRoot) -> Iterator[StoredParts]:
    """Describe the instances of a segment that all go as they lie, so many together as take no time to describe."""
    location = root.instance(segment.study_instance_uid, segment.series_instance_uid, "")
    for first in range(0, len(segment), _PARTS_TOGETHER):
        here = slice(first, first + _PARTS_TOGETHER)
        places = zip(segment.object_keys[here], segment.byte_offsets[here], segment.byte_lengths[here], strict=True)
        spans = [Span(*place) for place in places]
        yield StoredParts(offer.content_type, location, segment.sop_instance_uids[here], spans)


def _offers_of_many(location: InstanceLocation) -> tuple[Offer, ...]:
    return offers_of_file(location) + offers_in_archive(location)
