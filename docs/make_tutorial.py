"""Write the pictures of docs/tutorial.md: ``python docs/make_tutorial.py ADDRESS``.

ADDRESS is that of a ComfyUI with Duet and its sample clips. Runs under Python 3.11 or newer with playwright and chromium.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from make_workflows import browser_page
from PIL import Image
from playwright.sync_api import Page

IMAGES = Path(__file__).parent / "images"
WIDTH = 1100  # pixels
OFFICIAL = "video_ltx2_3_t2v"
OPEN = """() => {
  const node = window.app.graph._nodes.find((n) => n.subgraph);
  window.app.canvas.openSubgraph(node.subgraph, node);
}"""
LOOK_AT = """([type, scale]) => {
  const { canvas } = window.app;
  const node = canvas.graph._nodes.filter((n) => n.type === type).sort((a, b) => a.pos[0] - b.pos[0])[0];
  canvas.ds.scale = scale;
  canvas.ds.offset = [700 / scale - node.pos[0], 420 / scale - node.pos[1]];
  canvas.setDirty(true, true);
}"""
BEFORE_GUIDERS = """() => {
  const { canvas } = window.app;
  const guiders = canvas.graph._nodes.filter((n) => n.type === "CFGGuider").sort((a, b) => a.pos[0] - b.pos[0]);
  const placed = canvas.graph._nodes.filter((n) => n.type === "DuetCrossModalGuidance");
  for (const [k, guider] of guiders.entries()) {
    const node = placed[k] ?? LiteGraph.createNode("DuetCrossModalGuidance");
    if (!placed[k]) canvas.graph.add(node);
    node.pos = [guider.pos[0], guider.pos[1] + 320];
    const link = guider.getInputLink(0);
    canvas.graph.getNodeById(link.origin_id).connect(link.origin_slot, node, 0);
    node.connect(0, guider, 0);
  }
  canvas.setDirty(true, true);
  return guiders.length;
}"""
FIT = (
    "() => { window.app.canvas.fitViewToSelectionAnimated?.({ duration: 1 }); window.app.canvas.setDirty(true, true); }"
)


def picture(page: Page, name: str, area: tuple[int, int, int, int]) -> None:
    """Write the part ``area`` (left, top, width and height in pixels) of the page."""
    clip = dict(zip(("x", "y", "width", "height"), area, strict=True))
    image = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")  # pyright: ignore[reportArgumentType]
    size = (WIDTH, round(image.height * WIDTH / image.width))
    image.resize(size, Image.Resampling.LANCZOS).save(IMAGES / f"tutorial-{name}.webp", quality=78, method=6)


def open_template(page: Page, address: str, query: str) -> None:
    """Open a template from its address, as *Templates* does."""
    page.goto(f"{address}/?template={query}", wait_until="domcontentloaded")
    page.wait_for_function("() => window.app?.graph?._nodes?.length > 1", timeout=90_000)
    page.wait_for_timeout(4000)
    page.keyboard.press("Escape")
    page.evaluate("async () => await window.app.extensionManager.setting.set('Comfy.Minimap.Visible', false)")


def run(page: Page) -> None:
    """Press Run and wait for the end."""
    page.evaluate("async () => { await window.app.queuePrompt(0, 1) }")
    queued = "async () => { const q = await (await fetch('/queue')).json(); return Object.values(q).flat().length }"
    page.wait_for_timeout(2000)
    while page.evaluate(queued):
        page.wait_for_timeout(1000)
    page.wait_for_timeout(4000)


def insert_guidance(page: Page, address: str) -> None:
    """Step 7: the official LTX-2.3 graph with 'Duet Cross-Modal Guidance', found by the node search, before both guiders."""
    open_template(page, address, OFFICIAL)
    page.wait_for_function("() => window.app.graph._nodes.some((n) => n.subgraph)", timeout=90_000)
    page.evaluate(OPEN)
    page.wait_for_function("() => window.app.canvas.graph._nodes.some((n) => n.type === 'CFGGuider')", timeout=90_000)
    page.wait_for_timeout(1500)
    page.evaluate(LOOK_AT, ["CFGGuider", 0.9])
    page.wait_for_timeout(1000)
    page.mouse.dblclick(760, 900)
    page.wait_for_timeout(1500)
    page.keyboard.type("cross-modal guidance")
    page.wait_for_timeout(1500)
    page.keyboard.press("Enter")
    page.wait_for_timeout(1000)
    page.evaluate(BEFORE_GUIDERS)
    page.evaluate(LOOK_AT, ["CFGGuider", 0.9])
    page.wait_for_timeout(1500)


def main(address: str) -> None:
    with browser_page(address) as page:
        for name, query in (("clip", "text_to_av&source=duet"), ("measure", "measure_any_clip&source=duet")):
            open_template(page, address, query)
            run(page)
            page.evaluate(FIT)
            page.wait_for_timeout(1500)
            picture(page, name, (230, 225, 1445, 555))
        insert_guidance(page, address)
        picture(page, "own-graph", (350, 200, 1050, 720))


if __name__ == "__main__":
    main(sys.argv[1])
