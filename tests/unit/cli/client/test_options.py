"""What the options make of a server."""

import pytest

from dicomweb_archive.cli.client.options import server_of


def test_credentials_do_not_stay_in_the_url_that_is_printed() -> None:
    server = server_of("https://jane:s%40cret@host/dicom-web/", None, (), 10)
    assert server.root == "https://host/dicom-web"
    assert server.auth == ("jane", "s@cret")


@pytest.mark.parametrize("root", ["http://127.0.0.1:8000/dicom-web", "https://host", "http://[::1]:80/x"])
def test_a_root_without_credentials_stays_as_it_is(root: str) -> None:
    server = server_of(root, "key", (("X-Name", "value"),), 10)
    assert server.auth is None
    assert server.root.replace(":80/", "/") == root.replace(":80/", "/")


async def test_each_request_carries_key_and_headers() -> None:
    async with server_of("http://host/x", "secret", (("X-Name", "value"),), 10).client(1) as client:
        request = client.build_request("GET", "http://host/x")
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["X-Name"] == "value"
    assert request.headers["User-Agent"].startswith("dicomweb-archive/")
