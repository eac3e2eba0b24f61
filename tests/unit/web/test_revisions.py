"""Changes by revision: ETag and If-Match."""

import pytest
from starlette.requests import Request

from dicomweb_archive.errors import PreconditionFailedError, PreconditionRequiredError
from dicomweb_archive.web.conditional import expected_revision, revision_tag


def request(*if_match: str) -> Request:
    return Request({"type": "http", "headers": [(b"if-match", line.encode()) for line in if_match]})


def test_the_tag_of_a_revision_names_it() -> None:
    assert expected_revision(request(revision_tag(12))) == 12
    assert expected_revision(request(' "7" ')) == 7
    assert expected_revision(request("*")) is None


@pytest.mark.parametrize("lines", [(), ("",)], ids=["none", "empty"])
def test_a_change_without_a_revision_is_told_to_name_one(lines: tuple[str, ...]) -> None:
    with pytest.raises(PreconditionRequiredError, match="If-Match"):
        expected_revision(request(*lines))


@pytest.mark.parametrize(
    "lines", [('W/"3"',), ("3",), ('"3", "4"',), ('"3"', '"4"'), ('"-3"',), ('"three"',), ('"' + "9" * 19 + '"',)]
)
def test_what_is_no_single_strong_revision_cannot_be_the_present_one(lines: tuple[str, ...]) -> None:
    with pytest.raises(PreconditionFailedError):
        expected_revision(request(*lines))
