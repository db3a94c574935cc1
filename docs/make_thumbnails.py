"""Write workflows/NAME.jpg: ``python docs/make_thumbnails.py ADDRESS OUTPUT [NAME ...]``.

Opens each example graph in the browser of the ComfyUI at ADDRESS, whose output folder is OUTPUT. A graph of the pocket model is
executed, and its picture shows the saved clips (frames and waveform) below the graph; the others show the graph alone. That
ComfyUI must list the files of all models, or the graph is shown with errors.
"""

from __future__ import annotations

import io
import json
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from make_workflows import LAYOUT, WORKFLOWS, browser_page
from PIL import Image, ImageDraw
from playwright.sync_api import Page

from duet_av.pipelines import read_mp4
from duet_av.pipelines.models.ltx2 import pocket_config

WIDTH, FRAMES, WAVE, MARGIN = 800, 8, 36, 6  # pixels: width, waveform and margin; number of frames in a row
HIGHEST = 900  # pixels
VIEW = (2600, 1500)  # pixels of the page
FREE = (90, 130)  # pixels at the left and the top of the page that the front end covers
FIT = """([width, height, left, top]) => {
  const { canvas, graph } = window.app;
  const boxes = [...graph._groups, ...graph._nodes].map((b) => [b.pos[0] + b.size[0], b.pos[1] + b.size[1]]);
  const [right, bottom] = [0, 1].map((axis) => Math.max(...boxes.map((b) => b[axis])) + 20);
  const scale = Math.min((width - left) / (right + 20), (height - top) / (bottom + 20), 1.2);
  canvas.ds.scale = scale;
  canvas.ds.offset[0] = left / scale + 20;
  canvas.ds.offset[1] = top / scale + 20;
  canvas.setDirty(true, true);
  return [(right + 20) * scale, (bottom + 20) * scale];
}"""


def fetch(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return json.loads(answer.read())


def graph_picture(page: Page, name: str) -> Image.Image:
    """The graph in the classic front end."""
    graph = json.loads((WORKFLOWS / f"{name}.json").read_text())
    page.evaluate("(graph) => window.app.loadGraphData(graph, true, true, null)", graph)
    page.wait_for_timeout(1500)
    width, height = page.evaluate(FIT, [*VIEW, *FREE])
    page.wait_for_timeout(1500)
    area = {"x": FREE[0], "y": FREE[1], "width": width, "height": height}
    return Image.open(io.BytesIO(page.screenshot(clip=area))).convert("RGB")


def results(address: str, name: str) -> list[dict[str, str]]:
    """The files that the graph saves or previews."""
    api = (WORKFLOWS / "api" / f"{name}.json").read_bytes()
    body = b'{"prompt": %s}' % api
    request = urllib.request.Request(f"{address}/prompt", data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        prompt = json.loads(answer.read())["prompt_id"]
    while not (history := fetch(f"{address}/history/{prompt}")):
        time.sleep(1)
    if history[prompt]["status"]["status_str"] != "success":
        raise RuntimeError(f"{name} failed: {history[prompt]['status']['messages'][-1]}")
    return [file for out in history[prompt]["outputs"].values() for file in out.get("images", [])]


def clip_row(path: Path) -> Image.Image:
    """Evenly spaced frames of a clip above its waveform."""
    clip = read_mp4(path)
    side = WIDTH // FRAMES
    row = Image.new("RGB", (WIDTH, side + WAVE), "#111")
    for slot, k in enumerate(np.linspace(0, len(clip.frames) - 1, FRAMES).round().astype(int)):
        frame = Image.fromarray((clip.frames[k] * 255).round().byte().numpy()).resize((side - 4, side - 4))
        row.paste(frame, (slot * side + 2, 2))
    wave = clip.waveform.mean(0).numpy()
    peaks = [np.abs(part).max() for part in np.array_split(wave, WIDTH)]
    draw, middle = ImageDraw.Draw(row), side + WAVE // 2
    for x, peak in enumerate(np.array(peaks) / max(*peaks, 1e-3) * (WAVE / 2 - 2)):
        draw.line([(x, middle - peak), (x, middle + peak)], fill="#f0a24d")
    return row


def scaled(picture: Image.Image) -> Image.Image:
    return picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)


def result_pictures(address: str, output: Path, name: str) -> list[Image.Image]:
    """The clips that the graph saves, or its preview pictures if it saves none."""
    files = results(address, name)
    clips = [output / file["subfolder"] / file["filename"] for file in files if file["filename"].endswith(".mp4")]
    if clips:
        return [clip_row(path) for path in clips]
    pictures = []
    for file in files:
        with urllib.request.urlopen(f"{address}/view?{urllib.parse.urlencode(file)}") as answer:
            pictures.append(scaled(Image.open(io.BytesIO(answer.read())).convert("RGB")))
    return pictures


def main(address: str, output: str, *names: str) -> None:
    with browser_page(address) as page:
        page.set_viewport_size({"width": VIEW[0], "height": VIEW[1]})
        page.evaluate("async () => await window.app.extensionManager.setting.set('Comfy.Minimap.Visible', false)")
        for name in names or LAYOUT["graphs"]:
            parts = [scaled(graph_picture(page, name))]
            nodes = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text()).values()
            loaded = {n["inputs"]["model"] for n in nodes if n["class_type"] == "DuetLoadAV"}
            pocket = "auto" in loaded or ("pocket LTX-2" in loaded and pocket_config.FILE.is_file())
            if pocket or name == "measure_any_clip":
                parts = result_pictures(address, Path(output), name) + parts
            height = sum(part.height + MARGIN for part in parts)
            sheet = Image.new("RGB", (WIDTH, height), "#111")
            top = 0
            for part in parts:
                sheet.paste(part, (0, top))
                top += part.height + MARGIN
            if height > HIGHEST:
                sheet = sheet.resize((round(WIDTH * HIGHEST / height), HIGHEST), Image.Resampling.LANCZOS)
            sheet.save(WORKFLOWS / f"{name}.jpg", quality=82)
            print(name, sheet.size)


if __name__ == "__main__":
    main(*sys.argv[1:])
