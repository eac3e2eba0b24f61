"""Installing a build: in one step, once, into a folder of its own."""

import gzip
import os
from pathlib import Path

import pytest
from tests.viewer_builds import FILES, write_tarball

from dicomweb_archive.cli.viewer import installation
from dicomweb_archive.cli.viewer.installation import (
    RECORD,
    install_viewer,
    is_current,
    read_installation,
    remove_viewer,
)
from dicomweb_archive.cli.viewer.release import Release
from dicomweb_archive.errors import SetupError


@pytest.fixture
def tarball(tmp_path: Path) -> Path:
    return tmp_path / "build.tgz"


@pytest.fixture
def release(tarball: Path) -> Release:
    return Release("@ohif/app", None, write_tarball(tarball))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "share" / "viewer"


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_says_what_is_in_it(tarball: Path, release: Release, folder: Path) -> None:
    made = install_viewer(tarball, folder, release)
    assert read_installation(folder) == made
    assert (made.package, made.version, made.sha256) == ("@ohif/app", "9.8.7", release.sha256)
    assert (folder / made.licence).read_bytes() == FILES["package/LICENSE"]
    assert made.files == len(names(folder) - {RECORD}) - 2  # two of them compressed, too


def test_what_shrinks_is_compressed_beside_itself(tarball: Path, release: Release, folder: Path) -> None:
    install_viewer(tarball, folder, release)
    compressed = {name for name in names(folder) if name.endswith(".gz")}
    assert compressed == {"0123456789abcdef.wasm.gz", "app.bundle.0123456789abcdef.js.gz"}
    for name in compressed:
        assert gzip.decompress((folder / name).read_bytes()) == (folder / name.removesuffix(".gz")).read_bytes()
        # The server takes an older one for the rest of a file that was changed by hand.
        assert (folder / name).stat().st_mtime_ns >= (folder / name.removesuffix(".gz")).stat().st_mtime_ns


def test_a_compressed_copy_that_is_hardly_smaller_is_not_kept(tmp_path: Path, folder: Path) -> None:
    tarball = tmp_path / "random.tgz"
    release = Release("p", None, write_tarball(tarball, {**FILES, "package/dist/noise.js": os.urandom(4096)}))
    install_viewer(tarball, folder, release)
    assert "noise.js" in names(folder)
    assert "noise.js.gz" not in names(folder)


def test_the_same_release_is_left_as_it_is(tarball: Path, release: Release, folder: Path) -> None:
    first = install_viewer(tarball, folder, release)
    before = (folder / "index.html").stat().st_mtime_ns
    assert is_current(folder, release)
    assert install_viewer(tarball, folder, release) == first
    assert (folder / "index.html").stat().st_mtime_ns == before


def test_another_release_takes_the_place_of_the_one_before(tmp_path: Path, tarball: Path, folder: Path) -> None:
    with_more = {**FILES, "package/dist/more.js": b"more"}
    install_viewer(tarball, folder, Release("p", None, write_tarball(tarball, with_more)))
    assert "more.js" in names(folder)
    newer = tmp_path / "newer.tgz"
    install_viewer(newer, folder, Release("p", "2", write_tarball(newer)))
    assert "more.js" not in names(folder)
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["viewer"]


def test_a_build_fitted_by_an_older_archive_is_not_current(tarball: Path, release: Release, folder: Path) -> None:
    install_viewer(tarball, folder, release)
    record = folder / RECORD
    record.write_text(record.read_text().replace(f'"fitting": {installation.FITTING}', '"fitting": 0'))
    assert not is_current(folder, release)
    assert install_viewer(tarball, folder, release).fitting == installation.FITTING


def test_an_install_that_fails_leaves_the_one_before(tmp_path: Path, tarball: Path, folder: Path) -> None:
    release = Release("p", "1", write_tarball(tarball))
    before = install_viewer(tarball, folder, release)
    broken = tmp_path / "broken.tgz"
    broken_release = Release("p", "2", write_tarball(broken, {"package/dist/index.html": b"<html>"}))
    with pytest.raises(SetupError, match="no build of the viewer"):
        install_viewer(broken, folder, broken_release)
    assert read_installation(folder) == before
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["viewer"]


def test_what_a_killed_install_has_left_is_cleared_up(tarball: Path, release: Release, folder: Path) -> None:
    # Killed between its two renames: the old viewer is aside, the new one was not put in place.
    install_viewer(tarball, folder, release)
    old, half_made = folder.with_name(".viewer-old"), folder.with_name(".viewer-new-abc")
    folder.rename(old)
    half_made.mkdir()
    (half_made / "index.html").write_bytes(b"half")
    before = (old / "index.html").stat().st_mtime_ns
    install_viewer(tarball, folder, release)
    assert (folder / "index.html").stat().st_mtime_ns == before
    assert not old.exists()
    assert not half_made.exists()


def test_a_folder_that_holds_something_else_is_not_replaced(tarball: Path, release: Release, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(SetupError, match="has not made"):
        install_viewer(tarball, folder, release)
    with pytest.raises(SetupError, match="there is no viewer"):
        remove_viewer(folder)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_an_empty_folder_is_taken(tarball: Path, release: Release, folder: Path) -> None:
    folder.mkdir(parents=True)
    install_viewer(tarball, folder, release)
    assert "index.html" in names(folder)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, tarball: Path, release: Release) -> None:
    # A file in the way fails for everybody, the administrator too.
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SetupError, match=r"cannot be written to .*file/viewer"):
        install_viewer(tarball, tmp_path / "file" / "viewer", release)


def test_others_may_read_what_one_has_installed(tarball: Path, release: Release, folder: Path) -> None:
    install_viewer(tarball, folder, release)
    assert folder.stat().st_mode & 0o755 == 0o755


def test_a_removed_viewer_is_gone(tarball: Path, release: Release, folder: Path) -> None:
    install_viewer(tarball, folder, release)
    remove_viewer(folder)
    assert not folder.exists()


@pytest.mark.parametrize("record", [b"", b"{}", b"[]", b'{"package": 1}'], ids=repr)
def test_a_folder_with_an_unknown_record_holds_no_installation(tmp_path: Path, record: bytes) -> None:
    (tmp_path / RECORD).write_bytes(record)
    assert read_installation(tmp_path) is None
