"""Bulkdata: the values that metadata refer to, one by one or all of a resource (PS3.18 10.4.1.1.5, 10.4.1.1.6)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat

from dicomweb_archive.dicom.instance import BulkValue
from dicomweb_archive.errors import NotFoundError, UndecodableError
from dicomweb_archive.index.reading.instances import InstanceIndex, InstanceLocation
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.services.decoding import DecodingPool
from dicomweb_archive.services.instance_answers import Choice, InstanceAnswers, codestream_parts, uids_of
from dicomweb_archive.services.instance_bytes import can_convert, pixels_of, span_of
from dicomweb_archive.services.representation import Part, Representation
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.wire.media_types import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    FRAME_MEDIA_TYPES,
    OCTET_STREAM,
    Acceptable,
    Offer,
    bulkdata_offers,
    document_offers,
    frame_offers,
)
from dicomweb_archive.wire.resources import ServiceRoot

_ENCAPSULATED_DOCUMENT = "00420011"


@dataclass(frozen=True, slots=True)
class BulkdataService:
    """Answers retrieve transactions of bulk values.

    Every part has the URI that metadata give its value, and is little endian. Encapsulated pixel data go decoded as
    one value, or as stored with one frame a part.
    """

    instances: InstanceIndex
    objects: ObjectStore
    decoding: DecodingPool

    async def retrieve_value(
        self, scope: Scope, path: str, principal: Principal, accepted: Acceptable, root: ServiceRoot
    ) -> Representation:
        """Retrieve one value by its BulkDataURI (PS3.18 10.4.1.1.5).

        Raises:
            NotFoundError, GoneError: there is no such instance or value.
            NotAcceptableError: the client accepts nothing that can be had.
            UndecodableError: the value cannot be converted as asked.
            ObjectNotFoundError, DamagedObjectError: what is stored is not there as it should be.
        """
        require(principal, Role.READER)
        location = await self._answers.locate_one(scope, principal)
        value = next((value for value in location.bulk if value.path == path), None)
        if value is None:
            message = "this instance has no bulk value of that path"
            raise NotFoundError(message)
        return await self._answers.of_one(location, principal, self._one(location, value, accepted, root))

    async def retrieve_bulkdata(
        self, scope: Scope, principal: Principal, accepted: Acceptable, root: ServiceRoot
    ) -> Representation:
        """Retrieve all values of a study, a series or an instance that metadata refer to (PS3.18 10.4.1.1.5).

        Of several values, pixel data that cannot be decoded go as they are stored, where that shows from the
        attributes.

        Raises:
            NotFoundError, GoneError: there is no such resource, or no bulk value in it.
            NotAcceptableError, UndecodableError, ObjectNotFoundError, DamagedObjectError: see above.
        """
        return await self._all(scope, principal, accepted, root, pixels_only=False)

    async def retrieve_pixel_data(
        self, scope: Scope, principal: Principal, accepted: Acceptable, root: ServiceRoot
    ) -> Representation:
        """Retrieve the pixel data of all instances of a study, a series or an instance (PS3.18 10.4.1.1.6).

        Raises:
            NotFoundError, GoneError: there is no such resource, or no pixel data in it.
            NotAcceptableError, UndecodableError, ObjectNotFoundError, DamagedObjectError: see above.
        """
        return await self._all(scope, principal, accepted, root, pixels_only=True)

    @property
    def _answers(self) -> InstanceAnswers:
        return InstanceAnswers(self.instances, self.objects, self.decoding)

    async def _one(
        self, location: InstanceLocation, value: BulkValue, accepted: Acceptable, root: ServiceRoot
    ) -> Representation:
        url = root.bulkdata(*uids_of(location), value.path)
        etag = f'"{location.digest.hex()}/{value.path}"'
        if _is_pixel_data(location, value):
            offer = accepted.select(_pixel_offers(location, single=True))
            etag = f'{etag[:-1]}/{offer.transfer_syntax}"' if _is_encapsulated(location) else etag
            return await self._answers.answer(offer, self._pixel_parts(location, value, offer, url), etag)
        documents = document_offers(location.sop_class_uid) if value.path == _ENCAPSULATED_DOCUMENT else ()
        offer = accepted.select(bulkdata_offers(single=True) + documents)
        part = self._answers.bytes.value_part(location, value, offer.content_type, url)
        return await self._answers.answer(offer, [part], etag)

    async def _all(
        self, scope: Scope, principal: Principal, accepted: Acceptable, root: ServiceRoot, *, pixels_only: bool
    ) -> Representation:
        require(principal, Role.READER)
        choose = Choice(accepted)
        nothing = f"this resource has no {'pixel data' if pixels_only else 'bulkdata'}"
        describe = partial(self._parts, choose=choose, root=root, pixels_only=pixels_only)
        if scope.sop_instance_uid is not None:
            location = await self._answers.locate_one(scope, principal)
            answering = self._answers.several(lambda: describe(location), nothing=nothing)
            return await self._answers.of_one(location, principal, answering)
        segments = await self._answers.locate_all(scope, principal)
        return await self._answers.several(
            lambda: (part for segment in segments for location in segment for part in describe(location)),
            nothing=nothing,
        )

    def _parts(
        self, location: InstanceLocation, *, choose: Choice, root: ServiceRoot, pixels_only: bool
    ) -> Iterator[Part]:
        for value in location.bulk:
            url = root.bulkdata(*uids_of(location), value.path)
            if _is_pixel_data(location, value):
                yield from self._pixel_parts_or_stored(location, value, choose, url)
            elif not pixels_only:
                offer = choose(partial(bulkdata_offers, single=False))
                yield self._answers.bytes.value_part(location, value, offer.content_type, url)

    def _pixel_parts_or_stored(
        self, location: InstanceLocation, value: BulkValue, choose: Choice, url: str
    ) -> Sequence[Part]:
        offers = partial(_pixel_offers, location, single=False)
        kind = location.transfer_syntax_uid, _is_encapsulated(location), can_convert(location)
        offer = choose(offers, *kind)
        try:
            return self._pixel_parts(location, value, offer, url)
        except UndecodableError:
            if offer.as_stored:
                raise
            stored = next(other for other in offers() if other.as_stored and other.type == offer.type)
            return self._pixel_parts(location, value, stored, url)

    def _pixel_parts(self, location: InstanceLocation, value: BulkValue, offer: Offer, url: str) -> Sequence[Part]:
        stored, pixels = pixels_of(location)
        if not stored.encapsulated:
            return [self._answers.bytes.value_part(location, value, offer.content_type, url)]
        if offer.as_stored and _is_video(location):
            spans = tuple(span_of(location, offset, length) for offset, length in stored.fragments)
            return [Part(offer.content_type, url, spans)]
        if offer.as_stored:
            frames = range(1, pixels.number_of_frames + 1)
            # Number of Frames may claim anything: nothing of that length is made before the fragments are asked.
            return codestream_parts(self._answers.bytes, location, frames, offer, repeat(url))
        return [self._answers.bytes.decoded_pixels_part(location, offer.content_type, url)]


def _is_pixel_data(location: InstanceLocation, value: BulkValue) -> bool:
    """Tell whether a value is the instance's own pixel data, not those of an icon (PS3.18 10.4.1.1.6)."""
    return location.pixel_data is not None and value.path == f"{location.pixel_data.tag:08X}"


def _is_encapsulated(location: InstanceLocation) -> bool:
    return location.pixel_data is not None and location.pixel_data.encapsulated


def _is_video(location: InstanceLocation) -> bool:
    """Tell whether all frames are one codestream (PS3.18 Table 8.7.3-5, notes)."""
    return FRAME_MEDIA_TYPES.get(location.transfer_syntax_uid, "").startswith("video/")


def _pixel_offers(location: InstanceLocation, *, single: bool) -> tuple[Offer, ...]:
    if not _is_encapsulated(location):
        return bulkdata_offers(single=single)
    _, pixels = pixels_of(location)
    is_one = _is_video(location) or pixels.number_of_frames == 1
    syntax, can_decode = location.transfer_syntax_uid, can_convert(location)
    offers = frame_offers(syntax, can_decode=can_decode, single=single and is_one)
    if single and can_decode and not is_one:
        # Decoded frames are one value, of which a range may be wanted; codestreams are a part each.
        offers += (Offer(OCTET_STREAM, transfer_syntax=EXPLICIT_VR_LITTLE_ENDIAN),)
    return offers
