"""The commands and the code of our pages do what the pages say: they are run in order, against a running archive.

README's are run by the walk through it in a browser.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clusters import open_folder
from tests.conftest import REPOSITORY
from tests.documents import Block, blocks_of
from tests.factories import ct_series
from tests.needs import need_program
from tests.newcomer import Newcomer, newcomer_in

DOCS = REPOSITORY / "docs"
PROGRAMS = {"curl", "rsync", "unzip", "sha256sum"}


@pytest.fixture(scope="module")
def newcomer() -> Iterator[Newcomer]:
    """A newcomer who has started the archive, stored the demo, and has files of their own."""
    with open_folder() as folder, newcomer_in(folder) as newcomer:
        _write_series(folder / "incoming" / "site-a", study=1)
        _write_series(folder / "incoming" / "site-b", study=2)
        _write_series(newcomer.home / "my-dicom-folder" / "below", study=3)
        _write_series(folder / "exported", study=4)
        shutil.make_archive(str(folder / "export"), "zip", folder / "exported")
        shutil.copy(folder / "exported" / "001.dcm", folder / "image.dcm")
        newcomer.start(".venv/bin/dicomweb-archive serve")
        newcomer.run(".venv/bin/dicomweb-archive demo")
        yield newcomer


def _write_series(folder: Path, *, study: int) -> None:
    folder.mkdir(parents=True)
    for number, data in enumerate(ct_series(4, study=study), start=1):
        (folder / f"{number:03d}.dcm").write_bytes(data)


@pytest.mark.parametrize(
    "page",
    [
        DOCS / "start.md",
        DOCS / "howto" / "upload-pipeline.md",
        DOCS / "howto" / "notebook.md",
        DOCS / "howto" / "cohort.md",
        DOCS / "howto" / "filter.md",
        DOCS / "howto" / "backup.md",
    ],
    ids=lambda page: page.name,
)
def test_what_a_page_tells_to_type_works(newcomer: Newcomer, page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = blocks_of(page)
    for program in sorted(PROGRAMS & {word for block in blocks for word in block.text.split()}):
        need_program(program)
    monkeypatch.chdir(newcomer.folder)
    names: dict[str, Any] = {}
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language == "sh":
            printed = _type(newcomer, block)
        elif block.language == "python":
            printed = newcomer.evaluate(block, names)
        else:
            continue
        if following is not None and following.language == "text" and block.language == "python":
            assert following.text in printed, f"{following} is not what {block} prints"


def _type(newcomer: Newcomer, block: Block) -> str:
    if " serve" in block.text:
        newcomer.start(block.text)
        return ""
    return newcomer.run(block.text)
