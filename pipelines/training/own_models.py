"""Models that people own, as LoRA training sees them: which layers learn, the velocity, and the noise levels of the official training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..core.conditions import PriorTokens
from ..core.streams import Streams
from ..models.javisdit.folder import JavisFolder10
from ..models.javisdit.folder01 import JavisFolder01
from ..models.javisdit.schedule import shift_ratio
from ..models.javisdit.v01 import JavisDiT01
from ..models.javisdit.v10 import JavisDiT10
from ..models.ltx2.file import open_ltx2
from ..models.ltx2.keys import to_official
from ..models.ltx2.network import LTX2Network
from ..models.prior.estimator import PriorEstimator

UNIFORM = 0.1  # share of LTX-2's noise levels that are uniform
LEAST = 1e-3  # smallest noise level
# Shift of LTX-2's logit-normal noise levels: linear in the number of video tokens.
TOKENS, SHIFTS = (1024, 4096), (0.95, 2.05)
LOW, HIGH = -2.5758, 3.0902  # the 0.5 % and 99.9 % points of a normal distribution
JAVIS_SCALE = 5.0  # of the shift in JavisDiT v1.0's training


@dataclass(frozen=True)
class Conditions:
    """What a network reads beside the latents: text states of each stream, their mask, the configuration of the clips, and a prior."""

    text: Streams[Tensor]
    mask: Tensor
    clips: Mapping[str, Any]
    prior: PriorTokens | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> Conditions:
        """The same conditions on ``device``, in ``dtype``."""
        prior = self.prior and PriorTokens(*(z.to(device, dtype) for z in (self.prior.spatial, self.prior.temporal)))
        return Conditions(self.text.map(lambda z: z.to(device, dtype)), self.mask.to(device), self.clips, prior)


def text_conditions(text: Mapping[str, Tensor], clips: Mapping[str, Any], _: torch.Generator) -> Conditions:
    """The text states as they are stored."""
    return Conditions(Streams(text["video"], text.get("audio", text["video"])), text["mask"], clips)


@runtime_checkable
class OwnModel(Protocol):
    """A frozen network with LoRA targets. ``first_frame`` is the share of samples whose first latent frame is clean."""

    kind: str  # of the LoRA file
    targets: str
    first_frame: float

    @property
    def network(self) -> nn.Module:
        """The module that holds the targets."""
        ...

    def official(self, layers: dict[str, Tensor]) -> dict[str, Tensor]:
        """LoRA layers under the names of the official checkpoint."""
        ...

    def conditions(
        self, text: Mapping[str, Tensor], clips: Mapping[str, Any], generator: torch.Generator, /
    ) -> Conditions:
        """What the network reads beside the latents, from what is stored with the clips."""
        ...

    def velocity(self, x: Streams[Tensor], sigma: Streams[Tensor], read: Conditions) -> Streams[Tensor]:
        """The estimate of noise - x0. ``sigma``: [b, t] for each stream (t may be 1), zero at clean frames."""
        ...

    def levels(self, size: int, video: Tensor, clips: Mapping[str, Any], generator: torch.Generator) -> Tensor:
        """Noise levels [size] in 0..1 for clips with video latents [b, c, t, h, w]."""
        ...


class OwnLTX2:
    """LTX-2: self-attention and text attention of both streams, and both directions of cross-modal attention learn."""

    kind, first_frame = "ltx2-lora", 0.1
    targets = (
        r"transformer_blocks\.\d+\.(attn1|attn2|audio_attn1|audio_attn2|audio_to_video_attn|video_to_audio_attn)"
        r"\.to_(q|k|v|out\.0)"
    )

    conditions = staticmethod(text_conditions)

    def __init__(self, model: LTX2Network) -> None:
        self.model = model
        model.transformer.enable_gradient_checkpointing()

    @property
    def network(self) -> nn.Module:
        return self.model.transformer

    def official(self, layers: dict[str, Tensor]) -> dict[str, Tensor]:
        return to_official(layers)

    def velocity(self, x: Streams[Tensor], sigma: Streams[Tensor], read: Conditions) -> Streams[Tensor]:
        return self.model(x, sigma, read.text, fps=read.clips["fps"], mask=Streams(read.mask, read.mask))

    def levels(self, size: int, video: Tensor, clips: Mapping[str, Any], generator: torch.Generator) -> Tensor:
        return ltx2_levels(size, video[0, 0].numel(), generator)


def ltx2_levels(size: int, tokens: int, generator: torch.Generator) -> Tensor:
    """Noise levels for clips of ``tokens`` video tokens, distributed as in LTX-2's trainer (Lightricks, 2026): sigmoid of a shifted normal,
    stretched so that its 0.5 % and 99.9 % points become 0 and 1, and for one sample in ten uniform."""
    shift = SHIFTS[0] + (tokens - TOKENS[0]) * (SHIFTS[1] - SHIFTS[0]) / (TOKENS[1] - TOKENS[0])
    low, high = (torch.tensor(shift + point).sigmoid() for point in (LOW, HIGH))
    level = (torch.randn(size, generator=generator) + shift).sigmoid()
    stretched = (level - low) / (high - low)
    stretched = torch.where(stretched < LEAST, 2 * LEAST - stretched, stretched).clamp(0, 1)
    uniform = LEAST + (1 - LEAST) * torch.rand(size, generator=generator)
    return torch.where(torch.rand(size, generator=generator) < UNIFORM, uniform, stretched)


class OwnJavisDiT10:
    """JavisDiT v1.0: attention and feed-forward layers learn, as in its own LoRA training. It has one noise level for a whole clip."""

    kind, first_frame = "javisdit-v1.0-lora", 0.0
    targets = r"blocks\.\d+\.((self_attn|cross_attn)\.[qkvo]|(audio_)?ffn\.[02])"

    conditions = staticmethod(text_conditions)

    def __init__(self, model: JavisDiT10) -> None:
        self.model = model
        model.checkpointed = True

    @property
    def network(self) -> nn.Module:
        return self.model

    def official(self, layers: dict[str, Tensor]) -> dict[str, Tensor]:
        return layers

    def velocity(self, x: Streams[Tensor], sigma: Streams[Tensor], read: Conditions) -> Streams[Tensor]:
        text, _ = read.text.both()
        clean_minus_noise = self.model(x, 1000 * sigma.both()[1][:, 0], text, read.mask.bool())
        return clean_minus_noise.map(torch.neg)

    def levels(self, size: int, video: Tensor, clips: Mapping[str, Any], generator: torch.Generator) -> Tensor:
        """As in the official training, whose scale is 5."""
        height, width = (8 * side for side in video.shape[3:])
        return javis_levels(size, (height, width, clips["frames"]), generator, scale=JAVIS_SCALE)


def javis_levels(size: int, clip: tuple[int, int, int], generator: torch.Generator, *, scale: float = 1.0) -> Tensor:
    """Noise levels [size] of both versions' official training: logit-normal, shifted by the height, width and frames of the clip
    (Open-Sora's rule)."""
    ratio = scale * shift_ratio(*clip, dtype=torch.float32)
    level = torch.randn(size, generator=generator).sigmoid()
    return ratio * level / (1 + (ratio - 1) * level)


class OwnJavisDiT01:
    """JavisDiT v0.1: a LoRA learns in every attention layer. Every sample draws a prior from its caption's Gaussian."""

    kind, first_frame = "javisdit-v0.1-lora", 0.05
    targets = (
        r"(audio_)?(spatial|temporal)_blocks\.\d+\.(attn\.(qkv|proj)|cross_attn\.(q_linear|kv_linear|proj))"
        r"|(video|audio)_st_prior_blocks\.\d+\.(spatial|temporal)_cross_attn\.(q_linear|kv_linear|proj)"
        r"|va_cross_blocks\.\d+\.cross_attn\.(values_|out_)?m[12]_proj"
    )

    def __init__(self, model: JavisDiT01, estimator: PriorEstimator) -> None:
        """The estimator is small and stays on the CPU."""
        self.model, self.estimator = model, estimator
        model.checkpointed = True

    @property
    def network(self) -> nn.Module:
        return self.model

    def official(self, layers: dict[str, Tensor]) -> dict[str, Tensor]:
        return layers

    @torch.no_grad()
    def conditions(
        self, text: Mapping[str, Tensor], clips: Mapping[str, Any], generator: torch.Generator, /
    ) -> Conditions:
        mean, log_variance = self.estimator.moments_of(text["tower"])
        drawn = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=generator)
        parts = drawn.split((self.estimator.config.spatial_token_num, self.estimator.config.temporal_token_num), dim=1)
        return replace(text_conditions(text, clips, generator), prior=PriorTokens(*parts))

    def velocity(self, x: Streams[Tensor], sigma: Streams[Tensor], read: Conditions) -> Streams[Tensor]:
        """A batch attends to the priors of all its samples, as in the official training."""
        assert read.prior is not None
        level = torch.cat(list(sigma.both()), dim=1).amax(1)  # a clip has one noise level; its clean frames have none
        video, audio = read.text.both()
        clean_minus_noise = self.model(
            x,
            1000 * level,
            video,
            read.mask.bool(),
            read.prior,
            size=(float(read.clips["height"]), float(read.clips["width"])),
            fps=read.clips["fps"],
            noisy=sigma.map(lambda s, z: (s > 0).expand(-1, z.shape[2]), x),
            audio_text=audio,
        )
        return clean_minus_noise.map(torch.neg)

    def levels(self, size: int, video: Tensor, clips: Mapping[str, Any], generator: torch.Generator) -> Tensor:
        return javis_levels(size, (clips["height"], clips["width"], clips["frames"]), generator)


def load_own(name: str, folder: Path, device: torch.device, dtype: torch.dtype) -> OwnModel:
    """The network of the model ``name`` in ``folder`` (LTX-2: or in this file), frozen."""
    loaders: dict[str, Callable[[], OwnModel]] = {
        "ltx2": lambda: OwnLTX2(open_ltx2(folder).network(device, dtype)),
        "javisdit-v1.0": lambda: OwnJavisDiT10(JavisFolder10(folder).network(device, dtype)),
        "javisdit-v0.1": lambda: OwnJavisDiT01(
            JavisFolder01(folder).network(device, dtype), JavisFolder01(folder).prior()[0]
        ),
    }
    return loaders[name]()
