"""Nodes for the tests of official templates, loaded by their server beside the pack: a text encoder without weights, and a file
with the streams of a latent."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from official_files import H3, TEXT_WIDTH, shrink_h3_vaes

shrink_h3_vaes()


class TextEncoder:
    """The two calls of the host's CLIP that its nodes use; the states are random and depend on the text alone."""

    def __init__(self, width):
        self.width = width

    def tokenize(self, text, **_):
        return text

    def encode_from_tokens_scheduled(self, text, **_):
        generator = torch.Generator().manual_seed(sum(text.encode()) % 2**31)
        return [[torch.randn(1, 9, self.width, generator=generator), {}]]


class StandInTextEncoder:
    RETURN_TYPES, FUNCTION, CATEGORY = ("CLIP",), "load", "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - the name that the host calls
        return {"required": {"family": (["ltx2", "h3"],)}}

    def load(self, family):
        return (TextEncoder({"ltx2": TEXT_WIDTH, "h3": H3["text_dim"]}[family]),)


class StandInSaveLatent:
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "save", "tests", True

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - the name that the host calls
        return {"required": {"latent": ("LATENT",), "name": ("STRING", {"default": ""})}}

    def save(self, latent, name):
        import folder_paths

        video, audio = latent["samples"].unbind()
        folder = Path(folder_paths.get_output_directory())
        folder.mkdir(exist_ok=True)  # the host creates it with the first file that its own nodes save
        save_file({"video": video.contiguous(), "audio": audio.contiguous()}, folder / f"{name}.safetensors")
        return {}


NODE_CLASS_MAPPINGS = {node.__name__: node for node in (StandInTextEncoder, StandInSaveLatent)}
