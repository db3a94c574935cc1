"""Training targets of plan tokens: features of frozen probes on a coarse grid of the clip. Baton uses SigLIP2 and WavTokenizer; here
they are the second-to-last layers of our own probes.

Letters: b batch, t frames, h/w rows and columns, n plan tokens, d channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from ..core.conditions import PlacedTokens, PlanStreams
from ..core.sizes import ClipShape
from ..core.streams import Streams
from ..models.planner.grid import CELLS, HALVES, PER_BLOCK, PER_KEYFRAME, PlanGrid
from ..models.pocket.audio_codec import log_mel
from .prompts import Prompt
from .readings import Probes, render


@torch.no_grad()
def plan_targets(
    probes: Probes, frames: Float[Tensor, "b t 3 h w"], waveform: Float[Tensor, "b 2 samples"]
) -> Streams[Tensor]:
    """Features of rendered or recorded clips: video [b, keyframes * CELLS^2, d], audio [b, blocks, d']."""
    maps = F.adaptive_avg_pool2d(probes.video.features(frames), CELLS)
    video = rearrange(maps, "(b k two) c h w -> b (k h w) (two c)", b=len(frames), two=PER_KEYFRAME)
    series = probes.audio.features(log_mel(waveform, sample_rate=probes.audio.sample_rate))
    audio = rearrange(F.avg_pool1d(series, PER_BLOCK // HALVES), "b c (n two) -> b n (two c)", two=HALVES)
    return Streams(video, audio)


def oracle_plan(probes: Probes, prompts: Sequence[Prompt]) -> PlanStreams:
    """The ideal plan of each prompt: features of its rendered scene."""
    frames, waveform = render([prompt.scene for prompt in prompts], ClipShape())
    tokens = plan_targets(probes, frames, waveform)
    return PlanGrid.of(frames.shape[1], PER_BLOCK * tokens.both()[1].shape[1]).place(tokens)


def shuffled_plan(probes: Probes, prompts: Sequence[Prompt]) -> PlanStreams:
    """The ideal plan with its tokens at randomly permuted positions: a control for the value of correct positions."""
    generator = torch.Generator().manual_seed(prompts[0].seed)

    def shuffle(part: PlacedTokens) -> PlacedTokens:
        order = torch.randperm(len(part.places), generator=generator)
        return PlacedTokens(part.tokens[:, order], part.places)

    return oracle_plan(probes, prompts).map(shuffle)
