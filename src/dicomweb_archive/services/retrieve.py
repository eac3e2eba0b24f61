"""Retrieve: choose a representation, locate, and stream it (PS3.18 10.4)."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat

from dicomweb_archive.dicom.instance import BulkValue
from dicomweb_archive.errors import NotFoundError
from dicomweb_archive.index.reading.documents import MetadataAnswer, MetadataIndex
from dicomweb_archive.index.reading.instances import InstanceIndex, InstanceLocation, SegmentLocations
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.access import Principal, Role, require, visibility_of
from dicomweb_archive.services.decoding import DecodingPool
from dicomweb_archive.services.instance_bytes import InstanceBytes, can_convert, frame_ranges, pixels_of, span_of
from dicomweb_archive.services.recheck import chunks_or_gone, gone_if_deleted
from dicomweb_archive.services.representation import Made, Part, Representation, multipart, single
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.wire.media_types import (
    DICOM,
    EXPLICIT_VR_LITTLE_ENDIAN,
    FRAME_MEDIA_TYPES,
    Acceptable,
    Offer,
    bulkdata_offers,
    document_offers,
    frame_offers,
    instance_offers,
)
from dicomweb_archive.wire.resources import ServiceRoot

_ENCAPSULATED_DOCUMENT = "00420011"
_PIXEL_DATA_PATHS = frozenset({"7FE00010", "7FE00008", "7FE00009"})


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

    async def retrieve_instances(
        self, scope: Scope, principal: Principal, accepted: Acceptable, root: ServiceRoot
    ) -> Representation:
        """Retrieve a study, a series or an instance (PS3.18 10.4.1.1.1).

        Of several instances, one that turns out not to be decodable goes as it is stored (8.7.3.4).

        Raises:
            NotFoundError, GoneError: there is none.
            NotAcceptableError: the client accepts nothing that can be had.
            UndecodableError: the one instance cannot be converted as asked.
            ObjectNotFoundError, DamagedObjectError: what is stored is not there as it should be.
        """
        require(principal, Role.READER)
        if scope.sop_instance_uid is not None:
            location = await self._locate(scope, principal)
            return await self._of_one(location, principal, self._retrieve_instance(location, accepted, root))
        segments = await self.instances.locate(scope, visibility_of(principal))
        choose = _Choice(accepted)
        return await multipart(self.objects, DICOM, lambda: self._instance_parts(segments, choose, root))

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
        location = await self._locate(scope, principal)
        stored, pixels = pixels_of(location)
        if not all(1 <= number <= pixels.number_of_frames for number in frames):
            message = f"frames of this instance are numbered from 1 to {pixels.number_of_frames}"
            raise NotFoundError(message)
        syntax = location.transfer_syntax_uid if stored.encapsulated else EXPLICIT_VR_LITTLE_ENDIAN
        offer = accepted.select(frame_offers(syntax, can_decode=can_convert(location), single=len(frames) == 1))
        parts = self._frame_parts(location, frames, offer, root)
        etag = f'"{location.digest.hex()}/{offer.transfer_syntax}"'
        return await self._of_one(location, principal, self._answer(offer, parts, etag))

    async def retrieve_bulkdata(
        self, scope: Scope, path: str, principal: Principal, accepted: Acceptable, root: ServiceRoot
    ) -> Representation:
        """Retrieve one value that metadata refer to (PS3.18 10.4.1.1.5), little endian.

        Encapsulated pixel data go decoded as one value, or as stored with one frame a part.

        Raises:
            NotFoundError, GoneError: there is no such instance or value.
            NotAcceptableError, UndecodableError, ObjectNotFoundError, DamagedObjectError: see above.
        """
        require(principal, Role.READER)
        location = await self._locate(scope, principal)
        url = root.bulkdata(*_uids(location), path)
        if path in _PIXEL_DATA_PATHS and location.pixel_data and f"{location.pixel_data.tag:08X}" == path:
            return await self._of_one(location, principal, self._pixel_data(location, accepted, url))
        value = next((value for value in location.bulk if value.path == path), None)
        if value is None:
            message = "this instance has no bulk value of that path"
            raise NotFoundError(message)
        documents = document_offers(location.sop_class_uid) if path == _ENCAPSULATED_DOCUMENT else ()
        offer = accepted.select(bulkdata_offers(single=True) + documents)
        part = self._bytes.value_part(location, value, offer.content_type, url)
        answering = self._answer(offer, [part], f'"{location.digest.hex()}/{path}"')
        return await self._of_one(location, principal, answering)

    async def retrieve_metadata(self, scope: Scope, principal: Principal, root: ServiceRoot) -> MetadataAnswer:
        """Retrieve the metadata of a study, a series or an instance (PS3.18 10.4.1.1.2).

        Raises:
            NotFoundError, GoneError: there is none.
        """
        require(principal, Role.READER)
        study, series, instance = scope.parameters()
        visibility = visibility_of(principal)
        if series is None:
            return await self.metadata.study_metadata(study, visibility, service_root=root.url)
        if instance is None:
            return await self.metadata.series_metadata(study, series, visibility, service_root=root.url)
        return await self.metadata.instance_metadata(study, series, instance, visibility, service_root=root.url)

    @property
    def _bytes(self) -> InstanceBytes:
        return InstanceBytes(self.objects, self.decoding)

    async def _locate(self, scope: Scope, principal: Principal) -> InstanceLocation:
        study, series, instance = scope.parameters()
        assert series is not None
        assert instance is not None
        return await self.instances.locate_instance(study, series, instance, visibility_of(principal))

    async def _of_one(
        self, location: InstanceLocation, principal: Principal, answering: Awaitable[Representation]
    ) -> Representation:
        """Answer from one instance, whose location may be out of date."""
        visibility = visibility_of(principal)
        async with gone_if_deleted(self.instances, location, visibility):
            answer = await answering
        return replace(answer, chunks=chunks_or_gone(answer.chunks, self.instances, location, visibility))

    async def _retrieve_instance(
        self, location: InstanceLocation, accepted: Acceptable, root: ServiceRoot
    ) -> Representation:
        stored = location.transfer_syntax_uid
        offer = accepted.select(instance_offers(stored, can_decode=can_convert(location), single=True))
        make = None if offer.as_stored else partial(self._bytes.transcode, location)
        part = _instance_part(location, offer, root, make)
        return await self._answer(offer, [part], f'"{location.digest.hex()}/{offer.transfer_syntax}"')

    def _instance_parts(
        self, segments: Sequence[SegmentLocations], choose: "_Choice", root: ServiceRoot
    ) -> Iterator[Part]:
        for segment in segments:
            for location in segment:
                offer = choose(location)
                make = None if offer.as_stored else partial(self._bytes.transcode_or_keep, location)
                yield _instance_part(location, offer, root, make)

    def _frame_parts(
        self, location: InstanceLocation, frames: Sequence[int], offer: Offer, root: ServiceRoot
    ) -> list[Part]:
        uids = _uids(location)
        urls = [root.frames(*uids, (number,)) for number in frames]
        stored, _ = pixels_of(location)
        if stored.encapsulated and offer.as_stored:
            return _codestream_parts(location, frames, offer, urls)
        return [
            self._bytes.frame_part(location, number, offer.content_type, url)
            for number, url in zip(frames, urls, strict=True)
        ]

    async def _pixel_data(self, location: InstanceLocation, accepted: Acceptable, url: str) -> Representation:
        stored, pixels = pixels_of(location)
        etag = f'"{location.digest.hex()}/{stored.tag:08X}'
        if not stored.encapsulated:
            offer = accepted.select(bulkdata_offers(single=True))
            value = BulkValue(f"{stored.tag:08X}", stored.vr, stored.offset, stored.length)
            parts = [self._bytes.value_part(location, value, offer.content_type, url)]
            return await self._answer(offer, parts, etag + '"')
        # All frames of a video are one codestream (PS3.18 Table 8.7.3-5, notes).
        is_video = FRAME_MEDIA_TYPES.get(location.transfer_syntax_uid, "").startswith("video/")
        can_decode, is_single = can_convert(location), is_video or pixels.number_of_frames == 1
        offer = accepted.select(frame_offers(location.transfer_syntax_uid, can_decode=can_decode, single=is_single))
        if is_video:
            spans = tuple(span_of(location, offset, length) for offset, length in stored.fragments)
            parts = [Part(offer.content_type, url, spans)]
        elif offer.as_stored:
            frames = range(1, pixels.number_of_frames + 1)
            # Number of Frames may claim anything: nothing of that length is made before the fragments are asked.
            parts = _codestream_parts(location, frames, offer, repeat(url))
        else:
            parts = [self._bytes.decoded_pixels_part(location, offer.content_type, url)]
        return await self._answer(offer, parts, f'{etag}/{offer.transfer_syntax}"')

    async def _answer(self, offer: Offer, parts: Sequence[Part], etag: str) -> Representation:
        if offer.multipart:
            # Each answer has its own boundary, so the tag names what is in it and not its bytes.
            answer = await multipart(self.objects, offer.type, lambda: parts)
            headers = {"ETag": f'W/{etag[:-1]}/multipart"'}
            return Representation(answer.content_type, answer.chunks, answer.content_length, headers)
        return await single(self.objects, parts[0], {"ETag": etag})


class _Choice:
    """The representation of each of many instances: negotiated once for each transfer syntax met."""

    def __init__(self, accepted: Acceptable) -> None:
        self._accepted = accepted
        self._chosen: dict[tuple[str, bool], Offer] = {}

    def __call__(self, location: InstanceLocation) -> Offer:
        """Choose for one instance.

        Raises:
            NotAcceptableError: nothing that can be had of it is accepted.
        """
        key = location.transfer_syntax_uid, can_convert(location)
        if key not in self._chosen:
            stored, can_decode = key
            self._chosen[key] = self._accepted.select(instance_offers(stored, can_decode=can_decode, single=False))
        return self._chosen[key]


def _uids(location: InstanceLocation) -> tuple[str, str, str]:
    return location.study_instance_uid, location.series_instance_uid, location.sop_instance_uid


def _instance_part(
    location: InstanceLocation, offer: Offer, root: ServiceRoot, make: Callable[[], Awaitable[Made]] | None
) -> Part:
    spans = (span_of(location),) if make is None else ()
    return Part(offer.content_type, root.instance(*_uids(location)), spans, make)


def _codestream_parts(
    location: InstanceLocation, frames: Sequence[int], offer: Offer, urls: Iterable[str]
) -> list[Part]:
    """Describe compressed frames: bare codestreams, without the items around their fragments (PS3.18 8.7.3.3.2)."""
    return [
        Part(offer.content_type, url, tuple(span_of(location, offset, length) for offset, length in ranges))
        for ranges, url in zip(frame_ranges(location, frames), urls, strict=False)
    ]
