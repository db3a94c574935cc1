"""The host as a library: a real ComfyUI at COMFYUI_PATH, no server. Without it these tests are skipped, visibly."""

import asyncio
import importlib
import os
import sys
from types import SimpleNamespace

import pytest

REASON = "COMFYUI_PATH is not set: the tests with a real ComfyUI were not run"


def pytest_collection_modifyitems(items):
    for item in items:
        if "comfy" in getattr(item, "fixturenames", ()):
            # The host's own imports and calls warn; only our code is held to none.
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(scope="session")
def comfy():
    """The pack's nodes by id, and the host modules that the tests call."""
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


@pytest.fixture(scope="session")
def javis_folder(comfy, tmp_path_factory):
    """A models folder with tiny JavisDiT files in the official layouts, known to the host."""
    import folder_paths

    sys.path.insert(0, os.path.dirname(__file__))
    from javisdit_files import write_models

    models = tmp_path_factory.mktemp("javis") / "models"
    write_models(models, tmp_path_factory.mktemp("words"))
    for name in ("diffusion_models", "text_encoders", "vae"):
        folder_paths.add_model_folder_path(name, str(models / name), is_default=True)
    return models
