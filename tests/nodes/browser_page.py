"""The front end in chromium, for tests."""

import os
import shutil

import pytest

CHROMIUM = shutil.which("chromium")
BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH is not set: the server was not run"),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: the browser was not opened"),
]
VUE = "async (on) => await window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
ARGUMENTS = ["--no-sandbox", "--use-gl=swiftshader", "--disable-background-networking"]


def opened_page(browser, address, nodes=0):
    """A page of the front end at ``address``, once a graph with ``nodes`` nodes is loaded and drawn."""
    page = browser.new_page(viewport={"width": 1900, "height": 1000})
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_function("() => window.app?.graph && window.app.extensionManager?.setting", timeout=90_000)
    if nodes:
        page.wait_for_function("(n) => window.app.graph._nodes.length === n", arg=nodes, timeout=90_000)
    page.wait_for_timeout(3000)
    return page
