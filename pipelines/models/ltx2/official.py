"""The configurations in the metadata of an official LTX-2 file, as arguments of diffusers' classes. Of the VAEs only the encoders count.

The defaults are those of ComfyUI, which reads the same metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Annotated, Any, Literal

from torch import Tensor

from ...core.schema import Between, Depth, Heads, Length, SampleRate, Width, checked
from ...media.mel import N_FFT

# Kind of a downsampling block -> its name in diffusers.
DOWNSAMPLING = {
    "compress_space_res": "spatial",
    "compress_time_res": "temporal",
    "compress_all_res": "spatiotemporal",
}
STAGES = 4  # of the video encoder, each of residual blocks and a downsampling block; residual blocks follow
REGISTERS = "video_connector.learnable_registers"
ROPE_TOKENS = 4096  # text positions are fractions of this


@dataclass(frozen=True)
class OfficialVideoEncoder:
    """Entries of ``vae``, beside the blocks."""

    latent_channels: Width
    patch_size: Annotated[int, Between(1, 16)]
    norm_layer: Literal["pixel_norm"]
    latent_log_var: Literal["uniform", "constant"]
    encoder_base_channels: Width = 128
    spatial_padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"

    def __post_init__(self) -> None:
        if self.encoder_base_channels != self.latent_channels:
            raise ValueError(
                f"encoder_base_channels is {self.encoder_base_channels} and latent_channels {self.latent_channels}; both must be equal, "
                "as in the official files. Choose one of these."
            )


@dataclass(frozen=True)
class OfficialAudioEncoder:
    """Entries of ``audio_vae``'s ``ddconfig`` (or ``encoder``)."""

    ch: Width
    ch_mult: Annotated[tuple[Annotated[int, Between(1, 64)], ...], Length(1, 8)]
    num_res_blocks: Depth
    in_channels: Annotated[int, Between(1, 2)]
    out_ch: Annotated[int, Between(1, 2)]
    z_channels: Width
    resolution: Width
    norm_type: Literal["pixel"]
    causality_axis: Literal["height"]
    mid_block_add_attention: bool
    double_z: Literal[True] = True
    mel_bins: Width = 64
    attn_resolutions: Annotated[tuple[Width, ...], Length(0, 8)] = ()


@dataclass(frozen=True)
class OfficialSound:
    """The sample rate of ``audio_vae``, and its spectrogram."""

    sampling_rate: SampleRate = 16_000
    hop_length: Annotated[int, Between(1, N_FFT)] = 160
    filter_length: Literal[1024] = N_FFT


@dataclass(frozen=True)
class OfficialConnectors:
    """Entries of ``transformer`` that describe the text connectors; those of the audio's are the video's where they are absent."""

    caption_channels: Width = 3840
    connector_num_attention_heads: Heads = 30
    connector_attention_head_dim: Width = 128
    connector_num_layers: Depth = 2
    audio_connector_num_attention_heads: Heads | None = None
    audio_connector_attention_head_dim: Width | None = None
    connector_apply_gated_attention: bool = False
    rope_type: Literal["split", "interleaved"] = "split"


def video_vae(official: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Arguments of ``AutoencoderKLLTX2Video``; its decoder stays the default one.

    Raises:
        ValueError: ``source`` has an entry that is missing or of a wrong type, or an encoder of another architecture.
    """
    entries = checked(OfficialVideoEncoder, official, source=source, ignore_unknown=True)
    kinds, factors, layers = _blocks(official.get("encoder_blocks"), source)
    widths = tuple(accumulate(factors, mul, initial=entries.encoder_base_channels))[1:]
    return {
        "latent_channels": entries.latent_channels,
        "block_out_channels": widths,
        "layers_per_block": layers,
        "downsample_type": kinds,
        "patch_size": entries.patch_size,
        "patch_size_t": 1,
        "encoder_spatial_padding_mode": entries.spatial_padding_mode,
        "spatial_compression_ratio": entries.patch_size * 2 ** sum(kind != "temporal" for kind in kinds),
        "temporal_compression_ratio": 2 ** sum(kind != "spatial" for kind in kinds),
    }


def _blocks(blocks: object, source: str) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
    """Kind and factor of the width of each downsampling block, and the layers of each residual block."""
    pairs = [(name, size) for name, size in map(_block, blocks if isinstance(blocks, list) else [])]
    residual, downsampling = pairs[::2], pairs[1::2]
    if (
        len(pairs) != 2 * STAGES + 1
        or any(name != "res_x" or size is None for name, size in residual)
        or any(name not in DOWNSAMPLING or size == 0 for name, size in downsampling)
    ):
        raise ValueError(
            f"{source}: encoder_blocks must be {STAGES} times 'res_x' and one of {', '.join(DOWNSAMPLING)}, and a last 'res_x', as in "
            "LTX-2.0 to 2.5. Use one of their official files."
        )
    kinds = tuple(DOWNSAMPLING[name] for name, _ in downsampling)
    return kinds, tuple(2 if size is None else size for _, size in downsampling), tuple(n or 0 for _, n in residual)


def _block(entry: object) -> tuple[str, int | None]:
    """Name of a block and its number of layers or factor of the width; ('', None) for what is no block."""
    match entry:
        case [str(name), {"num_layers": int(size)} | {"multiplier": int(size)} | int(size)] if 0 <= size <= 64:
            return name, size
        case [str(name), dict()]:
            return name, None
    return "", None


def audio_vae(official: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Arguments of ``AutoencoderKLLTX2Audio``.

    Raises:
        ValueError: ``source`` has an entry that is missing, of a wrong type, or of another architecture.
    """
    parameters = _inner(_inner(official, "model"), "params")
    encoder = _inner(parameters, "encoder") or _inner(parameters, "ddconfig")
    entries = checked(OfficialAudioEncoder, encoder, source=source, ignore_unknown=True)
    stft = _inner(_inner(official, "preprocessing"), "stft")
    sound = checked(OfficialSound, {**parameters, **stft}, source=source, ignore_unknown=True)
    return {
        "base_channels": entries.ch,
        "output_channels": entries.out_ch,
        "latent_channels": entries.z_channels,
        "sample_rate": sound.sampling_rate,
        "mel_hop_length": sound.hop_length,
        "is_causal": True,
        **{name: value for name, value in vars(entries).items() if name not in ("ch", "out_ch", "z_channels")},
    }


def _inner(entries: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = entries.get(name)
    return inner if isinstance(inner, Mapping) else {}


def connectors(official: Mapping[str, Any], tensors: Mapping[str, Tensor], *, source: str) -> dict[str, Any]:
    """Arguments of ``LTX2TextConnectors``; ``tensors`` are the connectors' under diffusers' names. ComfyUI reads the widths from them too.

    Raises:
        ValueError: ``source`` has an entry of a wrong type, or ``tensors`` lack a layer.
    """
    entries = checked(OfficialConnectors, official, source=source, ignore_unknown=True)
    separate = "video_text_proj_in.weight" in tensors  # from LTX-2.3 on
    projection = "video_text_proj_in.weight" if separate else "text_proj_in.weight"
    if missing := {projection, REGISTERS} - set(tensors):
        raise ValueError(
            f"{source}: the file holds no projection of text states, or no registers ({min(missing)} in diffusers' names). Name the "
            "official file that holds all parts."
        )
    width, states = tensors[projection].shape
    channels = entries.caption_channels if separate else width
    heads, size = entries.connector_num_attention_heads, entries.connector_attention_head_dim
    both = {
        "num_layers": entries.connector_num_layers,
        "num_learnable_registers": tensors[REGISTERS].shape[0],
    }
    return {
        "caption_channels": channels,
        "text_proj_in_factor": states // channels,
        **{f"{stream}_connector_{name}": value for stream in ("video", "audio") for name, value in both.items()},
        "video_connector_num_attention_heads": heads,
        "video_connector_attention_head_dim": size,
        "audio_connector_num_attention_heads": entries.audio_connector_num_attention_heads or heads,
        "audio_connector_attention_head_dim": entries.audio_connector_attention_head_dim or size,
        **{f"{stream}_gated_attn": entries.connector_apply_gated_attention for stream in ("video", "audio")},
        "connector_rope_base_seq_len": ROPE_TOKENS,
        "rope_double_precision": True,
        "rope_type": entries.rope_type,
        "per_modality_projections": separate,
        "proj_bias": any(name.endswith("text_proj_in.bias") for name in tensors),
        **(
            {"video_hidden_dim": width, "audio_hidden_dim": tensors["audio_text_proj_in.weight"].shape[0]}
            if separate
            else {}
        ),
    }
