"""Loads JavisDiT's parts from their official files. Sizes are read from the tensors, so that no configuration file can contradict them.

Values that cannot be read from a tensor's shape have other sources: head widths are those of the releases; AudioLDM2's scale and the
vocoder's rates are in their config.json.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from torch import Tensor, nn

from ...core.documents import read_object
from ...core.schema import Between, Length, Width, checked
from ...core.weights import build, check_sizes
from .audio import AudioLDM2Codec
from .autoencoder import AutoencoderKL, KLConfig
from .files import Tensors, read_checkpoint, require
from .opensora_vae import OpenSoraVAE, TemporalConfig
from .v01 import JavisDiT01, V01Config
from .v10 import JavisDiT10, V10Config

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)
V10_HEAD = 128  # channels of a head
MAX_MODULES = 512  # of one list
OLDER_NAMES = (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))


def count_modules(names: Iterable[str], prefix: str) -> int:
    """The number of numbered modules after ``prefix``."""
    found = (re.match(re.escape(prefix) + r"(\d+)\.", name) for name in names)
    count = 1 + max((int(match[1][:9]) for match in found if match), default=-1)
    if count > MAX_MODULES:
        raise ValueError(f"it numbers {count} modules {prefix}N; at most {MAX_MODULES} are supported")
    return count


def v01_config(tensors: Tensors) -> V01Config:
    """The sizes of a v0.1 network."""
    dim, channels = tensors["x_embedder.proj.weight"].shape[:2]
    length, caption = tensors["y_embedder.y_embedding"].shape
    priors, prior_channels = tensors["st_prior_embedder.y_embedding"].shape
    audio = tensors["ax_embedder.proj.weight"].shape
    return V01Config(
        hidden_size=dim,
        depth=count_modules(tensors, "va_cross_blocks."),
        num_heads=dim // tensors["spatial_blocks.0.attn.q_norm.weight"].shape[0],
        in_channels=channels,
        audio_channels=audio[1],
        audio_patch=audio[2],
        caption_channels=caption,
        model_max_length=length,
        spatial_prior_len=priors // 2,
        temporal_prior_len=priors - priors // 2,
        st_prior_channel=prior_channels,
    )


def v10_config(tensors: Tensors) -> V10Config:
    """The sizes of a v1.0 network."""
    dim, channels = tensors["patch_embedding.weight"].shape[:2]
    return V10Config(
        dim=dim,
        ffn_dim=tensors["blocks.0.ffn.0.weight"].shape[0],
        num_layers=count_modules(tensors, "blocks."),
        num_heads=dim // V10_HEAD,
        freq_dim=tensors["time_embedding.0.weight"].shape[1],
        text_dim=tensors["text_embedding.0.weight"].shape[1],
        in_dim=channels,
        audio_in_dim=tensors["audio_patch_embedding.weight"].shape[1],
    )


NETWORKS: dict[str, tuple[Callable[[Tensors], Any], Callable[[Any], nn.Module]]] = {
    "JavisDiT v0.1": (v01_config, JavisDiT01),
    "JavisDiT v1.0": (v10_config, JavisDiT10),
}


Sizes = Annotated[tuple[Annotated[int, Between(1, 4096)], ...], Length(1, 16)]


@dataclass(frozen=True)
class AutoencoderScale:
    """The entry of an autoencoder's config.json that its tensors do not determine."""

    scaling_factor: Annotated[float, Between(1e-3, 1e3)]


@dataclass(frozen=True)
class VocoderConfig:
    """The entries of the vocoder's config.json that are read, as ``SpeechT5HifiGanConfig`` names them."""

    upsample_rates: Sizes
    model_in_dim: Width = 80
    upsample_initial_channel: Width = 512
    upsample_kernel_sizes: Sizes = (8, 8, 8, 8)
    resblock_kernel_sizes: Sizes = (3, 7, 11)
    resblock_dilation_sizes: Annotated[tuple[Sizes, ...], Length(1, 16)] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    sampling_rate: Annotated[int, Between(8000, 192_000)] = 16_000
    leaky_relu_slope: Annotated[float, Between(0, 1)] = 0.1
    normalize_before: bool = True


@contextmanager
def require_keys(source: Path) -> Iterator[None]:
    """Turn a missing tensor, or one of an impossible shape, inside the ``with`` block into an error that names ``source``.

    Raises:
        ValueError: the block looked up a tensor that is missing, or a size that it does not have.
    """
    try:
        yield
    except KeyError as error:
        raise ValueError(
            f"{source}: the tensor {error.args[0]} is missing. Download the complete checkpoint again."
        ) from error
    except (ValueError, IndexError, ArithmeticError) as error:
        raise ValueError(
            f"{source}: its tensors have impossible shapes ({error}). Download the complete checkpoint again."
        ) from error


def network_sizes(name: str, tensors: Tensors, *, source: Path) -> V01Config | V10Config:
    """The sizes of 'JavisDiT v0.1' or 'JavisDiT v1.0', which have exactly these ``tensors``.

    Raises:
        ValueError: tensors are missing or have other shapes.
    """
    sizes_of, network = NETWORKS[name]
    with require_keys(source):
        sizes = sizes_of(tensors)
    check_sizes(lambda: network(sizes), tensors, source=source)
    return sizes


def _kl_config(tensors: Tensors) -> KLConfig:
    """The sizes of a diffusers autoencoder."""
    levels = range(count_modules(tensors, "encoder.down_blocks."))
    return KLConfig(
        in_channels=tensors["encoder.conv_in.weight"].shape[1],
        out_channels=tensors["decoder.conv_out.weight"].shape[0],
        latent_channels=tensors["post_quant_conv.weight"].shape[0],
        block_out_channels=tuple(tensors[f"encoder.down_blocks.{i}.resnets.0.conv2.weight"].shape[0] for i in levels),
        layers_per_block=count_modules(tensors, "encoder.down_blocks.0.resnets."),
    )


def load_video_autoencoder(path: Path) -> OpenSoraVAE:
    """Open-Sora's video autoencoder, in the precision of its file.

    Raises:
        ValueError: the file is of another model.
    """
    tensors = require(read_checkpoint(path), "Open-Sora's video autoencoder v1.2", source=path)
    spatial, temporal = (
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for prefix in ("spatial_vae.module.", "temporal_vae.")
    )
    with require_keys(path):
        first = temporal["encoder.conv_in.conv.weight"]
        levels = range(count_modules(temporal, "encoder.block_res_blocks."))
        halved = [f"encoder.conv_blocks.{i}.conv.weight" in temporal for i in levels]
        config = TemporalConfig(
            channels=first.shape[1],
            latent_channels=temporal["post_quant_conv.conv.weight"].shape[0],
            filters=first.shape[0],
            num_res_blocks=count_modules(temporal, "encoder.res_blocks."),
            channel_multipliers=tuple(
                temporal[f"encoder.block_res_blocks.{i}.0.conv1.conv.weight"].shape[0] // first.shape[0] for i in levels
            ),
            temporal_downsample=tuple(halved[:-1]),
        )
        spatial_config = _kl_config(spatial)
    return _filled(lambda: OpenSoraVAE(config, spatial_config), tensors, source=path)


def load_audioldm2_codec(folder: Path) -> AudioLDM2Codec:
    """AudioLDM2's autoencoder and vocoder, from the folder that contains both.

    Raises:
        ValueError: a file or configuration is missing or of another model.
    """
    # Importing the vocoder takes a quarter of a second, which would slow the start of ComfyUI.
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    vae_file, vocoder_file = folder / "vae", folder / "vocoder"
    scale, rates = _config(vae_file, AutoencoderScale), _config(vocoder_file, VocoderConfig)
    tensors = {
        _newer(name): value
        for name, value in require(read_checkpoint(vae_file), "AudioLDM2's audio autoencoder", source=vae_file).items()
    }
    with require_keys(vae_file):
        sizes = _kl_config(tensors)
    vae = _filled(lambda: AutoencoderKL(sizes), tensors, source=vae_file)
    vocoder_tensors = require(read_checkpoint(vocoder_file), "AudioLDM2's vocoder", source=vocoder_file)
    vocoder = _filled(
        lambda: SpeechT5HifiGan(SpeechT5HifiGanConfig(**asdict(rates))), vocoder_tensors, source=vocoder_file
    )
    return AudioLDM2Codec(vae, vocoder, scale.scaling_factor).eval()


def _config(folder: Path, entries: type[T]) -> T:
    file = folder / "config.json"
    if not file.is_file():
        raise ValueError(
            f"{file} is missing. AudioLDM2's codec needs the folders 'vae' and 'vocoder' side by side, each with its config.json."
        )
    return checked(entries, read_object(file), source=file, ignore_unknown=True)


def _newer(name: str) -> str:
    """``name`` with the attention names of diffusers 0.18 and later."""
    for old, new in OLDER_NAMES:
        name = name.replace(f"attentions.0.{old}.", f"attentions.0.{new}.")
    return name


def _filled(create: Callable[[], M], tensors: dict[str, Tensor], *, source: Path) -> M:
    """The module that ``create`` returns with ``tensors``, in their precision."""
    dtype = next((value.dtype for value in tensors.values() if value.is_floating_point()), torch.float32)
    return build(lambda: create().to(dtype), tensors, source=source)
