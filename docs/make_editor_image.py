"""Write docs/images/editor.webp, an event dragged in the timeline editor: ``python docs/make_editor_image.py ADDRESS``.

ADDRESS is that of a ComfyUI with Duet. Runs under Python 3.11 or newer with playwright and chromium.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from make_workflows import browser_page
from PIL import Image, ImageDraw
from playwright.sync_api import Page

TARGET = Path(__file__).parent / "images" / "editor.webp"
TEXT = "# the drum answers\n0.30 bell left\n1.00 drum middle   # too early\n1.40 bell right silent\n"
NODE = """(text) => {
  const { app, LiteGraph } = window;
  app.graph.clear();
  const node = LiteGraph.createNode("DuetTimelinePrompt");
  app.graph.add(node);
  node.pos = [0, 0];
  const set = (name, value) => {
    const widget = node.widgets.find((w) => w.name === name);
    widget.value = value;
    widget.callback?.(value);
  };
  set("seconds", 2);
  set("timeline", text);
  set("prompt", "a bell and a drum");
  node.setSize([560, 640]);
  app.canvas.ds.scale = 1;
  app.canvas.ds.offset = [160, 120];
  app.canvas.setDirty(true, true);
}"""
STEPS, DISTANCE = 16, 0.7  # pictures of the drag; share of the distance between two other events
DURATIONS = {0: 900, STEPS - 1: 1800}  # ms of the first and the last picture; the others take 70


def shown(page: Page, box: dict[str, float], pointer: tuple[float, float]) -> Image.Image:
    """The part of the page in ``box``, with the pointer."""
    image = Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB")  # pyright: ignore[reportArgumentType]
    x, y = pointer[0] - box["x"], pointer[1] - box["y"]
    ImageDraw.Draw(image).polygon([(x, y), (x, y + 15), (x + 4, y + 11), (x + 11, y + 11)], "white", "black")
    return image


def main(address: str) -> None:
    with browser_page(address) as page:
        page.keyboard.press("Escape")
        page.evaluate(NODE, TEXT)
        page.wait_for_timeout(2000)
        first, drum, last = (
            page.locator(f".duet-editor .mark[aria-label^='{name}']").first
            for name in ("bell at 0.3", "drum", "bell at 1.4")
        )
        start, left, right = (mark.bounding_box() or {} for mark in (drum, first, last))
        x, y = start["x"] + 6, start["y"] + 5
        root = page.locator(".duet-editor").bounding_box() or {}
        box = {"x": root["x"], "y": root["y"] - 190, "width": root["width"], "height": root["height"] + 190}
        page.mouse.move(x, y)
        page.mouse.down()
        frames = []
        for step in range(STEPS):
            at = x + (right["x"] - left["x"]) * DISTANCE * step / (STEPS - 1)
            page.mouse.move(at, y)
            if step == STEPS - 1:
                page.mouse.up()
            page.wait_for_timeout(500)
            frames.append(shown(page, box, (at, y)))
    durations = [DURATIONS.get(step, 70) for step in range(STEPS)]
    frames[0].save(TARGET, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=80, method=4)


if __name__ == "__main__":
    main(sys.argv[1])
