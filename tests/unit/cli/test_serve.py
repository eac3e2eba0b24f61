"""What `serve` prints can be typed as it stands."""

import sys
from pathlib import Path

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


@pytest.mark.parametrize(
    ("viewer_dir", "expected"),
    [
        pytest.param(Path("/srv/viewer"), "http://127.0.0.1:8000/ohif/\n", id="own folder"),
        pytest.param("none", "none, as DICOMWEB_ARCHIVE_VIEWER_DIR says\n", id="not wanted"),
    ],
)
def test_the_viewers_address_is_said_or_why_there_is_none(viewer_dir: Path | str, expected: str) -> None:
    said = next_steps(Settings(viewer_dir=viewer_dir))
    assert f"Viewer       {expected}" in said


def test_who_has_no_viewer_reads_how_to_install_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert "viewer install`" in next_steps(Settings())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({}, "open: everybody", id="open"),
        pytest.param({"host": "0.0.0.0", "authentication": "none"}, "open: everybody", id="open elsewhere"),
        pytest.param({"api_key": "key"}, "asks for keys, reading needs none", id="key"),
        pytest.param({"authentication": "keys", "anonymous_read": False}, "asks for keys, reading too", id="keys"),
    ],
)
def test_an_operator_reads_who_may_do_what(settings: dict[str, object], expected: str) -> None:
    said = next_steps(Settings(**settings))
    assert f"  Access       {expected}" in said
    assert "key=" not in said
