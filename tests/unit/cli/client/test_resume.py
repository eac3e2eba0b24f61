"""The memory of what a server has acknowledged."""

import stat
from dataclasses import replace
from pathlib import Path

from dicomweb_archive.cli.client.resume import Acknowledged, default_state_folder
from dicomweb_archive.cli.client.sources import Source

ROOT = "http://127.0.0.1:8000/dicom-web"
DOE = Source("doe/1.dcm", Path("/x/doe/1.dcm"), 10, 20)


def test_what_was_acknowledged_is_known_after_a_restart(tmp_path: Path) -> None:
    memory = Acknowledged.for_server(tmp_path, ROOT)
    assert DOE not in memory
    memory.add([DOE], "/studies/1/series/2/instances/3")
    again = Acknowledged.for_server(tmp_path, ROOT)
    assert DOE in again
    assert again.probe == "/studies/1/series/2/instances/3"
    assert DOE not in Acknowledged.for_server(tmp_path, "http://other/dicom-web")


def test_a_changed_file_is_another_file(tmp_path: Path) -> None:
    memory = Acknowledged.for_server(tmp_path, ROOT)
    memory.add([DOE], None)
    assert replace(DOE, size_bytes=11) not in memory
    assert replace(DOE, modified_ns=21) not in memory
    assert replace(DOE, file=Path("/x/doe/2.dcm")) not in memory


def test_the_state_file_holds_no_path_and_is_private(tmp_path: Path) -> None:
    memory = Acknowledged.for_server(tmp_path, ROOT)
    memory.add([DOE], None)
    (path,) = tmp_path.iterdir()
    assert "doe" not in path.read_text() + path.name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_cut_short_by_a_kill_costs_one_file_at_most(tmp_path: Path) -> None:
    memory = Acknowledged.for_server(tmp_path, ROOT)
    others = [replace(DOE, size_bytes=size) for size in range(3)]
    memory.add(others, None)
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text()[:-10])
    again = Acknowledged.for_server(tmp_path, ROOT)
    again.add([DOE], None)
    known = [source in Acknowledged.for_server(tmp_path, ROOT) for source in (*others, DOE)]
    assert known[:2] == [True, True]
    assert sum(known) >= 2


def test_forgetting_removes_everything(tmp_path: Path) -> None:
    memory = Acknowledged.for_server(tmp_path, ROOT)
    memory.add([DOE], "/studies/1/series/2/instances/3")
    memory.forget()
    assert DOE not in memory
    assert not list(tmp_path.iterdir())
    assert len(Acknowledged.for_server(tmp_path, ROOT)) == 0


def test_without_a_file_nothing_is_kept() -> None:
    memory = Acknowledged(None)
    memory.add([DOE], "/studies/1")
    assert DOE not in memory


def test_the_folder_follows_the_environment() -> None:
    assert default_state_folder({"XDG_STATE_HOME": "/s"}) == Path("/s/dicomweb-archive/store")
