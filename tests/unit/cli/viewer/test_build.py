"""What of a published build is kept, and how it is freed of the address that it was built for."""

import tarfile
from pathlib import Path, PurePosixPath

import pytest
from tests.viewer_builds import FILES, link, write_tarball

from dicomweb_archive.cli.viewer.build import iter_files, read_version
from dicomweb_archive.errors import SetupError


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """The files to serve of a package that is built like the viewer's."""
    write_tarball(tmp_path / "build.tgz")
    return {str(name): content for name, content in iter_files(tmp_path / "build.tgz")}


def test_what_the_archive_writes_itself_or_has_no_use_for_is_left_out(files: dict[str, bytes]) -> None:
    assert sorted(files) == [
        "0123456789abcdef.wasm",
        "LICENSE",
        "app.bundle.0123456789abcdef.js",
        "app.bundle.css",
        "assets/icon.png",
        "assets/manifest.webapp",
        "fedcba9876543210.woff2",
        "index.html",
        "manifest.json",
    ]


def test_nothing_names_a_host_that_is_not_ours(files: dict[str, bytes]) -> None:
    assert [name for name, content in files.items() if b"public.example" in content] == []


def test_a_script_finds_its_address_when_it_runs(files: dict[str, bytes]) -> None:
    script = files["app.bundle.0123456789abcdef.js"]
    assert b'__webpack_require__.p = "/"' not in script
    assert b'__webpack_require__.p = new URL(".", self.document' in script


def test_style_sheets_and_icons_name_their_neighbours(files: dict[str, bytes]) -> None:
    assert b"url(fedcba9876543210.woff2)" in files["app.bundle.css"]
    assert b"url(data:x)" in files["app.bundle.css"]
    assert b'"assets/icon.png"' in files["manifest.json"]
    assert b'"60": "icon.png"' in files["assets/manifest.webapp"]


def test_the_page_has_no_inline_script_and_marks_where_the_address_belongs(files: dict[str, bytes]) -> None:
    page = files["index.html"]
    assert b"<script>" not in page
    assert b"service-worker" not in page
    for marked in (b'src="./app-config.js"', b'src="./app.bundle.0', b'href="./manifest.json"', b'content="./assets/'):
        assert marked in page
    assert b'href="//elsewhere.example/"' in page


def test_what_is_no_script_and_no_page_is_kept_byte_for_byte(files: dict[str, bytes]) -> None:
    assert files["fedcba9876543210.woff2"] == FILES["package/dist/fedcba9876543210.woff2"]


def test_the_list_of_studies_survives_a_study_without_a_modality(tmp_path: Path) -> None:
    loop = b"for (let i = 0; i < ModalitiesInStudy.Value.length; i++) {"
    name = "package/dist/app.bundle.0123456789abcdef.js"
    write_tarball(tmp_path / "build.tgz", {**FILES, name: FILES[name] + loop})
    files = {str(name): content for name, content in iter_files(tmp_path / "build.tgz")}
    assert b"i < (ModalitiesInStudy.Value || []).length;" in files["app.bundle.0123456789abcdef.js"]


@pytest.mark.parametrize(
    "member",
    [
        link("package/dist/leak.txt", "/etc/passwd"),
        link("package/dist/leak.txt", "../../../etc/passwd"),
        link("package/dist/leak.txt", "package/package.json", hard=True),
        tarfile.TarInfo("package/dist/../../escaped.txt"),
        tarfile.TarInfo("/package/dist/escaped.txt"),
        tarfile.TarInfo("package/dist//escaped.txt"),
        tarfile.TarInfo("elsewhere/dist/escaped.txt"),
        tarfile.TarInfo("package/dist/.hidden.txt"),
        tarfile.TarInfo("package/dist/back\\slash.txt"),
    ],
    ids=lambda member: member.linkname or member.name,
)
def test_links_and_names_that_lead_elsewhere_are_no_part_of_a_build(tmp_path: Path, member: tarfile.TarInfo) -> None:
    write_tarball(tmp_path / "build.tgz", FILES, member)
    names = [name for name, _ in iter_files(tmp_path / "build.tgz")]
    assert all(name.suffix != ".txt" for name in names)


@pytest.mark.parametrize("missing", ["package/dist/index.html", "package/dist/app.bundle.0123456789abcdef.js"], ids=str)
def test_a_package_of_something_else_is_refused(tmp_path: Path, missing: str) -> None:
    write_tarball(tmp_path / "build.tgz", {name: content for name, content in FILES.items() if name != missing})
    with pytest.raises(SetupError, match="no build of the viewer"):
        list(iter_files(tmp_path / "build.tgz"))


@pytest.mark.parametrize("kept", [0, 30, -40], ids=["empty", "head", "cut"])
def test_a_damaged_package_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "build.tgz"
    write_tarball(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SetupError, match="cannot be read as an npm package"):
        list(iter_files(path))


@pytest.mark.parametrize("described", [b"{}", b"[]", b"no JSON", b'{"version": 3}'], ids=repr)
def test_a_package_that_does_not_say_its_version_is_refused(tmp_path: Path, described: bytes) -> None:
    write_tarball(tmp_path / "build.tgz", {"package/package.json": described})
    with pytest.raises(SetupError, match=r"package\.json"):
        read_version(tmp_path / "build.tgz")


def test_names_are_relative_to_the_build(tmp_path: Path) -> None:
    write_tarball(tmp_path / "build.tgz")
    assert read_version(tmp_path / "build.tgz") == "9.8.7"
    assert PurePosixPath("assets/icon.png") in [name for name, _ in iter_files(tmp_path / "build.tgz")]
