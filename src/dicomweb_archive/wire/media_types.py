"""Which representation a client gets: media type and transfer syntax negotiation (PS3.18 8.7).

A resource has *offers*, the representations that the archive can make of it, best first. An Accept header is
read once (`parse_accept`) and then ranks the offers of as many instances as the answer holds. Clients send the same
few headers all day and most instances are of a few kinds, so what was read, listed and ranked is kept for a while.

Lenient where clients differ: a missing Accept is `*/*`; ranges of another grammar are ignored; an `image/jpeg`
without transfer syntax takes whatever JPEG is stored, although the standard means JPEG Lossless by it; rendered
types among the ranges of a DICOM resource are ignored and not answered with 400 (browsers send text/html).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal

from dicomweb_archive.errors import NotAcceptableError
from dicomweb_archive.wire.header_fields import parse_media_type, quote, split_list
from dicomweb_archive.wire.resources import is_uid

EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
_NATIVE: Final = frozenset(
    {"1.2.840.10008.1.2", EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}
)
DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
DICOM_XML: Final = "application/dicom+xml"
JSON: Final = "application/json"
OCTET_STREAM: Final = "application/octet-stream"
WADL: Final = "application/vnd.sun.wadl+xml"
ZIP: Final = "application/zip"
PDF: Final = "application/pdf"
CSV: Final = "text/csv"
PARQUET: Final = "application/vnd.apache.parquet"
_ENCAPSULATED_PDF_STORAGE = "1.2.840.10008.5.1.4.1.1.104.1"

_MOST_KEPT: Final = 128
_KEPT_BYTES: Final = 1024
"""Longer headers are read anew each time: what is kept of others is bounded, whoever sends them."""
_MOST_RANKINGS: Final = 64

_MOST_RANGES: Final = 64
_MOST_BYTES: Final = 16 * 1024
_WEIGHT = re.compile(r"0?\.[0-9]{1,10}|0|1(?:\.0{0,10})?|0\.")

_JPEG = "1.2.840.10008.1.2.4"
FRAME_MEDIA_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys((f"{_JPEG}.50", f"{_JPEG}.51", f"{_JPEG}.57", f"{_JPEG}.70"), "image/jpeg"),
        "1.2.840.10008.1.2.5": "image/dicom-rle",
        **dict.fromkeys((f"{_JPEG}.80", f"{_JPEG}.81"), "image/jls"),
        **dict.fromkeys((f"{_JPEG}.90", f"{_JPEG}.91"), "image/jp2"),
        **dict.fromkeys((f"{_JPEG}.92", f"{_JPEG}.93"), "image/jpx"),
        **dict.fromkeys((f"{_JPEG}.201", f"{_JPEG}.202", f"{_JPEG}.203"), "image/jphc"),
        **dict.fromkeys((f"{_JPEG}.110", f"{_JPEG}.111", f"{_JPEG}.112"), "image/jxl"),
        **dict.fromkeys((f"{_JPEG}.100", f"{_JPEG}.100.1", f"{_JPEG}.101", f"{_JPEG}.101.1"), "video/mpeg2"),
        **dict.fromkeys((f"{_JPEG}.{number}{part}" for number in range(102, 107) for part in ("", ".1")), "video/mp4"),
        **dict.fromkeys((f"{_JPEG}.107", f"{_JPEG}.108"), "video/H265"),
    }
)
"""Media type of compressed pixel data by transfer syntax (PS3.18 Table 8.7.3-5); others are octet-stream."""

_DEFAULT_SYNTAXES: Final = frozenset(
    {"1.2.840.10008.1.2.5", f"{_JPEG}.70", f"{_JPEG}.80", f"{_JPEG}.90", f"{_JPEG}.201"}
)
"""What the media types of compressed frames mean without a transfer syntax (PS3.18 Table 8.7.3-5)."""

# Pixel data in these have lost something already, so they may be sent as they are held (PS3.18 8.7.3.4): the lossy
# processes of JPEG, retired ones too, and of its successors, and all kinds of video.
_LOSSY: Final = frozenset(f"{_JPEG}.{number}" for number in (*range(50, 57), *range(59, 65), 81, 91, 93, 203, 112)) | {
    syntax for syntax, media_type in FRAME_MEDIA_TYPES.items() if media_type.startswith("video/")
}

_OLDER_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {"image/x-dicom-rle": "image/dicom-rle", "image/x-jls": "image/jls", "image/jll": "image/jpeg"}
)


@dataclass(frozen=True, slots=True)
class Offer:
    """A representation that the archive can make.

    Attributes:
        type: media type of the payload, or of each part when `multipart`.
        transfer_syntax: UID for application/dicom, frames and bulkdata; `None` where the word means nothing.
        as_stored: the bytes are in the store as they are sent.
        by_default: stands for Explicit VR Little Endian where a client names no transfer syntax.
        named: what a range has to name for it to be made: nothing, its media type, or its transfer syntax too.
    """

    type: str
    multipart: bool = False
    transfer_syntax: str | None = None
    as_stored: bool = False
    by_default: bool = False
    named: Literal["", "type", "syntax"] = ""

    @property
    def content_type(self) -> str:
        """Content-Type of the single payload, or of one part."""
        if self.transfer_syntax is None:
            return self.type
        return f"{self.type}; transfer-syntax={self.transfer_syntax}"

    def __str__(self) -> str:
        if not self.multipart:
            return self.content_type
        syntax = "" if self.transfer_syntax is None else f"; transfer-syntax={self.transfer_syntax}"
        return f"multipart/related; type={quote(self.type)}{syntax}"


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One member of an Accept header (PS3.18 8.7.3.5, 8.7.5).

    Attributes:
        type: lower case, may be `*/*` or `image/*`; of the parts when `multipart`.
        multipart: `None` for a bare `*/*`, which takes both forms.
        transfer_syntax: UID, `*`, or `None` when not given; ignored where the word means nothing (PS3.18 8.7.7).
    """

    type: str
    multipart: bool | None = False
    transfer_syntax: str | None = None
    q: float = 1.0

    def specificity(self, offer: Offer) -> tuple[int, int, int] | None:
        """Tell how closely this range describes an offer, `None` when it does not (RFC 9110 12.5.1)."""
        if self.multipart is not None and self.multipart is not offer.multipart:
            return None
        main, _, sub = self.type.partition("/")
        if main != "*" and main != offer.type.partition("/")[0].lower():
            return None
        if sub != "*" and self.type != offer.type.lower():
            return None
        if offer.transfer_syntax is not None and self.transfer_syntax not in (None, "*", offer.transfer_syntax):
            return None
        if self.transfer_syntax is None and not _is_default_syntax(offer, is_exact=sub != "*"):
            return None
        if offer.named and self.transfer_syntax != offer.transfer_syntax and (offer.named == "syntax" or sub == "*"):
            return None
        exactness = (sub != "*") + (main != "*")
        syntax = 0 if self.transfer_syntax is None else 1 if self.transfer_syntax == "*" else 2
        return exactness, int(self.multipart is not None), syntax


def _is_default_syntax(offer: Offer, *, is_exact: bool) -> bool:
    """Tell whether a range without transfer syntax takes the offer's (PS3.18 8.7.3.3, 8.7.3.4)."""
    uncompressed_only = offer.type in (DICOM, OCTET_STREAM)
    # A wild card range leaves the choice to us; so a form that cannot be decoded may be sent as it is.
    is_default = offer.by_default or offer.transfer_syntax in (None, EXPLICIT_VR_LITTLE_ENDIAN)
    return is_default or not (is_exact and uncompressed_only)


@dataclass(frozen=True, slots=True)
class Acceptable:
    """What a request accepts: the accept parameter's ranges first, then the header's (PS3.18 8.7.8.1)."""

    preferred: tuple[MediaRange, ...]
    ranges: tuple[MediaRange, ...]
    # The offers are kept beside their ranking, so that no other one can come to have the identity of one of them.
    _rankings: dict[tuple[int, ...], tuple[tuple[Offer, ...], tuple[Offer, ...]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def rank(self, offers: Sequence[Offer]) -> tuple[Offer, ...]:
        """Sort out the acceptable offers, best first; empty when there is none.

        Ties: what is stored as it is asked for, if a range names a transfer syntax or `*`; else the order of the
        offers, which begins with the default of the resource.
        """
        # Offers are the same objects whenever their kind of instance is met, and hashing them would take longer.
        key = tuple(map(id, offers))
        known = self._rankings.get(key)
        if known is None:
            if len(self._rankings) >= _MOST_RANKINGS:
                self._rankings.clear()
            known = self._rankings[key] = tuple(offers), self._rank(offers)
        return known[1]

    def _rank(self, offers: Sequence[Offer]) -> tuple[Offer, ...]:
        first = _rank(self.preferred, offers)
        return first + tuple(offer for offer in _rank(self.ranges, offers) if offer not in first)

    def select(self, offers: Sequence[Offer]) -> Offer:
        """Choose the best of the offers.

        Raises:
            NotAcceptableError: none is acceptable; names what is available.
        """
        ranked = self.rank(offers)
        if not ranked:
            raise NotAcceptableError(
                "none of the representations that the client accepts can be had",
                available=tuple(dict.fromkeys(map(str, offers))),
            )
        return ranked[0]


def parse_accept(header: str | None, parameter: str | None = None) -> Acceptable:
    """Read an Accept header and an `accept` query parameter (PS3.18 8.7.5, 8.3.3.1).

    Members of the parameter that are wild cards, or that no range of the header takes, are ignored.
    """
    if len(header or "") + len(parameter or "") > _KEPT_BYTES:
        return _parse_accept(header, parameter)
    return _parse_accept_once(header, parameter)


def _parse_accept(header: str | None, parameter: str | None) -> Acceptable:
    ranges = _parse_ranges("*/*" if header is None or not header.strip() else header)
    named = [wanted for wanted in _parse_ranges(parameter or "") if "*" not in wanted.type]
    preferred = tuple(wanted for wanted in named if any(_takes(allowed, wanted) for allowed in ranges))
    return Acceptable(preferred, ranges)


_parse_accept_once = lru_cache(maxsize=_MOST_KEPT)(_parse_accept)


def select(header: str | None, parameter: str | None, offers: Sequence[Offer]) -> Offer:
    """Choose the representation for one request.

    Raises:
        NotAcceptableError: none of the offers is acceptable.
    """
    return parse_accept(header, parameter).select(offers)


SEARCH_OFFERS: Final = (Offer(DICOM_JSON), Offer(DICOM_XML, multipart=True), Offer(JSON))
"""Representations of search results (PS3.18 Table 10.6.4-1)."""

TABLE_OFFERS: Final = (Offer(CSV), Offer(PARQUET))
"""Search results as a table, which is an extension of ours."""

CAPABILITIES_OFFERS: Final = (Offer(WADL), Offer(JSON))
"""Representations of a Capabilities Description (PS3.18 8.9.4)."""

METADATA_OFFERS: Final = SEARCH_OFFERS
"""Representations of metadata (PS3.18 10.4.4)."""

STORE_RESPONSE_OFFERS: Final = (Offer(DICOM_JSON), Offer(DICOM_XML, multipart=True), Offer(DICOM_XML), Offer(JSON))
"""Representations of a Store Instances Response (PS3.18 Table 10.5.4-1); XML also as a single part."""


@lru_cache(maxsize=_MOST_KEPT)
def instance_offers(
    stored: str, *, can_decode: bool, single: bool, encodings: tuple[str, ...] = ()
) -> tuple[Offer, ...]:
    """List the representations of an instance (PS3.18 10.4.4).

    `transfer-syntax=*` gives the bytes that were stored, Implicit VR included: PS3.18 8.6.2.1 would have it
    converted, but who asks for any syntax wants what was stored.

    What cannot be decoded goes by default as it is stored when it is lossy, or one of several that should not be
    refused for its sake (8.7.3.4).

    Args:
        stored: its transfer syntax.
        can_decode: it can be converted to Explicit VR Little Endian, the default.
        single: the resource is one instance, so that a single part may be sent.
        encodings: further transfer syntaxes that it can be converted to, for who names them.
    """
    offers = _with_forms(DICOM, stored, can_decode=can_decode, single=single)
    offers += tuple(
        Offer(DICOM, multipart, syntax, named="syntax") for syntax in encodings for multipart in _forms(single=single)
    )
    if can_decode or (single and stored not in _LOSSY):
        return offers
    return tuple(replace(offer, by_default=True) for offer in offers)


@lru_cache(maxsize=_MOST_KEPT)
def zip_offers(stored: str, *, can_decode: bool, encodings: tuple[str, ...] = ()) -> tuple[Offer, ...]:
    """List the representations of an instance within a ZIP archive (PS3.18 10.4.4).

    Without a transfer syntax the files are those that were stored: no table has a default for archives, and what
    people keep of them are files, not answers.
    """
    as_stored = Offer(ZIP, transfer_syntax=stored, as_stored=True)
    made = tuple(Offer(ZIP, transfer_syntax=syntax, named="syntax") for syntax in encodings)
    if stored == EXPLICIT_VR_LITTLE_ENDIAN or not can_decode:
        return as_stored, *made
    return as_stored, Offer(ZIP, transfer_syntax=EXPLICIT_VR_LITTLE_ENDIAN), *made


@lru_cache(maxsize=_MOST_KEPT)
def frame_offers(stored: str, *, can_decode: bool, single: bool, encodings: tuple[str, ...] = ()) -> tuple[Offer, ...]:
    """List the representations of frames: decoded, and as stored under the codec's media type (PS3.18 10.4.4).

    `single`: one frame is asked for. With `transfer-syntax=*` stored codestreams also go as octet-stream,
    because viewers ask for it so. `encodings` are transfer syntaxes that frames can be converted to: who names a
    media type gets its default syntax (Table 8.7.3-5), who names a transfer syntax that one.
    """
    made = tuple(_encoded_offers(encodings, single=single))
    if stored in _NATIVE:
        # The bytes of a native frame do not depend on the VR coding around it; big endian ones are swapped.
        return bulkdata_offers(single=single) + made
    octets = _with_forms(OCTET_STREAM, stored, can_decode=can_decode, single=single)
    codec = FRAME_MEDIA_TYPES.get(stored)
    if codec is None:
        return octets + made
    compressed = tuple(Offer(codec, multipart, stored, as_stored=True) for multipart in _forms(single=single))
    decoded = tuple(offer for offer in octets if not offer.as_stored)
    return decoded + compressed + octets[len(decoded) :] + made


def _encoded_offers(encodings: Sequence[str], *, single: bool) -> Iterator[Offer]:
    for syntax in encodings:
        for multipart in _forms(single=single):
            yield Offer(
                FRAME_MEDIA_TYPES[syntax], multipart, syntax, named="type" if syntax in _DEFAULT_SYNTAXES else "syntax"
            )
    for syntax in encodings:
        for multipart in _forms(single=single):
            yield Offer(OCTET_STREAM, multipart, syntax, named="syntax")


@lru_cache(maxsize=_MOST_KEPT)
def bulkdata_offers(*, single: bool) -> tuple[Offer, ...]:
    """List the representations of bulkdata other than pixels: little endian octets (PS3.18 Table 8.7.3-4)."""
    return _with_forms(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN, can_decode=True, single=single)


@lru_cache(maxsize=_MOST_KEPT)
def document_offers(sop_class_uid: str) -> tuple[Offer, ...]:
    """List the representations of an encapsulated document as what it is (PS3.18 Table 8.7.4-1, text); none for others.

    Of the kinds of documents only those are offered that a browser shows without running them.
    """
    return (Offer(PDF),) if sop_class_uid == _ENCAPSULATED_PDF_STORAGE else ()


def _with_forms(media_type: str, stored: str, *, can_decode: bool, single: bool) -> tuple[Offer, ...]:
    plain = stored == EXPLICIT_VR_LITTLE_ENDIAN
    syntaxes = [(EXPLICIT_VR_LITTLE_ENDIAN, plain)] if plain or can_decode else []
    if not plain:
        syntaxes.append((stored, True))
    return tuple(
        Offer(media_type, multipart, syntax, as_stored)
        for syntax, as_stored in syntaxes
        for multipart in _forms(single=single)
    )


def _forms(*, single: bool) -> tuple[bool, ...]:
    """Tell whether a payload may be of several parts, the usual form, or also a single one."""
    return (True, False) if single else (True,)


def _rank(ranges: Sequence[MediaRange], offers: Sequence[Offer]) -> tuple[Offer, ...]:
    keyed = []
    for index, offer in enumerate(offers):
        closest = max(
            ((specificity, wanted.q, wanted) for wanted in ranges if (specificity := wanted.specificity(offer))),
            key=lambda entry: entry[:2],
            default=None,
        )
        if closest is not None and closest[1] > 0:
            _, q, wanted = closest
            ready = offer.as_stored and wanted.transfer_syntax is not None
            keyed.append((-q, not ready, index, offer))
    return tuple(entry[3] for entry in sorted(keyed, key=lambda entry: entry[:3]))


def _takes(allowed: MediaRange, wanted: MediaRange) -> bool:
    """Tell whether a range of the header is compatible with a type of the accept parameter."""
    if allowed.multipart not in (None, wanted.multipart) or allowed.q <= 0:
        return False
    main = wanted.type.partition("/")[0]
    return allowed.type in (wanted.type, f"{main}/*", "*/*")


def _parse_ranges(text: str) -> tuple[MediaRange, ...]:
    members = split_list(text[:_MOST_BYTES], at_most=_MOST_RANGES)
    return tuple(found for member in members if (found := _parse_range(member)) is not None)


def _parse_range(text: str) -> MediaRange | None:
    """Read one range, `None` when it is malformed: such ranges are ignored (PS3.18 8.7.7)."""
    parsed = parse_media_type(text)
    if parsed is None:
        return None
    parameters = parsed.parameters
    weight = parameters.get("q", "1")
    syntax = parameters.get("transfer-syntax")
    if not _WEIGHT.fullmatch(weight) or not (syntax is None or syntax == "*" or is_uid(syntax)):
        return None
    multipart: bool | None = False
    media_type = parsed.type
    if media_type in ("multipart/related", "multipart/*"):
        multipart, media_type = True, parameters.get("type", "*/*").lower()
    elif media_type == "*/*":
        multipart = None
    main, slash, sub = media_type.partition("/")
    if not slash or not main or not sub or (main == "*" and sub != "*"):
        return None
    return MediaRange(_OLDER_NAMES.get(media_type, media_type), multipart, syntax, float(weight))
