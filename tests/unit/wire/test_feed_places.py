"""Places in the change feed: the same for ever, readable by their archive alone."""

import pytest

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.feed_places import FeedPlaces
from dicomweb_archive.wire.sealed_text import Sealing

PLACES = FeedPlaces(b"secret of an archive")


@pytest.mark.parametrize("position", [0, 1, 10**12])
def test_a_place_is_read_again_and_has_one_text(position: int) -> None:
    assert PLACES.open(PLACES.seal(position)) == position
    assert PLACES.seal(position) == PLACES.seal(position)
    assert len(PLACES.seal(position)) == len(PLACES.seal(0))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4",
        "now",
        "ä",
        FeedPlaces(b"another").seal(1),
        Sealing(b"secret of an archive", b"page_token").seal(bytes(8)),
    ],
)
def test_what_this_archive_has_not_named_is_no_place(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="since"):
        PLACES.open(text)
