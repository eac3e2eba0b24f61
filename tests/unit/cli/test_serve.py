"""What `serve` prints can be typed as it stands."""

import pytest

from dicomweb_archive.cli.serve import next_steps
from dicomweb_archive.settings import Settings


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        pytest.param("127.0.0.1", 8000, "search\n", id="usual"),
        pytest.param("127.0.0.1", 8001, "search --from http://127.0.0.1:8001/dicom-web\n", id="other port"),
        pytest.param("::1", 8000, "search --from http://[::1]:8000/dicom-web\n", id="IPv6"),
        pytest.param("0.0.0.0", 8001, "search --from http://127.0.0.1:8001/dicom-web\n", id="all addresses"),
    ],
)
def test_commands_name_the_server_where_they_must(host: str, port: int, expected: str) -> None:
    assert expected in next_steps(Settings(host=host, port=port, api_key="key"))


def test_an_address_that_nobody_can_follow_is_warned_of() -> None:
    everywhere = Settings(host="0.0.0.0", api_key="key")
    assert "DICOMWEB_ARCHIVE_PUBLIC_URL" in next_steps(everywhere)
    named = everywhere.model_copy(update={"public_url": "https://images.example.org"})
    assert "DICOMWEB_ARCHIVE_PUBLIC_URL" not in next_steps(named)
