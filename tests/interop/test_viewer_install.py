"""The viewer from its package to the browser: installed by the command, served by a server of its own."""

import gzip
from pathlib import Path

import httpx
from tests.interop.conftest import RunCommand
from tests.needs import need_viewer
from tests.running_server import PATIENCE_SECONDS, RunningServer, start_server
from tests.viewer_builds import SCRIPT, write_tarball


def test_an_installed_viewer_is_served_below_the_archives_prefix(tmp_path: Path, run_command: RunCommand) -> None:
    digest = write_tarball(tmp_path / "build.tgz")
    folder = tmp_path / "viewer"
    installed = run_command(
        "viewer", "install", "--tarball", tmp_path / "build.tgz", "--sha256", digest, "--to", folder
    )
    assert installed.exit_code == 0, installed.output
    with start_server(
        tmp_path, DICOMWEB_ARCHIVE_VIEWER_DIR=str(folder), DICOMWEB_ARCHIVE_ROOT_PATH="/archive"
    ) as server:
        address = server.root.removesuffix("/dicom-web").removesuffix("/archive") + "/archive/ohif/"
        with httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False) as client:
            assert 'src="/archive/ohif/app-config.js"' in client.get(address).text
            name = "app.bundle.0123456789abcdef.js"
            with client.stream("GET", address + name, headers={"accept-encoding": "gzip"}) as answer:
                script = gzip.decompress(b"".join(answer.iter_raw()))
    assert len(script) > len(SCRIPT)
    assert b"self.location.href" in script


def test_the_real_viewer_is_served_whole_and_names_no_file_that_is_missing(running_server: RunningServer) -> None:
    folder = need_viewer()
    address = running_server.root.removesuffix("/dicom-web") + "/ohif/"
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".gz"]
    names = [path.relative_to(folder).as_posix() for path in files if not path.name.startswith(".")]
    assert len(names) > 100
    with httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False) as client:
        answers = {name: client.head(address + name) for name in names}
        assert [name for name, answer in answers.items() if answer.status_code != 200] == []
        assert [name for name, answer in answers.items() if "octet-stream" in answer.headers["content-type"]] == []
        largest = max(names, key=lambda name: (folder / name).stat().st_size)
        assert client.get(address + largest).content == (folder / largest).read_bytes()
