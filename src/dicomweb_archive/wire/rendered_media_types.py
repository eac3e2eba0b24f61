"""What a rendered resource can be had as, by the category of the instance (PS3.18 8.7.2, Table 8.7.4-1)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from dicomweb_archive.wire.media_types import FRAME_MEDIA_TYPES, Offer

GIF: Final = "image/gif"
PICTURES: Final = (Offer("image/jpeg"), Offer("image/png"), Offer(GIF))
"""Representations of one image; the first is its default."""

_NAMES_OF_VIDEO: Final = {"video/mpeg2": "video/mpeg"}


def video_offers(transfer_syntax_uid: str) -> tuple[Offer, ...]:
    """List the representations of a stored video: what a player takes, as it is stored; none for other syntaxes."""
    stored = FRAME_MEDIA_TYPES.get(transfer_syntax_uid, "")
    return (Offer(_NAMES_OF_VIDEO.get(stored, stored)),) if stored.startswith("video/") else ()


def in_both_forms(offers: Sequence[Offer]) -> tuple[Offer, ...]:
    """List the offers as a single payload, then as parts."""
    return (*offers, *in_parts(offers))


def in_parts(offers: Sequence[Offer]) -> tuple[Offer, ...]:
    """List the offers as parts of a multipart payload, which is how several pictures are sent."""
    return tuple(replace(offer, multipart=True) for offer in offers)
