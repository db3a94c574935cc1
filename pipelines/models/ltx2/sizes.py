"""Sizes of an LTX-2 transformer, from the configuration in the metadata of an official file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from ...core.schema import Between, Depth, Heads, Length, Width

# Entry of the official configuration -> argument of diffusers' class.
SAME = (
    *("in_channels", "out_channels", "num_attention_heads", "attention_head_dim", "cross_attention_dim"),
    *("audio_in_channels", "audio_out_channels", "audio_num_attention_heads", "audio_attention_head_dim"),
    *("audio_cross_attention_dim", "caption_channels", "num_layers", "ff_bias", "audio_ff_bias"),
    *("use_prompt_adaln_single", "use_keyframes_abs_pos_embedding"),
)
REQUIRED = (*SAME[:4], "audio_num_attention_heads", "audio_attention_head_dim", "num_layers")


Scales = Annotated[tuple[Annotated[float, Between(1, 65_536)], ...], Length(1, 3)]


@dataclass(frozen=True)
class OfficialSizes:
    """The types and limits of the entries of an official configuration that determine sizes; None for an absent one."""

    in_channels: Width | None = None
    out_channels: Width | None = None
    num_attention_heads: Heads | None = None
    attention_head_dim: Width | None = None
    cross_attention_dim: Width | None = None
    audio_in_channels: Width | None = None
    audio_out_channels: Width | None = None
    audio_num_attention_heads: Heads | None = None
    audio_attention_head_dim: Width | None = None
    audio_cross_attention_dim: Width | None = None
    caption_channels: Width | None = None
    num_layers: Depth | None = None
    vae_scale_factors: Annotated[tuple[Annotated[int, Between(1, 256)], ...], Length(3, 3)] = (8, 32, 32)
    positional_embedding_max_pos: Annotated[Scales, Length(3, 3)] = (20.0, 2048.0, 2048.0)
    audio_positional_embedding_max_pos: Scales = (20.0,)
    positional_embedding_theta: Annotated[float, Between(1, 1e9)] = 10_000.0
    rope_type: Literal["split", "interleaved"] = "split"
    timestep_scale_multiplier: Annotated[float, Between(1e-3, 1e6)] = 1000.0
    av_ca_timestep_scale_multiplier: Annotated[float, Between(1e-3, 1e6)] = 1.0


@dataclass(frozen=True)
class AudioClock:
    """Positions of the audio latents: samples per second, samples between mel frames, mel frames per latent frame, and whether the
    first latent frame covers a single mel frame."""

    sample_rate: int = 16_000
    hop: int = 160
    stride: int = 4
    causal: bool = True


@dataclass(frozen=True)
class LTX2Sizes:
    """The official configuration of a transformer and the clock of its audio latents.

    Raises:
        ValueError: an entry is missing, or has a value that diffusers' class cannot represent.
    """

    official: dict[str, Any]
    audio_clock: AudioClock = AudioClock()

    def __post_init__(self) -> None:
        if missing := [name for name in REQUIRED if name not in self.official]:
            raise ValueError(
                f"The transformer configuration has no entry {', '.join(missing)}. Use a file with LTX-2's official metadata."
            )
        if not self.official.get("use_middle_indices_grid", False):
            raise ValueError(
                "use_middle_indices_grid is false; tokens must be placed at the middle of the span that they cover. "
                "Set it to true in the file's metadata, as the official files do."
            )
        heads = self.official["num_attention_heads"], self.official["audio_num_attention_heads"]
        if heads[0] != heads[1]:
            raise ValueError(
                f"The video stream has {heads[0]} attention heads and the audio stream {heads[1]}; both numbers must be equal, because "
                "cross-modal attention shares one rotary table. Use a file with equal numbers."
            )

    @property
    def widths(self) -> tuple[int, int]:
        """Width of the video tokens and of the audio tokens."""
        video, audio = (
            self.official[f"{stream}num_attention_heads"] * self.official[f"{stream}attention_head_dim"]
            for stream in ("", "audio_")
        )
        return video, audio

    @property
    def scale(self) -> tuple[int, int, int]:
        """Frames, rows and columns of pixels behind one latent cell."""
        frames, rows, columns = self.official.get("vae_scale_factors", (8, 32, 32))
        return frames, rows, columns

    @property
    def causal(self) -> bool:
        """Whether the first video latent frame covers a single frame."""
        return bool(self.official.get("causal_temporal_positioning", False))

    @property
    def keyframe_marker(self) -> bool:
        """Whether a learned marker is added to the tokens of latent frames that start at time zero (LTX-2.5)."""
        return bool(self.official.get("use_keyframes_abs_pos_embedding", False))

    @classmethod
    def of_diffusers(cls, config: Mapping[str, Any]) -> LTX2Sizes:
        """The sizes of a transformer whose configuration is diffusers' own.

        Raises:
            ValueError: an entry is missing.
        """
        if missing := [name for name in REQUIRED if name not in config]:
            raise ValueError(f"The transformer configuration has no entry {', '.join(missing)}. Download it again.")
        seconds = config.get("pos_embed_max_pos", 20)
        official = {
            **{name: config[name] for name in SAME if name in config},
            "vae_scale_factors": list(config.get("vae_scale_factors", (8, 32, 32))),
            "positional_embedding_max_pos": [seconds, config.get("base_height", 2048), config.get("base_width", 2048)],
            "audio_positional_embedding_max_pos": [config.get("audio_pos_embed_max_pos", 20)],
            "positional_embedding_theta": config.get("rope_theta", 10_000.0),
            "rope_type": config.get("rope_type", "interleaved"),
            "frequencies_precision": "float64" if config.get("rope_double_precision", True) else "float32",
            "timestep_scale_multiplier": config.get("timestep_scale_multiplier", 1000),
            "av_ca_timestep_scale_multiplier": config.get("cross_attn_timestep_scale_multiplier", 1000),
            "caption_proj_before_connector": not config.get("use_prompt_embeddings", True),
            "apply_gated_attention": config.get("gated_attn", False),
            "cross_attention_adaln": config.get("cross_attn_mod", False),
            "use_middle_indices_grid": True,
            "causal_temporal_positioning": True,
        }
        clock = (config.get("audio_sampling_rate", 16_000), config.get("audio_hop_length", 160))
        return cls(official, AudioClock(*clock, config.get("audio_scale_factor", 4)))

    def diffusers(self) -> dict[str, Any]:
        """Arguments of diffusers' ``LTX2VideoTransformer3DModel``."""
        official = self.official
        limits = official.get("positional_embedding_max_pos", (20, 2048, 2048))
        gated, modulated = (bool(official.get(n, False)) for n in ("apply_gated_attention", "cross_attention_adaln"))
        return {
            **{name: official[name] for name in SAME if name in official},
            "vae_scale_factors": self.scale,
            "pos_embed_max_pos": limits[0],
            "base_height": limits[1],
            "base_width": limits[2],
            "audio_pos_embed_max_pos": official.get("audio_positional_embedding_max_pos", (20,))[0],
            "rope_theta": official.get("positional_embedding_theta", 10_000.0),
            "rope_type": official.get("rope_type", "split"),
            "rope_double_precision": official.get("frequencies_precision", "float32") == "float64",
            "timestep_scale_multiplier": official.get("timestep_scale_multiplier", 1000),
            "cross_attn_timestep_scale_multiplier": official.get("av_ca_timestep_scale_multiplier", 1),
            "use_prompt_embeddings": not official.get("caption_proj_before_connector", False),
            **dict.fromkeys(("gated_attn", "audio_gated_attn"), gated),
            **dict.fromkeys(("cross_attn_mod", "audio_cross_attn_mod"), modulated),
        }
