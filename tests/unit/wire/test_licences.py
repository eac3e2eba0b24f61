"""Licences of collections."""

import pytest

from dicomweb_archive.wire.licences import parse_licence


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("cc0-1.0", "CC0-1.0"),
        ("CC-BY-NC-4.0", "CC-BY-NC-4.0"),
        ("LicenseRef-DUA", "LicenseRef-DUA"),
        ("mit or apache-2.0", "MIT OR Apache-2.0"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_licences_of_the_list_are_written_as_it_writes_them(text: str, licence: str) -> None:
    assert parse_licence(text) == licence


@pytest.mark.parametrize(
    "text",
    [
        "CC-BY-9.9",
        "free for all",
        "MIT OR",
        "(" * 100 + "MIT" + ")" * 100,
        "MIT OR " * 60 + "MIT",
        "MIT\0",
        "__import__('os')",
    ],
)
def test_what_is_no_licence_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="SPDX") as raised:
        parse_licence(text)
    assert text not in str(raised.value)
