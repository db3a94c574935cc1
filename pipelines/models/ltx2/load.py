"""Reading and writing pocket LTX-2, whose files are in the official layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ...core.schema import checked
from ...core.weights import Uninitialised, check_sizes, configured, fill, save_weights
from ..addons.add_on import add_on_config
from ..choose import POCKET_LTX2, model_files
from ..lora import LoRAConfig, lora_changes
from ..pocket.load import PocketModel, load_audio_codec, load_text_encoder, load_video_codec
from .add_ons import load_layers
from .context import load_context
from .keys import PREFIX, to_diffusers, to_official
from .pocket import PocketLTX2
from .pocket_config import (
    CONTEXT_KIND,
    FILE,
    KIND,
    NAME,
    TIMED_FILE,
    TIMED_KIND,
    PocketLTX2Config,
    read_file,
    scaled_codecs,
)


def save_pocket_ltx2(path: Path, model: PocketLTX2, *, record: dict[str, Any]) -> None:
    """Write ``model`` under the official tensor names, in float16, with the sizes in the metadata."""
    tensors = to_official(model.network.transformer.state_dict())
    halves = {f"{PREFIX}{name}": value.detach().to("cpu", torch.float16) for name, value in tensors.items()}
    config = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(model.config).items()}
    sizes = json.dumps({"transformer": model.config.sizes().official})
    save_weights(path, halves, kind=KIND, config=config, record=record, extra={"config": sizes})


def load_pocket_ltx2(path: Path = FILE) -> PocketLTX2:
    """A pocket LTX-2 that ``duet train pocket-ltx2`` wrote.

    Raises:
        ValueError: not such a file, or one that does not fit its own configuration.
    """
    file = read_file(path)
    config, own = configured(PocketLTX2Config, file), to_diffusers(file.tensors)
    check_sizes(lambda: PocketLTX2(config).network.transformer, own, source=path)
    model = PocketLTX2(config)
    fill(model.network.transformer, own, source=path)
    return model.eval().requires_grad_(False)


def load_pocket_ltx2_model(path: Path = FILE, *, context: Path | None = None) -> PocketModel:
    """Pocket LTX-2 with the pocket text encoder and the codecs in the layout of its latents, and the context tokens of the file
    ``context``."""
    network = load_pocket_ltx2(path)
    if context is not None:
        network.network.install_context(load_context(context, read_file(path).sha256))
    frames, sound = scaled_codecs(network.config, load_video_codec(), load_audio_codec())
    files = {**model_files(POCKET_LTX2), KIND: path, **({} if context is None else {CONTEXT_KIND: context})}
    return PocketModel(network, load_text_encoder(), frames, sound, name=NAME, files=files)


def copied(network: PocketLTX2) -> PocketLTX2:
    """A network with the same weights, context tokens and add-on layers; a deep copy would share the hooks of the original."""
    with Uninitialised():
        out = PocketLTX2(network.config)
    out.network.transformer.load_state_dict(network.network.transformer.state_dict())
    if network.network.context is not None:
        out.network.install_context(network.network.context)
    out.add_ons.update(dict(network.add_ons.items()))
    for own, theirs in zip(out.pairs(), network.pairs(), strict=True):
        own.map(lambda half, other: half.add_ons.update(other.add_ons), theirs)
    return out.eval().requires_grad_(False)


def with_layers(network: PocketLTX2, kind: str, base: str) -> PocketLTX2:
    """A copy of ``network``, whose file has the hash ``base``, with the layers of ``kind`` that ship; without their condition its output
    is the same, bit for bit.

    Raises:
        ValueError: the layers are not there, or were trained on another network.
    """
    return load_layers(kind, network.config, base).requires_grad_(False).install(copied(network))


def with_timed_lora(network: PocketLTX2, base: str, path: Path = TIMED_FILE) -> PocketLTX2:
    """A copy of ``network``, whose file has the hash ``base``, with the LoRA for timed text that ``duet train pocket-ltx2-timed`` wrote.

    Raises:
        ValueError: the file is of another kind, was trained on another base, or does not fit its own configuration.
    """
    file = read_file(path, TIMED_KIND)
    out = copied(network)
    rank = checked(LoRAConfig, add_on_config(file, base, stage=TIMED_KIND), source=file.path).rank
    weights = dict(out.network.transformer.named_parameters())
    changes = to_diffusers({f"{name}.weight": z for name, z in lora_changes(file.tensors, rank).items()})
    fits = all(name in weights and weights[name].shape == change.shape for name, change in changes.items())
    if not fits or len(file.tensors) != 3 * len(changes):  # A, B and alpha of each layer
        raise ValueError(f"{path} does not fit its own configuration. Restore the file or train it again.")
    for name, change in changes.items():
        weights[name].data += change
    return out
