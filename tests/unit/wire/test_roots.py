"""Roots of paths."""

import pytest

from dicomweb_archive.wire.roots import PUBLISHED, AskedRoot, RootKind, split_root

C, S = RootKind.COLLECTION, RootKind.SUBMISSION


@pytest.mark.parametrize(
    ("path", "asked", "below"),
    [
        ("/collections/DWA-000001/dicom-web/studies", AskedRoot(C, "DWA-000001"), "/dicom-web/studies"),
        ("/submissions/Zk3_x-9.b/dicom-web/studies/1.2", AskedRoot(S, "Zk3_x-9.b"), "/dicom-web/studies/1.2"),
        ("/submissions/a/dicom-web", AskedRoot(S, "a"), "/dicom-web"),
        ("/submissions/a/dicom-web/", AskedRoot(S, "a"), "/dicom-web/"),
    ],
)
def test_a_path_below_a_root_is_split(path: str, asked: AskedRoot, below: str) -> None:
    assert split_root(path) == (asked, below)
    assert path == asked.path + below.removeprefix("/dicom-web")


def test_the_viewer_lies_beside_the_services() -> None:
    assert split_root("/submissions/a/ohif/viewer") == (AskedRoot(S, "a"), "/ohif/viewer")


@pytest.mark.parametrize(
    "path",
    [
        "/dicom-web/studies",
        "/wado",
        "/submissions/a/wado",
        "/submissions/a",
        "/submissions/a/dicom-webs",
        "/submissions/a/ohifs",
        "/submissions//dicom-web",
        "/submissions/../dicom-web",
        "/submissions/.a/dicom-web",
        "/submissions/a b/dicom-web",
        "/submissions/a\n/dicom-web",
        "/submissions/ä/dicom-web",
        f"/submissions/{'a' * 65}/dicom-web",
        "/submissions/a/b/dicom-web",
        "/submission/a/dicom-web",
        "/releases/a/dicom-web",
    ],
)
def test_everything_else_stays_as_it_is(path: str) -> None:
    assert split_root(path) == (PUBLISHED, path)
