"""Query parameters of rendered resources (PS3.18 8.3.5.1)."""

import pytest

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.rendering import (
    Viewport,
    Window,
    WindowFunction,
    parse_quality,
    parse_thumbnail,
    parse_viewport,
    parse_window,
)


def test_window_has_center_width_and_function():
    assert parse_window("40,400,linear") == Window(40, 400, WindowFunction.LINEAR)
    assert parse_window("-0.5,1e3,linear-exact") == Window(-0.5, 1000, WindowFunction.LINEAR_EXACT)


@pytest.mark.parametrize(
    "text",
    ["", "40", "40,400", "40,400,LINEAR", "40,400,cubic", "40,0,linear", "40,0.5,linear", "40,-1,sigmoid",
     "nan,1,linear", "inf,1,linear", "1e999,1,linear", "40,400,linear,1", "٤,400,linear"],
)  # fmt: skip
def test_a_window_that_breaks_its_grammar_is_refused(text):
    with pytest.raises(InvalidParameterError):
        parse_window(text)


def test_viewport_takes_a_size_and_a_region_with_elided_values():
    assert parse_viewport("64,32") == Viewport(64, 32)
    assert parse_viewport("512,512,,,512,-512") == Viewport(512, 512, 0, 0, 512, -512)
    assert parse_viewport("412,412,100,50") == Viewport(412, 412, 100, 50)
    assert parse_viewport("412,412,,,300") == Viewport(412, 412, 0, 0, 300)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "64",
        "0,64",
        "-1,64",
        "64.5,64",
        "5000,64",
        "64,64,1,2,3,4,5",
        "64,64,-1,0,1,1",
        "64,64,0,0,0,1",
        "99999999,1",
    ],
)
def test_a_viewport_that_breaks_its_grammar_is_refused(text):
    with pytest.raises(InvalidParameterError):
        parse_viewport(text)


@pytest.mark.parametrize("text", ["0", "101", "", "1.5", "abc", "-5"])
def test_a_quality_outside_of_1_to_100_is_refused(text):
    with pytest.raises(InvalidParameterError):
        parse_quality(text)


def test_a_thumbnail_takes_a_viewport_without_a_region():
    asked = parse_thumbnail([("viewport", "64,32"), ("accept", "image/png")])
    assert (asked.size, asked.accept, asked.warnings) == ((64, 32), "image/png", ())
    assert parse_thumbnail([]).size is None
    for text in ("64,32,0,0,1,1", "64", "", "0,1", "5000,1", "64,32,", "64,,"):
        with pytest.raises(InvalidParameterError):
            parse_thumbnail([("viewport", text)])


def test_what_a_thumbnail_does_not_know_is_named():
    (quality, window) = parse_thumbnail([("window", "1,2,linear"), ("quality", "50")]).warnings
    assert "quality" in quality
    assert "window" in window
