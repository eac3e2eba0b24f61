"""A study on the screen, in the words of those who look at it."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import numpy as np
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as PageTimeoutError
from tests.browser.pictures import Picture, decoded, read_png

_PICTURES_WITHIN_SECONDS = 90
_CONTENT_MS = 5_000
_FORGOTTEN_MS = 20_000
_TURN_MS = 2_000

# What a viewport shows is taken from the canvas on the page; only where it lies and which slice it claims to be is
# asked of the viewer. The corners are those of the image (or volume) on the canvas, in its own pixels.
# A viewport without a name is the first on the page. It is looked up anew at each look: while a study opens, the viewer
# replaces the viewports that it began with.
_FIND = """
  id ??= document.querySelector('[data-viewport-uid]')?.dataset.viewportUid;
  const viewport = window.cornerstone?.getEnabledElements().map(each => each.viewport).find(each => each.id === id);
"""
_STATE = f"""id => {{ {_FIND}
  if (!viewport) return null;
  const image = viewport.getImageData?.();
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  if (image) {{
    const scale = viewport.canvas.width / viewport.canvas.clientWidth;
    const ends = image.dimensions.map(count => [-0.5, count - 0.5]);
    if (viewport.type === 'stack') ends[2] = [0];
    for (const x of ends[0]) for (const y of ends[1]) for (const z of ends[2]) {{
      const [across, down] = viewport.worldToCanvas(image.imageData.indexToWorld([x, y, z]));
      box[0] = Math.min(box[0], across * scale); box[1] = Math.min(box[1], down * scale);
      box[2] = Math.max(box[2], across * scale); box[3] = Math.max(box[3], down * scale);
    }}
  }}
  return {{
    imageId: viewport.getCurrentImageId?.() ?? '',
    slice: viewport.getSliceIndex?.() ?? 0,
    slices: viewport.getNumberOfSlices?.() ?? 1,
    focus: [...(viewport.getCamera?.().focalPoint ?? [])],
    window: viewport.getProperties?.().voiRange ?? null,
    box: image ? box : null,
  }};
}}"""
_IS_SHOWN = f"""([id, slice]) => {{ {_FIND}
  if (!viewport || viewport.viewportStatus !== 'rendered' || !viewport.getImageData?.()) return false;
  if (slice !== null && viewport.getSliceIndex() !== slice) return false;
  if (viewport.type === 'stack') return viewport.csImage?.imageId === viewport.getCurrentImageId();
  const volumes = viewport.getAllVolumeIds().map(each => window.cornerstone.cache.getVolume(each));
  return volumes.every(each => each?.loadStatus?.loaded !== false);
}}"""
# Samples of the middle of the canvas. Between two series the viewer may paint the image's place in one colour.
_HAS_CONTENT = f"""id => {{ {_FIND}
  const {{ width, height }} = viewport.canvas;
  const pixels = new Uint32Array(viewport.canvas.getContext('2d').getImageData(0, 0, width, height).data.buffer);
  const colours = new Set();
  for (let y = 0.25; y < 0.75; y += 0.02) for (let x = 0.25; x < 0.75; x += 0.02)
    colours.add(pixels[Math.floor(y * height) * width + Math.floor(x * width)]);
  return colours.size > 1;
}}"""
_IS_OF = f"([id, part]) => {{ {_FIND} return viewport?.getCurrentImageId?.()?.includes(part); }}"
_IS_AT_SLICE_OR_BEYOND = f"([id, slice]) => {{ {_FIND} return viewport?.getSliceIndex() >= slice; }}"
_HAS_ALL_SLICES = (
    f"id => {{ {_FIND} return viewport.getImageIds().every(each => window.cornerstone.cache.getImage(each)); }}"
)
# The slice that the wheel has asked for: a stack is at it once the image has come, a volume at once.
_WANTED = f"""id => {{ {_FIND} return viewport.getTargetImageIdIndex?.() ?? viewport.getSliceIndex(); }}"""
_WANTS_ANOTHER = f"""([id, slice]) => {{ {_FIND}
  return viewport && (viewport.getTargetImageIdIndex?.() ?? viewport.getSliceIndex()) !== slice;
}}"""
_PAINT = f"""id => {{ {_FIND} viewport?.render(); }}"""
_FETCH = "async address => [...new Uint8Array(await (await fetch(address)).arrayBuffer())]"
_TO_DATA_URL = "canvas => canvas.toDataURL('image/png')"
_AS_DATA_URL = """async picture => {
    const reader = new FileReader();
    reader.readAsDataURL(await (await fetch(picture.src)).blob());
    await new Promise(done => { reader.onload = done; });
    return reader.result;
}"""


@dataclass(frozen=True)
class Shown:
    """What a viewport says about itself.

    Attributes:
        sop_instance_uid: the instance of the slice shown, of a stack.
        frame: its frame, from 1.
        slice: place of the slice in the viewport's order, from 0.
        slices: how many the viewport can scroll through.
        focus: the patient's coordinates in the middle of the viewport.
        window: the values shown black and white.
    """

    sop_instance_uid: str
    frame: int
    slice: int
    slices: int
    focus: tuple[float, ...]
    window: tuple[float, float] | None


class Viewer:
    """A study on the screen."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address

    def open(self, *study_instance_uids: str) -> None:
        """Open studies by the address that a link has, and wait for the first picture."""
        self.visit(*study_instance_uids)
        self.wait_for_picture()

    def visit(self, *study_instance_uids: str) -> None:
        """Open studies by the address that a link has; they may hold no picture."""
        uids = ",".join(quote(uid) for uid in study_instance_uids)
        self.page.goto(f"{self.address}/ohif/viewer?StudyInstanceUIDs={uids}")

    def show_series(self, description: str, sop_instance_uid: str | None = None) -> None:
        """Put a series of the panel into the viewport and wait for the picture, of an instance if one is given."""
        label = self.page.locator('[data-cy="series-description-label"]').get_by_text(description, exact=True)
        label.first.dblclick()
        if sop_instance_uid is not None:
            self.page.wait_for_function(_IS_OF, arg=[None, f"/instances/{sop_instance_uid}/"])
        self.wait_for_picture()

    def play_until(self, frame: int) -> None:
        """Play a cine from where it is until it is at a frame or beyond, and stop it a little later."""
        button = self.page.locator('[data-cy="cine-player-play-pause"]')
        button.click()
        self.page.wait_for_function(_IS_AT_SLICE_OR_BEYOND, arg=[None, frame - 1], polling=10)
        button.click()
        self.wait_for_picture()

    def viewports(self) -> list[str]:
        """Return the ids of the viewports, in the order of the page."""
        found = self.page.locator("[data-viewport-uid]")
        return [element.get_attribute("data-viewport-uid") or "" for element in found.all()]

    def wait_for_picture(self, viewport: str | None = None, *, slice_index: int | None = None) -> None:
        """Wait until a viewport (else the first) has painted the slice it is at, or the given one."""
        try:
            self.page.wait_for_function(_IS_SHOWN, arg=[viewport, slice_index], timeout=_FORGOTTEN_MS)
        except PageTimeoutError:
            # Now and then, on a busy machine, the viewer has an image and forgets to paint it (its status stays
            # `preRender`) until something else makes it paint: a resized window, or this.
            self.page.evaluate(_PAINT, viewport)
            self.page.wait_for_function(_IS_SHOWN, arg=[viewport, slice_index])
        # The status is set where painting is decided; the frame after it is the one on the screen.
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        # There may be images of one colour: whether it is the right picture is for the test to say.
        with suppress(PageTimeoutError):
            self.page.wait_for_function(_HAS_CONTENT, arg=viewport, timeout=_CONTENT_MS)

    def shown(self, viewport: str | None = None) -> Shown:
        """Say what a viewport shows."""
        state = self._state(viewport)
        parts = state["imageId"].split("?")[0].split("/")
        named = dict(pairwise(parts))
        window = state["window"]
        return Shown(
            sop_instance_uid=named.get("instances", ""),
            frame=int(named.get("frames", 1)),
            slice=state["slice"],
            slices=state["slices"],
            focus=tuple(state["focus"]),
            window=(window["lower"], window["upper"]) if window else None,
        )

    def picture(self, viewport: str | None = None) -> Picture:
        """Return the picture on a viewport's canvas, cut to the image, without the text over it."""
        return self._cut_to_image(decoded(self.canvas(viewport).evaluate(_TO_DATA_URL)), viewport)

    def drawn_picture(self, viewport: str | None = None) -> Picture:
        """Return what a person sees in a viewport, cut to the image: with what is drawn and written over it."""
        return self._cut_to_image(read_png(self.canvas(viewport).screenshot()), viewport)

    def canvas_picture(self) -> Picture:
        """Return the whole of the first canvas, or one black pixel while there is none."""
        canvas = self.page.locator("[data-viewport-uid] canvas").first
        return decoded(canvas.evaluate(_TO_DATA_URL)) if canvas.count() else np.zeros((1, 1, 3))

    def slide_picture(self) -> Picture:
        """Return what the microscopy viewer has painted, cut to the slide, which is all that is not transparent."""
        canvas = self.page.locator("canvas.ol-layer").first
        return decoded(canvas.evaluate(_TO_DATA_URL), only_opaque=True) if canvas.count() else np.zeros((1, 1, 3))

    def embedded_document(self) -> bytes:
        """Return the bytes of the PDF that the page holds, once it does."""
        element = self.page.locator('object[type="application/pdf"][data^="blob:"]')
        element.wait_for()
        fetched: list[int] = self.page.evaluate(_FETCH, element.get_attribute("data"))
        return bytes(fetched)

    def pane_picture(self) -> Picture:
        """Return what a person sees where pictures are shown, of whatever kind."""
        return read_png(self.page.locator('[data-cy="viewport-pane"]').first.screenshot())

    def canvas(self, viewport: str | None = None) -> Locator:
        """Return a viewport's canvas."""
        return self.page.locator(f"{_place_of(viewport)} canvas").first

    def scroll(self, slices: int, viewport: str | None = None) -> None:
        """Turn the wheel over a viewport, forward or back, and wait for the picture there."""
        target = self.shown(viewport).slice + slices
        self.canvas(viewport).hover()
        deadline = time.monotonic() + _PICTURES_WITHIN_SECONDS
        while (wanted := self.page.evaluate(_WANTED, viewport)) != target:
            assert time.monotonic() < deadline, f"the wheel asks for slice {wanted}, not {target}"
            self.page.mouse.wheel(0, 100 if target > wanted else -100)
            # One turn at a time: a busy browser makes one event of several, and the viewer one step of an event.
            with suppress(PageTimeoutError):
                self.page.wait_for_function(_WANTS_ANOTHER, arg=[viewport, wanted], timeout=_TURN_MS, polling=10)
        self.wait_for_picture(viewport, slice_index=target)

    def lay_out(self, name: str) -> None:
        """Choose a layout by the name in its menu, such as MPR."""
        self.page.locator('[data-cy="Layout"] button').first.click()
        self.page.get_by_text(name, exact=True).click()

    def lay_out_grid(self, *, columns: int, rows: int = 1) -> None:
        """Choose a layout of viewports beside and below each other."""
        self.page.locator('[data-cy="Layout"] button').first.click()
        self.page.locator(f'[data-cy="Layout-{columns - 1}-{rows - 1}"]').click()
        expect(self.page.locator("[data-viewport-uid]")).to_have_count(columns * rows)

    def put(self, viewport: str, series_description: str, series_instance_uid: str) -> None:
        """Drag a series of the panel into a viewport, and wait for its picture there."""
        series = self._series(series_description)
        series.drag_to(self.page.locator(_place_of(viewport)))
        pane = self.page.locator('[data-cy="viewport-pane"]').filter(has=self.page.locator(_place_of(viewport)))
        expect(pane.locator('[data-cy="viewport-overlay-top-left"]')).to_contain_text(series_description)
        # The text over the picture may come before it.
        self.page.wait_for_function(_IS_OF, arg=[viewport, f"/series/{series_instance_uid}/"])
        self.wait_for_picture(viewport)

    def thumbnail(self, series_description: str) -> str:
        """Return the picture of a series in the panel, as an address with the data in it."""
        picture = self._series(series_description).locator("img")
        expect(picture).to_have_attribute("src", re.compile("^(data|blob):"))
        address: str = picture.evaluate(_AS_DATA_URL)
        return address

    def wait_for_all_slices(self, viewport: str | None = None) -> None:
        """Wait until each slice of a viewport has come, looked at or not."""
        self.page.wait_for_function(_HAS_ALL_SLICES, arg=viewport)

    def _series(self, description: str) -> Locator:
        return self.page.locator('[data-cy="study-browser-thumbnail"]').filter(has_text=description)

    def wait_until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for something that only the pictures tell."""
        deadline = time.monotonic() + _PICTURES_WITHIN_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, f"did not come about: {what}"
            self.page.wait_for_timeout(50)

    def _cut_to_image(self, picture: Picture, viewport: str | None) -> Picture:
        box = self._state(viewport)["box"]
        assert box is not None, "the viewport shows no image"
        left, top, right, bottom = (max(0, round(edge)) for edge in box)
        return picture[top:bottom, left:right]

    def _state(self, viewport: str | None) -> dict[str, Any]:
        state = self.page.evaluate(_STATE, viewport)
        assert isinstance(state, dict), "there is no such viewport"
        return state


def _place_of(viewport: str | None) -> str:
    return "[data-viewport-uid]" if viewport is None else f'[data-viewport-uid="{viewport}"]'
