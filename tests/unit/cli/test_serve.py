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


def test_the_addresses_that_are_shown_can_be_opened() -> None:
    everywhere = Settings(host="0.0.0.0", api_key="key")
    assert "0.0.0.0" not in next_steps(everywhere)
    assert "  http://127.0.0.1:8000/dicom-web\n" in next_steps(everywhere)
    named = everywhere.model_copy(update={"public_url": "https://images.example.org"})
    assert "  https://images.example.org/dicom-web\n" in next_steps(named)
