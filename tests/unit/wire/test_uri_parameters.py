"""Query parameters of WADO-URI (PS3.18 9)."""

import pytest

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.media_types import DICOM, Offer
from dicomweb_archive.wire.query_strings import split_query
from dicomweb_archive.wire.rendering import Window, WindowFunction
from dicomweb_archive.wire.uri_parameters import Region, UriRequest, parse_uri_request, whole_pixels

NAMED = "requestType=WADO&studyUID=1.2&seriesUID=1.2.3&objectUID=1.2.3.4"
JPEG, PNG, FILE = Offer("image/jpeg"), Offer("image/png"), Offer(DICOM)


def asked(query: str = "", accept: str | None = "*/*") -> UriRequest:
    return parse_uri_request(split_query(f"{NAMED}&{query}".encode()), accept)


def test_an_instance_is_named_by_all_three_identifiers_in_any_order():
    request = parse_uri_request(split_query(b"objectUID=1.2.3.4&studyUID=1.2&requestType=WADO&seriesUID=1.2.3"), None)
    assert request == asked()
    assert (request.study_instance_uid, request.sop_instance_uid) == ("1.2", "1.2.3.4")
    assert request.frame is request.size is request.region is request.transfer_syntax is None
    assert request.warnings == ()


@pytest.mark.parametrize("missing", ["requestType", "studyUID", "seriesUID", "objectUID"])
def test_what_names_the_instance_is_required(missing):
    pairs = [pair for pair in split_query(NAMED.encode()) if pair[0] != missing]
    for broken in (pairs, [*pairs, (missing, "Doe^Jane")]):
        with pytest.raises(InvalidParameterError, match=missing) as caught:
            parse_uri_request(broken, None)
        assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("contentType=", "contentType"),
        ("contentType=image/*", "contentType"),
        ("contentType=image/jpeg,application/dicom", "contentType"),
        ("contentType=application/dicom;transfer-syntax=1.2.840.10008.1.2.1", "contentType"),
        ("contentType=text/html;charset=utf-8", "contentType"),
        ("charset=", "charset"),
        ("charset=%22", "charset"),
        ("transferSyntax=JPEG", "transferSyntax"),
        ("transferSyntax=1.2,1.3", "transferSyntax"),
        ("anonymize=no", "anonymize"),
        ("anonymize=", "anonymize"),
        ("frameNumber=0", "frameNumber"),
        ("frameNumber=-1", "frameNumber"),
        ("frameNumber=1,2", "frameNumber"),
        ("frameNumber=10000000000", "frameNumber"),
        ("frameNumber=%D9%A4", "frameNumber"),
        ("rows=0", "rows"),
        ("rows=4097", "rows"),
        ("rows=1e3", "rows"),
        ("rows=8&columns=", "columns"),
        ("region=0,0,1", "region"),
        ("region=0,0,1,1,1", "region"),
        ("region=0.5,0,0.5,1", "region"),
        ("region=0,0.6,1,0.5", "region"),
        ("region=0,0,1,1.1", "region"),
        ("region=-0.1,0,1,1", "region"),
        ("region=.,0,1,1", "region"),
        ("region=nan,0,1,1", "region"),
        ("windowCenter=40", "windowWidth"),
        ("windowWidth=400", "windowCenter"),
        ("windowCenter=nan&windowWidth=400", "windowCenter"),
        ("windowCenter=1,2&windowWidth=400", "windowCenter"),
        ("windowCenter=40&windowWidth=0.5", "windowWidth"),
        ("windowCenter=40&windowWidth=1e999", "windowWidth"),
        ("imageQuality=101", "imageQuality"),
        ("imageAnnotation=doctor", "imageAnnotation"),
        ("annotation=doctor", "annotation"),
        ("annotation=patient&imageAnnotation=patient", "annotation"),
        ("presentationUID=1.2", "presentationSeriesUID"),
        ("presentationSeriesUID=1.2", "presentationUID"),
        ("presentationUID=1.2&presentationSeriesUID=1.3&windowCenter=1&windowWidth=2", "windowCenter"),
        ("rows=8&rows=9", "rows"),
    ],
)
def test_a_value_that_breaks_its_grammar_is_refused_by_its_name(query, parameter):
    with pytest.raises(InvalidParameterError) as caught:
        asked(query)
    assert caught.value.parameter == parameter


def test_content_type_wants_nothing_but_what_it_names():
    assert asked("contentType=image/png,+image/jpeg;+q=0.5").accepted.rank((JPEG, PNG, FILE)) == (PNG, JPEG)
    assert asked("contentType=application/dicom").accepted.rank((JPEG, FILE)) == (FILE,)
    assert asked("contentType=image/jp2").accepted.rank((JPEG, FILE)) == ()
    assert asked("contentType=image/jpeg", "application/dicom").accepted.rank((JPEG, FILE)) == ()
    assert asked("contentType=application/dicom", "image/gif, image/jpeg, *; q=.2, */*; q=.2").accepted.rank([FILE])


def test_without_content_type_the_accept_header_decides():
    assert asked().accepted.rank((JPEG, FILE)) == (JPEG, FILE)
    assert asked(accept=None).accepted.rank((JPEG, FILE)) == (JPEG, FILE)
    assert asked(accept="application/dicom").accepted.rank((JPEG, FILE)) == (FILE,)
    assert asked(accept='multipart/related; type="image/jpeg"').accepted.rank((JPEG, FILE)) == ()
    assert asked(accept="image/avif,image/webp,*/*;q=0.8").accepted.rank((JPEG, FILE))[0] == JPEG


def test_a_picture_is_described():
    request = asked("windowCenter=-40.5&windowWidth=1e3&imageQuality=50&rows=64&columns=32&region=.5,0,1.,0.25")
    assert request.drawing.window == Window(-40.5, 1000, WindowFunction.LINEAR)
    assert request.drawing.quality == 50
    assert request.size == (32, 64)
    assert request.region == Region(0.5, 0, 1, 0.25)
    assert request.of_pictures == ("imageQuality", "rows", "columns", "region", "windowCenter", "windowWidth")


def test_a_side_without_a_limit_follows_the_other():
    assert asked("rows=64").size == (4096, 64)
    assert asked("columns=64").size == (64, 4096)


def test_what_is_ignored_is_said():
    request = asked("charset=ISO-8859-1&overlays=false")
    assert [warning.partition(" ")[2] for warning in request.warnings] == [
        "character set is not converted: instances come as they are stored.",
        "parameter overlays is not supported and has been ignored.",
    ]
    assert asked("charset=ISO-8859-1,utf-8;q=0.5").warnings == ()


def test_a_region_is_at_least_one_pixel_and_never_more_than_the_image():
    assert whole_pixels(Region(0, 0, 1, 1), 30, 20) == (0, 0, 30, 20)
    assert whole_pixels(Region(0.25, 0.5, 0.75, 1), 8, 4) == (2, 2, 4, 2)
    assert whole_pixels(Region(0.999, 0.999, 1, 1), 8, 4) == (7, 3, 1, 1)
    assert whole_pixels(Region(0, 0, 0.001, 0.001), 8, 4) == (0, 0, 1, 1)
