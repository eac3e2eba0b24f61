"""README's walk of five minutes, done as it is written: its commands, its links, its words, in a real browser.

With `--screenshots` it takes README's pictures on its way.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pydicom
import pytest
from playwright.sync_api import Page, expect
from pydicom.dataset import Dataset
from tests.browser.conftest import Shoot
from tests.browser.pictures import assert_shown, rendered
from tests.browser.viewer import Viewer
from tests.clusters import open_folder
from tests.conftest import REPOSITORY
from tests.documents import Block, blocks_of, section_of
from tests.factories import ct_series
from tests.needs import need_program, need_viewer
from tests.newcomer import Newcomer, newcomer_in

from dicomweb_archive.cli.client.phantom import iter_demo

README = REPOSITORY / "README.md"
_STEP = re.compile(r"^\*\*(\d)\. ", re.MULTILINE)
_BOLD = re.compile(r"\*\*(.+?)\*\*", re.DOTALL)
_ADDRESS = re.compile(r"<(http://[^>]+)>")


@dataclass(frozen=True)
class Step:
    """One step of the walk.

    Attributes:
        title: its bold words at the beginning, without the number.
        names: further bold words: what is to be found on the screen.
        addresses: what is to be opened in the browser.
    """

    title: str
    names: list[str]
    addresses: list[str]
    blocks: list[Block]


def steps_of_the_walk() -> list[Step]:
    section = section_of(README, "Five minutes")
    starts = [match.start() for match in _STEP.finditer(section)]
    assert [section[start + 2] for start in starts] == [str(number) for number in range(1, len(starts) + 1)]
    return [_step(section[start:end]) for start, end in zip(starts, [*starts[1:], None], strict=True)]


def _step(text: str) -> Step:
    title, *names = (" ".join(bold.split()) for bold in _BOLD.findall(text))
    return Step(title[3:], names, _ADDRESS.findall(text), blocks_of(README, text))


@pytest.fixture
def newcomer() -> Iterator[Newcomer]:
    """Somebody with a fresh clone and a few files of their own."""
    need_viewer()
    need_program("make")
    with open_folder() as folder, newcomer_in(folder) as newcomer:
        mine = newcomer.home / "my-dicom-folder"
        mine.mkdir()
        for number, data in enumerate(ct_series(3)):
            (mine / f"{number}.dcm").write_bytes(data)
        yield newcomer


@pytest.mark.slow
def test_the_walk_ends_with_a_ct_on_the_screen(newcomer: Newcomer, page: Page, shoot: Shoot) -> None:
    done = []
    for step in steps_of_the_walk():
        for block in step.blocks:
            _type(newcomer, block)
        if step.addresses:
            _find_and_open(newcomer, page, step, shoot)
            done.append("found")
        if step.title.startswith("The viewer opens with the CT"):
            _look_and_scroll(Viewer(page, newcomer.address), shoot)
            done.append("seen")
    assert done == ["found", "seen"]


def _type(newcomer: Newcomer, block: Block) -> None:
    if block.language == "python":
        assert newcomer.evaluate(block, {}), f"{block} prints nothing"
    elif block.text.startswith("make "):
        newcomer.start(block.text)
    else:
        newcomer.run(block.text)


def _find_and_open(newcomer: Newcomer, page: Page, step: Step, shoot: Shoot) -> None:
    (address,), (study, link) = step.addresses, step.names
    page.goto(newcomer.here(address))
    studies = page.locator("#studies tbody tr")
    expect(studies).to_have_count(2)
    line = studies.filter(has_text=study)
    expect(line).to_have_count(1)
    # Leaving a page while its small pictures come would count as failed requests.
    page.wait_for_load_state("networkidle")
    shoot("home")
    line.get_by_role("link", name=link).click()


def _look_and_scroll(viewer: Viewer, shoot: Shoot) -> None:
    """See a slice of the CT, the next one after a turn of the wheel, and the middle of the head after many."""
    demo = [instance.data for instance in iter_demo() if instance.name.startswith("ct/")]
    slices = {image.SOPInstanceUID: image for image in (pydicom.dcmread(io.BytesIO(data)) for data in demo)}
    viewer.wait_for_picture()
    first = _hold_to_pydicom(viewer, slices)
    viewer.scroll(1)
    assert _hold_to_pydicom(viewer, slices) != first
    viewer.scroll(viewer.shown().slices // 2)
    # There the head hardly changes from one slice to the next.
    _hold_to_pydicom(viewer, slices, apart=15)
    shoot("ct")


def _hold_to_pydicom(viewer: Viewer, slices: dict[str, Dataset], *, apart: int = 1) -> str:
    """Hold the picture shown to that slice as pydicom renders it, and to no slice so far apart."""
    uid = viewer.shown().sop_instance_uid
    order = list(slices)
    place = order.index(uid)
    beside = [slices[order[other]] for other in (place - apart, place + apart) if 0 <= other < len(order)]
    assert_shown(viewer.picture(), rendered(slices[uid]), map(rendered, beside))
    return uid
