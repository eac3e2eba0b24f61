"""Content negotiation as PS3.18 8.7 has it, and as viewers and clients really ask."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb_archive.errors import NotAcceptableError
from dicomweb_archive.wire.media_types import (
    FRAME_MEDIA_TYPES,
    METADATA_OFFERS,
    SEARCH_OFFERS,
    STORE_RESPONSE_OFFERS,
    Offer,
    bulkdata_offers,
    frame_offers,
    instance_offers,
    parse_accept,
    select,
    zip_offers,
)

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
JPEG = "1.2.840.10008.1.2.4.50"
J2K = "1.2.840.10008.1.2.4.90"
J2K_ELSE_EXPLICIT = (
    f'multipart/related; type="application/dicom"; transfer-syntax={J2K}, '
    f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT};q=0.5'
)
OHIF_FRAMES = "multipart/related; type=application/octet-stream; transfer-syntax=*"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "application/dicom+json"),
        ("", "application/dicom+json"),
        ("*/*", "application/dicom+json"),
        ("application/*", "application/dicom+json"),
        ("application/dicom+json", "application/dicom+json"),
        ("APPLICATION/DICOM+JSON", "application/dicom+json"),
        ("application/json", "application/json"),
        ("application/dicom+json, application/json", "application/dicom+json"),
        ("application/dicom+json;q=0.2, application/json", "application/json"),
        ('multipart/related; type="application/dicom+xml"', 'multipart/related; type="application/dicom+xml"'),
        ("multipart/related; type=application/dicom+xml", 'multipart/related; type="application/dicom+xml"'),
        ("multipart/related", 'multipart/related; type="application/dicom+xml"'),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/dicom+json"),
        ("*/*, application/dicom+json;q=0", 'multipart/related; type="application/dicom+xml"'),
        ("garbage, ,;;, application/dicom+json;q=x, */*;q=0.1", "application/dicom+json"),
    ],
)
def test_a_search_answers_in_what_is_accepted(accept: str | None, chosen: str) -> None:
    assert str(select(accept, None, SEARCH_OFFERS)) == chosen


@pytest.mark.parametrize(
    "accept",
    ["image/png", "application/dicom+json;q=0", "application/dicom+xml", "*/*;q=0", "nonsense", "*/json", 'a/b;c="'],
)
def test_nothing_acceptable_names_what_is_available(accept: str) -> None:
    with pytest.raises(NotAcceptableError) as caught:
        select(accept, None, METADATA_OFFERS)
    assert "application/dicom+json" in caught.value.available
    assert 'multipart/related; type="application/dicom+xml"' in caught.value.available


def test_a_store_response_may_be_a_single_xml_part() -> None:
    assert not select("application/dicom+xml", None, STORE_RESPONSE_OFFERS).multipart


@pytest.mark.parametrize(
    ("header", "parameter", "chosen"),
    [
        ("*/*", "application/json", "application/json"),
        (None, "application/json", "application/json"),
        ("*/*", 'multipart/related; type="application/dicom+xml"', 'multipart/related; type="application/dicom+xml"'),
        ("application/dicom+json", "application/json", "application/dicom+json"),
        ("*/*", "image/png", "application/dicom+json"),
        ("*/*", "*/*", "application/dicom+json"),
        ("*/*", "application/json;q=0.5,application/dicom+json;q=0.4", "application/json"),
    ],
)
def test_the_accept_parameter_wins_within_the_header(header: str | None, parameter: str, chosen: str) -> None:
    assert str(select(header, parameter, SEARCH_OFFERS)) == chosen


@pytest.mark.parametrize(
    ("accept", "stored", "single", "expected"),
    [
        (None, J2K, True, Offer("application/dicom", True, EXPLICIT)),
        ('multipart/related; type="application/dicom"', J2K, True, Offer("application/dicom", True, EXPLICIT)),
        (
            'multipart/related; type="application/dicom"; transfer-syntax=*',
            J2K,
            False,
            Offer("application/dicom", True, J2K, True),
        ),
        ('multipart/related; type="application/dicom"; transfer-syntax="*"', IMPLICIT, False,
         Offer("application/dicom", True, IMPLICIT, True)),
        (f'multipart/related; type="application/dicom"; transfer-syntax={J2K}', J2K, False,
         Offer("application/dicom", True, J2K, True)),
        ("application/dicom", EXPLICIT, True, Offer("application/dicom", False, EXPLICIT, True)),
        ("application/dicom; transfer-syntax=*", J2K, True, Offer("application/dicom", False, J2K, True)),
        (J2K_ELSE_EXPLICIT, JPEG, False, Offer("application/dicom", True, EXPLICIT)),
        (J2K_ELSE_EXPLICIT, J2K, False, Offer("application/dicom", True, J2K, True)),
        ('multipart/related; type="*/*"; transfer-syntax=*', J2K, False, Offer("application/dicom", True, J2K, True)),
    ],
)  # fmt: skip
def test_an_instance_goes_in_the_syntax_that_is_accepted(
    accept: str | None, stored: str, single: bool, expected: Offer
) -> None:
    assert parse_accept(accept).select(instance_offers(stored, can_decode=True, single=single)) == expected


@pytest.mark.parametrize(
    ("accept", "single"),
    [
        ("application/dicom", False),
        (f'multipart/related; type="application/dicom"; transfer-syntax={JPEG}', True),
        ("multipart/related; type=image/jpeg", True),
    ],
)
def test_an_instance_that_cannot_be_had_so_is_not_acceptable(accept: str, single: bool) -> None:
    with pytest.raises(NotAcceptableError):
        select(accept, None, instance_offers(J2K, can_decode=True, single=single))


def test_what_cannot_be_decoded_is_refused_when_explicit_was_asked_and_sent_stored_when_anything_goes() -> None:
    offers = instance_offers(J2K, can_decode=False, single=True)
    assert select("*/*", None, offers).transfer_syntax == J2K
    with pytest.raises(NotAcceptableError):
        select('multipart/related; type="application/dicom"', None, offers)


HTJ2K, RPCL, JLS = (f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 80))
ENCODINGS = (HTJ2K, RPCL, J2K, JLS, JPEG)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (f"application/dicom; transfer-syntax={HTJ2K};q=0.3, application/dicom; transfer-syntax={JLS};q=0.9", JLS),
        (f"application/dicom; transfer-syntax={HTJ2K}, application/dicom; transfer-syntax={EXPLICIT}", EXPLICIT),
        (f"application/dicom; transfer-syntax={JLS}, application/dicom; transfer-syntax={HTJ2K}", HTJ2K),
        (f"application/dicom; transfer-syntax={JLS}, application/dicom;q=0.9", JLS),
        ("application/dicom; transfer-syntax=*", EXPLICIT),
        ("application/dicom", EXPLICIT),
        ("*/*", EXPLICIT),
        (f"*/*, application/dicom; transfer-syntax={EXPLICIT};q=0", None),
        (f'multipart/related; type="*/*"; transfer-syntax={JPEG}', JPEG),
    ],
)
def test_what_is_stored_goes_before_what_has_to_be_made(accept: str, chosen: str | None) -> None:
    offers = instance_offers(EXPLICIT, can_decode=True, single=True, encodings=ENCODINGS)
    ranked = [offer.transfer_syntax for offer in parse_accept(accept).rank(offers)]
    # What nobody named is not made, also where nothing else is left.
    assert set(ranked) <= {EXPLICIT, *(syntax for syntax in ENCODINGS if syntax in accept)}
    if chosen is not None:
        assert ranked[0] == chosen


@pytest.mark.parametrize(
    ("accept", "stored", "chosen"),
    [
        ("image/jphc", EXPLICIT, HTJ2K),
        ("image/jphc; transfer-syntax=*", EXPLICIT, HTJ2K),
        (f"image/jphc; transfer-syntax={RPCL}", EXPLICIT, RPCL),
        ("image/jphc", RPCL, RPCL),
        ("image/jls", J2K, JLS),
        ("image/jpeg", EXPLICIT, None),
        ("image/jpeg; transfer-syntax=*", EXPLICIT, None),
        (f"image/jpeg; transfer-syntax={JPEG}", EXPLICIT, JPEG),
        ("image/*", EXPLICIT, None),
        ("image/*; transfer-syntax=*", J2K, J2K),
        ('multipart/related; type="image/*"; transfer-syntax=*', EXPLICIT, None),
        (OHIF_FRAMES, EXPLICIT, EXPLICIT),
        ("application/octet-stream", J2K, EXPLICIT),
        (f"application/octet-stream; transfer-syntax={HTJ2K}", J2K, HTJ2K),
    ],
)
def test_a_codecs_media_type_means_its_default_syntax_and_others_are_named(
    accept: str, stored: str, chosen: str | None
) -> None:
    encodings = tuple(syntax for syntax in ENCODINGS if syntax != stored)
    ranked = parse_accept(accept).rank(frame_offers(stored, can_decode=True, single=True, encodings=encodings))
    assert (ranked[0].transfer_syntax if ranked else None) == chosen


VIDEO = "1.2.840.10008.1.2.4.102"
EXTENDED = "1.2.840.10008.1.2.4.51"


@pytest.mark.parametrize(
    ("stored", "single", "goes"),
    [(VIDEO, True, True), (EXTENDED, True, True), (VIDEO, False, True), (J2K, False, True), (J2K, True, False)],
)
def test_what_cannot_be_decoded_goes_by_default_as_held_when_lossy_or_one_of_several(
    stored: str, single: bool, goes: bool
) -> None:
    offers = instance_offers(stored, can_decode=False, single=single)
    ranked = parse_accept('multipart/related; type="application/dicom"').rank(offers)
    assert [offer.transfer_syntax for offer in ranked] == ([stored] if goes else [])
    explicit = parse_accept(f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT}')
    assert explicit.rank(offers) == ()
    # A video is no octets unless any encoding of them is taken.
    assert parse_accept("application/octet-stream").rank(frame_offers(VIDEO, can_decode=False, single=True)) == ()


@pytest.mark.parametrize("syntax", ["*", EXPLICIT, f'"{J2K}"'])
def test_a_transfer_syntax_means_nothing_to_what_has_none(syntax: str) -> None:
    accept = f"application/dicom+json; transfer-syntax={syntax}"
    assert str(select(accept, None, METADATA_OFFERS)) == "application/dicom+json"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ('multipart/related; type="application/dicom";transfer-syntax=*;q=0.5, application/zip', "application/zip"),
        ("application/zip;q=0.5, application/dicom;transfer-syntax=*", "application/dicom"),
        ("application/zip; transfer-syntax=*", "application/zip"),
        (f'application/zip; transfer-syntax="{J2K}"', "application/zip"),
        ("*/*", "application/dicom"),
        ("application/zip;q=0, */*", "application/dicom"),
    ],
)
def test_an_archive_is_sent_when_it_is_asked_for_and_liked_best(accept: str, chosen: str) -> None:
    offers = instance_offers(J2K, can_decode=True, single=True) + zip_offers(J2K, can_decode=True)
    assert select(accept, None, offers).type == chosen


@pytest.mark.parametrize(
    ("accept", "stored", "single", "expected"),
    [
        (OHIF_FRAMES, J2K, True, Offer("application/octet-stream", True, J2K, True)),
        (OHIF_FRAMES, EXPLICIT, True, Offer("application/octet-stream", True, EXPLICIT, True)),
        (OHIF_FRAMES, IMPLICIT, True, Offer("application/octet-stream", True, EXPLICIT, True)),
        (None, JPEG, False, Offer("application/octet-stream", True, EXPLICIT)),
        ('multipart/related; type="application/octet-stream"', JPEG, False,
         Offer("application/octet-stream", True, EXPLICIT)),
        ("application/octet-stream", EXPLICIT, True, Offer("application/octet-stream", False, EXPLICIT, True)),
        ('multipart/related; type="image/jp2"', J2K, False, Offer("image/jp2", True, J2K, True)),
        ("image/jp2", J2K, True, Offer("image/jp2", False, J2K, True)),
        (f'multipart/related; type="image/jp2"; transfer-syntax={J2K}', J2K, False,
         Offer("image/jp2", True, J2K, True)),
        ('multipart/related; type="image/*"; transfer-syntax=*', J2K, False, Offer("image/jp2", True, J2K, True)),
        ('multipart/related; type="*/*"; transfer-syntax=*', J2K, False, Offer("image/jp2", True, J2K, True)),
        ("multipart/related; type=image/x-dicom-rle", "1.2.840.10008.1.2.5", False,
         Offer("image/dicom-rle", True, "1.2.840.10008.1.2.5", True)),
        ('multipart/related; type="image/jpeg"', JPEG, False, Offer("image/jpeg", True, JPEG, True)),
        ('multipart/related; type="image/jp2", multipart/related; type="application/octet-stream";q=0.5', JPEG, False,
         Offer("application/octet-stream", True, EXPLICIT)),
    ],
)  # fmt: skip
def test_frames_go_decoded_or_as_stored(accept: str | None, stored: str, single: bool, expected: Offer) -> None:
    assert parse_accept(accept).select(frame_offers(stored, can_decode=True, single=single)) == expected


@pytest.mark.parametrize("accept", ["application/octet-stream", "image/jp2", 'multipart/related; type="image/jpeg"'])
def test_frames_that_cannot_be_had_so_are_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptableError):
        select(accept, None, frame_offers(J2K, can_decode=True, single=False))


def test_the_rest_of_the_ranking_is_what_to_fall_back_on() -> None:
    ranked = parse_accept("*/*").rank(frame_offers(J2K, can_decode=True, single=False))
    assert [offer.transfer_syntax for offer in ranked] == [EXPLICIT, J2K, J2K]


@pytest.mark.parametrize(
    ("accept", "multipart"),
    [
        (None, True),
        ("*/*", True),
        ("application/octet-stream", False),
        ('multipart/related; type="*/*"', True),
        (OHIF_FRAMES, True),
    ],
)
def test_bulkdata_are_octets(accept: str | None, multipart: bool) -> None:
    offer = select(accept, None, bulkdata_offers(single=True))
    assert offer == Offer("application/octet-stream", multipart, EXPLICIT, True)


def test_a_part_names_its_transfer_syntax() -> None:
    assert Offer("image/jp2", True, J2K).content_type == f"image/jp2; transfer-syntax={J2K}"
    assert Offer("application/dicom+json").content_type == "application/dicom+json"


def test_every_codec_has_a_media_type() -> None:
    assert FRAME_MEDIA_TYPES["1.2.840.10008.1.2.4.70"] == "image/jpeg"
    assert FRAME_MEDIA_TYPES["1.2.840.10008.1.2.4.201"] == "image/jphc"
    assert EXPLICIT not in FRAME_MEDIA_TYPES


def test_hundreds_of_ranges_are_bounded() -> None:
    accept = ", ".join(f"a/b{n}" for n in range(500)) + ", */*"
    with pytest.raises(NotAcceptableError):
        select(accept, None, SEARCH_OFFERS)
    assert len(parse_accept(accept).ranges) == 64


@given(st.text(max_size=200))
def test_any_header_is_answered_or_not_acceptable(header: str) -> None:
    try:
        chosen = select(header, header, SEARCH_OFFERS)
    except NotAcceptableError:
        return
    assert chosen in SEARCH_OFFERS
