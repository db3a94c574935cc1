"""Models that people own, as LoRA training sees them: which layers learn, the velocity, and the noise levels of the official training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..core.streams import Streams
from ..models.javisdit.folder import JavisFolder10
from ..models.javisdit.schedule import shift_ratio
from ..models.javisdit.v10 import JavisDiT10
from ..models.ltx2.folder import LTX2Folder
from ..models.ltx2.keys import to_official
from ..models.ltx2.network import LTX2Network

UNIFORM = 0.1  # share of LTX-2's noise levels that are uniform
LEAST = 1e-3  # smallest noise level
# Shift of LTX-2's logit-normal noise levels: linear in the number of video tokens.
TOKENS, SHIFTS = (1024, 4096), (0.95, 2.05)
LOW, HIGH = -2.5758, 3.0902  # the 0.5 % and 99.9 % points of a normal distribution
JAVIS_SCALE = 5.0  # of the shift in JavisDiT v1.0's training


@dataclass(frozen=True)
class Conditions:
    """What a network reads beside the latents: text states of each stream, their mask, and the configuration of the clips."""

    text: Streams[Tensor]
    mask: Tensor
    clips: Mapping[str, Any]


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

    def velocity(self, x: Streams[Tensor], sigma: Streams[Tensor], read: Conditions) -> Streams[Tensor]:
        """The estimate of noise - x0."""
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
        """Logit-normal, shifted by the size of the clip (Open-Sora's rule), as in the official training."""
        height, width = (8 * side for side in video.shape[3:])
        ratio = JAVIS_SCALE * shift_ratio(height, width, clips["frames"], dtype=torch.float32)
        level = torch.randn(size, generator=generator).sigmoid()
        return ratio * level / (1 + (ratio - 1) * level)


def load_own(name: str, folder: Path, device: torch.device, dtype: torch.dtype) -> OwnModel:
    """The network of the model ``name`` in ``folder``, frozen."""
    loaders: dict[str, Callable[[], OwnModel]] = {
        "ltx2": lambda: OwnLTX2(LTX2Folder(folder).network(device, dtype)),
        "javisdit-v1.0": lambda: OwnJavisDiT10(JavisFolder10(folder).network(device, dtype)),
    }
    return loaders[name]()
