"""Conversions: what an instance can be had as, beside what is stored, and the choice among it (PS3.18 8.7.3.4)."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from dicomweb_archive.errors import NotAcceptableError
from dicomweb_archive.imaging.encode import encodable_syntaxes
from dicomweb_archive.index.reading.instances import InstanceLocation
from dicomweb_archive.services.instance_answers import Choice
from dicomweb_archive.services.instance_bytes import can_convert, pixels_of
from dicomweb_archive.wire.media_types import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    Offer,
    frame_offers,
    instance_offers,
    zip_offers,
)

Offers = Callable[[InstanceLocation], tuple[Offer, ...]]

# After so many the loop looks after other requests: a study of 100 000 that can be had by nobody takes a second.
_INSTANCES_AT_ONCE = 250


def encodings_of(location: InstanceLocation) -> tuple[str, ...]:
    """Return the compressed transfer syntaxes that the pixel data can be converted to, as far as attributes tell."""
    stored, pixels = location.pixel_data, location.pixel_format
    if stored is None or pixels is None or not can_convert(location):
        return ()
    return encodable_syntaxes(pixels, location.transfer_syntax_uid if stored.encapsulated else "")


def offers_of_file(location: InstanceLocation, *, single: bool = False) -> tuple[Offer, ...]:
    """List what an instance can be had as."""
    return instance_offers(
        location.transfer_syntax_uid, can_decode=can_convert(location), single=single, encodings=encodings_of(location)
    )


def offers_in_archive(location: InstanceLocation) -> tuple[Offer, ...]:
    """List what an instance can be had as within an archive of files."""
    return zip_offers(location.transfer_syntax_uid, can_decode=can_convert(location), encodings=encodings_of(location))


def offers_of_frames(location: InstanceLocation, *, single: bool) -> tuple[Offer, ...]:
    """List what frames of an instance can be had as.

    Raises:
        NotFoundError: the instance has no pixel data.
    """
    stored, _ = pixels_of(location)
    syntax = location.transfer_syntax_uid if stored.encapsulated else EXPLICIT_VR_LITTLE_ENDIAN
    return frame_offers(syntax, can_decode=can_convert(location), single=single, encodings=encodings_of(location))


async def choose_first(locations: Iterable[InstanceLocation], choose: Choice, offers: Offers) -> Offer:
    """Choose for the first of many instances that can be had as accepted.

    Raises:
        NotAcceptableError: none can.
    """
    refused = NotAcceptableError("there is nothing to choose from", available=())
    for number, location in enumerate(locations, 1):
        if number % _INSTANCES_AT_ONCE == 0:
            await asyncio.sleep(0)
        try:
            return _choose(location, choose, offers)
        except NotAcceptableError as error:
            refused = error
    raise refused


def choose_or_keep(location: InstanceLocation, choose: Choice, offers: Offers) -> Offer:
    """Choose for one of many instances, of which others can be had as accepted.

    One that has no form in the transfer syntax that is asked for, such as a report or a dose of 32 bits, does not
    withhold the others: it goes in its default form, and says so.
    """
    try:
        return _choose(location, choose, offers)
    except NotAcceptableError:
        return offers(location)[0]


def _choose(location: InstanceLocation, choose: Choice, offers: Offers) -> Offer:
    kind = location.transfer_syntax_uid, can_convert(location), encodings_of(location), offers
    return choose(partial(offers, location), *kind)
