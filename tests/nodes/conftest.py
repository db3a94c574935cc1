"""The host as a library: a real ComfyUI at COMFYUI_PATH, no server. Without it these tests are skipped with a reason."""

import asyncio
import contextlib
import importlib
import importlib.metadata
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.insert(0, os.path.dirname(__file__))  # the helper modules beside the tests

from browser_page import ARGUMENTS, CHROMIUM, opened_page
from official_files import H3, TRANSFORMER, host_model

REASON = "COMFYUI_PATH is not set: the tests with a real ComfyUI were not run"
TESTED = ("torch", "transformers", "av", "comfyui-frontend-package", "comfyui-workflow-templates-json")


def pytest_terminal_summary(terminalreporter):
    """The versions that the tests ran with; a quiet run prints no header."""
    if "COMFYUI_PATH" not in os.environ:
        return
    text = Path(os.environ["COMFYUI_PATH"], "comfyui_version.py").read_text()
    found = {"ComfyUI": text.split('"')[1], "Python": ".".join(map(str, sys.version_info[:3]))}
    for name in TESTED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    terminalreporter.write_line("Ran with " + ", ".join(f"{name} {version}" for name, version in found.items()))


def pytest_collection_modifyitems(items):
    for item in items:
        if "comfy" in getattr(item, "fixturenames", ()):
            # The host's own imports and calls emit warnings; only warnings of this pack are errors.
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(scope="session")
def comfy():
    """The pack's nodes by id, and the host modules that the tests use."""
    if "COMFYUI_PATH" not in os.environ:
        pytest.skip(REASON)
    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import comfy.options

        comfy.options.enable_args_parsing(False)
        from comfy.cli_args import args

        args.cpu = True
        import comfy.nested_tensor
        import comfy.samplers
        from comfy_extras import nodes_audio, nodes_custom_sampler

        import duet_av

        async def listed():
            extension = await duet_av.comfy_entrypoint()
            return await extension.get_node_list()

        pack = {node.GET_SCHEMA().node_id: node for node in asyncio.run(listed())}
    return SimpleNamespace(
        pack=pack,
        nested=comfy.nested_tensor.NestedTensor,
        samplers=comfy.samplers,
        core=importlib.import_module("nodes"),
        audio=nodes_audio,
        custom=nodes_custom_sampler,
    )


@pytest.fixture
def run(comfy):
    """Execute one of the pack's nodes and return its outputs."""
    return lambda node_id, *args, **kwargs: comfy.pack[node_id].execute(*args, **kwargs).args


@pytest.fixture(scope="session")
def loaded(comfy):
    """MODEL, CLIP, video VAE and audio VAE of the pocket model."""
    return comfy.pack["DuetLoadAV"].execute("auto", "auto", "auto", "auto").args[:4]


@pytest.fixture
def empty(run, loaded):
    """An empty latent of the pocket model's own size."""
    return run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 16, 1)[0]


@pytest.fixture(scope="session")
def javis_folder(comfy, tmp_path_factory):
    """A models folder with tiny JavisDiT files in the official layouts, registered with the host."""
    import folder_paths
    from javisdit_files import write_models

    models = tmp_path_factory.mktemp("javis") / "models"
    write_models(models, tmp_path_factory.mktemp("words"))
    for name in ("diffusion_models", "text_encoders", "vae"):
        folder_paths.add_model_folder_path(name, str(models / name), is_default=True)
    return models


def tiny(family, config):
    """A MODEL of one of the host's families with random weights."""
    import comfy.model_patcher

    model = host_model(family, config)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.diffusion_model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.15
    for buffer in model.diffusion_model.buffers():
        if buffer.is_floating_point():
            buffer.data = torch.rand(buffer.shape, generator=generator)
    return comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


def _words(seed, length, width, **more):
    return [[torch.randn(1, length, width, generator=torch.Generator().manual_seed(seed)), more]]


@pytest.fixture(scope="session")
def ltx(comfy):
    latent = comfy.nested((torch.zeros(1, 128, 3, 4, 4), torch.zeros(1, 8, 13, 16)))
    more = {"frame_rate": 24.0}
    return SimpleNamespace(
        model=tiny("LTXAV", {**TRANSFORMER, "image_model": "ltxav"}),
        positive=_words(1, 6, 96, **more),
        negative=_words(2, 6, 96, **more),
        latent=latent,
    )


@pytest.fixture(scope="session")
def h3(comfy):
    latent = comfy.nested((torch.zeros(1, 24, 2, 4, 4), torch.zeros(1, 32, 2, 8)))
    return SimpleNamespace(
        model=tiny("MiniMaxH3", {**H3, "image_model": "minimax_h3"}),
        positive=_words(1, 6, 40),
        negative=_words(2, 9, 40),
        latent=latent,
    )


@pytest.fixture(scope="session")
def words():
    """A CONDITIONING of random states: (seed, length, width, further entries)."""
    return _words


@pytest.fixture
def pocket(run, loaded):
    """The pocket model with the prompts and the latent of one clip."""
    positive, negative, _ = run("DuetEncodePrompt", loaded[1], "a red ball bounces slowly on the left", "", "")
    latent = run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 16, 1)[0]["samples"]
    return SimpleNamespace(model=loaded[0], positive=positive, negative=negative, latent=latent)


@pytest.fixture
def shown(comfy):
    """Execute one of the pack's nodes and return the text that it shows."""

    def shown(node_id, *args, **kwargs):
        output = comfy.pack[node_id].execute(*args, **kwargs)
        return output.ui.as_dict()["text"][0] if output.ui else ""

    return shown


@pytest.fixture(scope="session")
def server(comfy, tmp_path_factory):
    """A server with only this pack, tiny JavisDiT files and the sample inputs: its address and its output folder."""
    from comfy_server import PACK, running_server
    from javisdit_files import write_models

    base = tmp_path_factory.mktemp("comfy")
    write_models(base / "models", tmp_path_factory.mktemp("words"))
    (base / "input").mkdir()
    samples = [*(PACK / "web" / "samples").glob("*.mp4"), Path(os.environ["COMFYUI_PATH"], "input", "example.png")]
    for sample in samples:
        shutil.copy(sample, base / "input")
    with running_server(base) as address:
        yield address, base / "output"


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: the browser was not opened"
    )
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(server, browser):
    """Opens a path of the server in a new page and waits until a graph with ``nodes`` nodes is loaded and drawn."""
    pages = []

    def opened(path, nodes=0):
        pages.append(opened_page(browser, f"{server[0]}/{path}", nodes))
        return pages[-1]

    yield opened
    for page in pages:
        page.close()
