"""Write docs/images/timed.webp: ``python docs/make_recording.py ADDRESS``.

A recording of the ComfyUI at ADDRESS with Duet: an event is dragged, the graph runs again, and the report says by how many ms the new
clip is off. Runs under Python 3.11 or newer with playwright and chromium.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from make_workflows import browser_page
from PIL import Image, ImageDraw
from playwright.sync_api import Page

TARGET = Path(__file__).parent / "images" / "timed.webp"
PROMPT, TIMELINE = "a large red bell on the left at night", "0.40 both: the bell\n1.00 both: the bell\n"


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


AUTO = dict.fromkeys(("model", "text_encoder", "video_codec", "audio_codec"), "auto")
TIMED = {"timeline": TIMELINE, "seconds": 2.0, "strength": 1.0, "soft_edges": 0.0, "repeat_prompt": True}
SCALES = {"video": 2.0, "audio": 2.0, "audio_to_video": 3.0, "video_to_audio": 3.0}
EMPTY = {"width": 64, "height": 64, "seconds": 2.0, "fps": 0, "batch": 1}
GRAPH = {
    "1": node("DuetLoadAV", **AUTO),
    "2": node("DuetTimedPrompt", model=["1", 0], clip=["1", 1], video=PROMPT, audio="", **TIMED),
    "3": node("DuetStrategyUCG", form="sync, then text (U2')", **SCALES),
    "4": node("DuetEncodePrompt", clip=["1", 1], video=PROMPT, audio="", negative=""),
    "5": node("DuetGuider", model=["2", 0], positive=["2", 1], strategy=["3", 0], negative=["4", 1]),
    "6": node("DuetEmptyLatent", model=["1", 0], **EMPTY),
    "7": node("DuetSampler", guider=["5", 0], latent=["6", 0], seed=7, steps=8),
    "8": node("DuetDecode", latent=["7", 0], video_vae=["1", 2], audio_vae=["1", 3], tiling=False),
    "9": node("DuetPlanReport", plan=["2", 2], images=["8", 0], audio=["8", 1], fps=["8", 2], detector="pocket world"),
    "10": node("PreviewImage", images=["9", 4]),
}
PLACES = {"2": (0, 0, 560, 860), "9": (600, 0, 640, 330), "10": (600, 370, 640, 490)}  # x, y, width, height of a node
BOX = {"x": 150, "y": 78, "width": 1260, "height": 900}  # pixels of the page
ARRANGE = """(places) => {
  const { app } = window;
  for (const node of app.graph._nodes) {
    const place = places[node.id];
    node.pos = place ? place.slice(0, 2) : [3000, 0];
    if (place) node.setSize(place.slice(2));
  }
  app.canvas.ds.scale = 1;
  app.canvas.ds.offset = [160, 110];
  app.canvas.setDirty(true, true);
}"""
RUN = """async () => {
  const { app } = window;
  const done = new Promise((resolve) => app.api.addEventListener("execution_success", resolve, { once: true }));
  await app.queuePrompt(0);
  await done;
}"""
STEPS, TO = 16, 0.55  # pictures of the drag; seconds by which the event is moved
FIRST, AFTER_DRAG, LAST = 2200, 900, 3500  # ms of these pictures; those of the drag take 70


def shown(page: Page, pointer: tuple[float, float] | None = None) -> Image.Image:
    """The nodes, with the pointer."""
    image = Image.open(io.BytesIO(page.screenshot(clip=BOX))).convert("RGB")  # pyright: ignore[reportArgumentType]
    if pointer:
        x, y = pointer[0] - BOX["x"], pointer[1] - BOX["y"]
        ImageDraw.Draw(image).polygon([(x, y), (x, y + 18), (x + 5, y + 13), (x + 13, y + 13)], "white", "black")
    return image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.LANCZOS)


def main(address: str) -> None:
    with browser_page(address) as page:
        page.keyboard.press("Escape")
        page.evaluate("async () => await window.app.extensionManager.setting.set('Comfy.Minimap.Visible', false)")
        page.evaluate("(api) => window.app.loadApiJson(api, 'timed')", GRAPH)
        page.wait_for_timeout(1000)
        page.evaluate(ARRANGE, PLACES)
        page.evaluate(RUN)
        page.wait_for_timeout(2500)
        page.evaluate(ARRANGE, PLACES)
        page.wait_for_timeout(1500)
        frames, durations = [shown(page)], [FIRST]
        early, late = (
            page.locator(f".duet-editor .mark[aria-label*='{time}']").first.bounding_box() or {}
            for time in ("0.4", "1 ")
        )
        x, y = late["x"] + late["width"] / 2, late["y"] + late["height"] / 2
        each = (late["x"] - early["x"]) / 0.6  # pixels of a second
        page.mouse.move(x, y)
        page.mouse.down()
        for step in range(STEPS):
            at = x + each * TO * step / (STEPS - 1)
            page.mouse.move(at, y)
            page.wait_for_timeout(200)
            frames.append(shown(page, (at, y)))
            durations.append(70)
        page.mouse.up()
        page.wait_for_timeout(500)
        frames.append(shown(page, (x + each * TO, y)))
        durations.append(AFTER_DRAG)
        page.evaluate(RUN)
        page.wait_for_timeout(2500)
        frames.append(shown(page))
        durations.append(LAST)
    frames[0].save(TARGET, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=80, method=4)


if __name__ == "__main__":
    main(sys.argv[1])
