"""The networks from which JavisDiT v0.1's stages start: a released one, or, as in the official training, the stage before it on
Open-Sora's STDiT v3, with new layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..core.weights import fill
from ..models.catalogue import identify
from ..models.javisdit.files import Tensors, checkpoint_shapes, read_checkpoint, require
from ..models.javisdit.folder01 import TITLE, JavisFolder01
from ..models.javisdit.layers import BiCrossAttention
from ..models.javisdit.load import count_modules, require_keys
from ..models.javisdit.prior_heads import Discriminator, HeadsConfig, PriorHeads
from ..models.javisdit.v01 import JavisDiT01
from ..models.javisdit.v01_audio import JavisDiT01Audio
from ..models.javisdit.v01_blocks import FinalLayer, PriorBlock, V01Config, VACross

AUDIO_TITLE, STDIT_TITLE = "JavisDiT v0.1's text-to-audio stage", "Open-Sora's STDiT v3"
# What each stage trains; everything else is frozen.
AUDIO = ("ax_embedder.", "audio_y_embedder.", "audio_spatial_blocks.", "audio_temporal_blocks.", "audio_final_layer.")
JOINT = ("st_t_block.", "st_prior_embedder.", "video_st_prior_blocks.", "audio_st_prior_blocks.", "va_cross_blocks.")
COPIED = ("spatial_blocks.", "temporal_blocks.", "y_embedder.")  # from video to audio where audio training begins


def base_config(folder: JavisFolder01) -> tuple[str, V01Config]:
    """What ``transformer`` holds, and the sizes of the network; of safetensors only the headers are read.

    Raises:
        ValueError: it holds another model.
    """
    source = folder.path / "transformer"
    tensors = checkpoint_shapes(source)
    found = identify(tensors)
    if found == TITLE:
        return found, folder.config()
    if found not in (AUDIO_TITLE, STDIT_TITLE):
        raise ValueError(
            f"{source}: this is {found}; {TITLE}, its text-to-audio stage or {STDIT_TITLE} is required. Choose another."
        )
    with require_keys(source):
        return found, _partial_config(tensors)


def _partial_config(tensors: Tensors) -> V01Config:
    """Sizes of a network without prior and cross-attention, and perhaps without audio."""
    dim, channels = tensors["x_embedder.proj.weight"].shape[:2]
    length, caption = tensors["y_embedder.y_embedding"].shape
    prefix = "audio_" if "audio_final_layer.linear.weight" in tensors else ""
    config = V01Config(
        hidden_size=dim,
        depth=count_modules(tensors, f"{prefix}spatial_blocks."),
        num_heads=dim // tensors[f"{prefix}spatial_blocks.0.attn.q_norm.weight"].shape[0],
        in_channels=channels,
        caption_channels=caption,
        model_max_length=length,
    )
    if not prefix:
        return config
    audio = tensors["ax_embedder.proj.weight"].shape
    return replace(config, audio_channels=audio[1], audio_patch=audio[2])


def audio_network(folder: JavisFolder01, device: torch.device, dtype: torch.dtype, *, seed: int) -> JavisDiT01Audio:
    """The audio branch, frozen. On STDiT v3 its blocks begin as copies of the video blocks."""
    found, config = base_config(folder)
    source = folder.path / "transformer"
    tensors = read_checkpoint(source)
    if found == STDIT_TITLE:
        tensors |= {f"audio_{name}": z for name, z in tensors.items() if name.startswith(COPIED)}
        tensors |= _new(lambda: JavisDiT01Audio(config), ("ax_embedder.", "audio_final_layer."), seed)
    network = JavisDiT01Audio(config).to(dtype)
    own = {name: tensors[name].to(dtype) for name in network.state_dict() if name in tensors}
    return fill(network, own, source=source).to(device)


def joint_network(folder: JavisFolder01, device: torch.device, dtype: torch.dtype, *, seed: int) -> JavisDiT01:
    """The whole network, frozen. On the text-to-audio stage, video comes from ``stdit`` and the other layers are new.

    Raises:
        ValueError: ``stdit`` is missing or is another model.
    """
    config = joint_config(folder)
    if base_config(folder)[0] == TITLE:
        return folder.network(device, dtype)
    source, video = folder.path / "transformer", folder.path / "stdit"
    tensors = require(read_checkpoint(video), STDIT_TITLE, source=video) | read_checkpoint(source)
    tensors |= _new(lambda: JavisDiT01(config), JOINT, seed)
    halves = {name: value.to(dtype) for name, value in tensors.items()}
    return fill(JavisDiT01(config).to(dtype), halves, source=source).to(device)


def joint_config(folder: JavisFolder01) -> V01Config:
    """The sizes of the whole network; those of new prior layers are the prior's.

    Raises:
        ValueError: ``transformer`` holds no audio, or ``stdit`` is missing where it is needed.
    """
    found, config = base_config(folder)
    if found == TITLE:
        return config
    if found == STDIT_TITLE:
        raise ValueError(
            f"{folder.path / 'transformer'}: {STDIT_TITLE} has no audio. Train javis-audio first, and put its result there."
        )
    if not (folder.path / "stdit").exists():
        raise ValueError(
            f"{folder.path / 'stdit'} is missing. {AUDIO_TITLE} has no video blocks: put {STDIT_TITLE} there."
        )
    prior = checkpoint_shapes(folder.path / "prior")
    with require_keys(folder.path / "prior"):
        return replace(
            config,
            spatial_prior_len=prior["spatial_query_emb"].shape[1],
            temporal_prior_len=prior["temporal_query_emb"].shape[1],
            st_prior_channel=prior["out_proj.weight"].shape[0] // 2,
        )


def _new(create: Callable[[], nn.Module], prefixes: tuple[str, ...], seed: int) -> dict[str, Tensor]:
    """The tensors of new layers, initialised as in the official training."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = create()
        initialise(network)
        return {name: value for name, value in network.state_dict().items() if name.startswith(prefixes)}


def initialise(network: nn.Module) -> None:
    """Initialise the layers that v0.1 adds: its updates of the streams begin at zero. Linear layers and convolutions keep torch's own
    initialisation where nothing else is said."""
    for module in network.modules():
        if isinstance(module, BiCrossAttention):
            for layer in module.children():
                assert isinstance(layer, nn.Linear)
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        if isinstance(module, (PriorBlock, FinalLayer)):
            nn.init.normal_(module.scale_shift_table, std=module.scale_shift_table.shape[1] ** -0.5)
        if isinstance(module, PriorBlock):
            for layer in (module.spatial_cross_attn.proj, module.temporal_cross_attn.proj, module.mlp.fc2):
                nn.init.zeros_(layer.weight)
        if isinstance(module, VACross):
            nn.init.zeros_(module.gamma_m1)
            nn.init.zeros_(module.gamma_m2)
        if isinstance(module, Discriminator):
            nn.init.normal_(module.cls_token)
    if isinstance(network, JavisDiT01):
        embedding = network.st_prior_embedder.y_embedding
        nn.init.normal_(embedding, std=embedding.shape[1] ** -0.5)


def new_heads(config: HeadsConfig, *, seed: int) -> PriorHeads:
    """Training heads for a prior whose file has none."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        heads = PriorHeads(config)
        initialise(heads)
    return heads
