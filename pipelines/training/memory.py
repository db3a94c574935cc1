"""Memory that LoRA training needs, estimated before weights are read: parameters counted on the meta device, activations by formula."""

from __future__ import annotations

import math
from dataclasses import dataclass

import psutil
import torch

from ..models.javisdit.v10 import PATCH, JavisDiT10, V10Config
from ..models.lora import add_lora
from ..models.ltx2.network import LTX2Network
from ..models.ltx2.sizes import LTX2Sizes
from .own_models import OwnJavisDiT10, OwnLTX2

GIBIBYTE = 2**30
# Copies in float32 of everything that learns: weight, gradient, Adam's two moments, its average, and the best average so far.
COPIES = 6
# Bytes at the peak, by the precision of the base. LTX-2: for each video token and width, audio token and width, video token and audio
# width, text token and both widths. JavisDiT v1.0: for each token and width, token and hidden width, text token and width. In bfloat16
# they are more than half as many, because norms, rotations and what learns are computed in higher precision.
LTX2 = {torch.float32: (233.0, 253.0, 25.0, 18.0), torch.bfloat16: (157.0, 179.0, 22.0, 15.0)}
JAVIS = {torch.float32: (72.0, 12.4, 14.8), torch.bfloat16: (61.0, 7.6, 14.4)}


@dataclass(frozen=True)
class Load:
    """Sizes of a training step: samples, the latents of each without channels, and text tokens."""

    batch: int
    video: tuple[int, ...]
    audio: tuple[int, ...]
    text: int


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of the frozen base, of everything that learns and its optimizer, and of the activations at the peak."""

    parameters: int
    learnt_parameters: int
    base: int
    learnt: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.base + self.learnt + self.activations

    def __str__(self) -> str:
        rows = (
            (f"base, {self.parameters / 1e9:.2f} billion parameters, frozen", self.base),
            (
                f"LoRA, {self.learnt_parameters / 1e6:.1f} million parameters, with gradients, Adam and averages",
                self.learnt,
            ),
            ("activations at the peak, with gradient checkpointing", self.activations),
            ("total", self.total),
        )
        return "\n".join(f"{size / GIBIBYTE:8.2f} GiB  {name}" for name, size in rows)


def estimate(model: LTX2Sizes | V10Config, load: Load, *, rank: int, dtype: torch.dtype) -> MemoryEstimate:
    """The memory for a LoRA of ``rank`` on a network of these sizes in ``dtype``, float32 or bfloat16."""
    with torch.device("meta"):
        if isinstance(model, LTX2Sizes):
            network, targets, sample = LTX2Network(model).transformer, OwnLTX2.targets, _ltx2(model, load, dtype)
        else:
            network, targets, sample = JavisDiT10(model), OwnJavisDiT10.targets, _javis(model, load, dtype)
        add_lora(network.requires_grad_(False), targets, rank=rank)
    learnt = sum(p.numel() for p in network.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    base = frozen * dtype.itemsize
    return MemoryEstimate(frozen, learnt, base, learnt * torch.float32.itemsize * COPIES, round(load.batch * sample))


def _ltx2(sizes: LTX2Sizes, load: Load, dtype: torch.dtype) -> float:
    """Bytes of activations at the peak for each sample, in the backward pass of the last block.

    With n video tokens of width d, m audio tokens of width e, t text tokens, L blocks and s bytes for a number:
    s L (n d + m e) + a n d + b m e + c n e + f t (d + e). The first term is the input of each block, which checkpointing keeps; the rest is
    one block's own activations and the modulation of every token. The factors were fitted to the measured peaks of 11 small networks in
    each precision (largest deviation 1.7 %). Attention is assumed to be fused: it stores no attention weights.
    """
    official = sizes.official
    wide, narrow = (
        official[f"{prefix}num_attention_heads"] * official[f"{prefix}attention_head_dim"] for prefix in ("", "audio_")
    )
    tokens = math.prod(load.video)
    video, audio = tokens * wide, load.audio[0] * narrow
    parts = (video, audio, tokens * narrow, load.text * (wide + narrow))
    block = sum(factor * part for factor, part in zip(LTX2[dtype], parts, strict=True))
    return dtype.itemsize * official["num_layers"] * (video + audio) + block


def _javis(config: V10Config, load: Load, dtype: torch.dtype) -> float:
    """As ``_ltx2``, for n tokens of width d (both streams), hidden width h and t text tokens: s L n d + a n d + b n h + c t d, fitted to 9
    small networks in each precision (largest deviation 5.7 %)."""
    tokens = math.prod(load.video) // PATCH**2 + math.prod(load.audio) // PATCH**2
    parts = (tokens * config.dim, tokens * config.ffn_dim, load.text * config.dim)
    block = sum(factor * part for factor, part in zip(JAVIS[dtype], parts, strict=True))
    return dtype.itemsize * config.num_layers * parts[0] + block


def check_memory(needed: MemoryEstimate, device: torch.device) -> None:
    """Check that ``device`` has the memory for a training.

    Raises:
        ValueError: it has not.
    """
    on_gpu = device.type == "cuda"
    available = torch.cuda.get_device_properties(device).total_memory if on_gpu else psutil.virtual_memory().available
    if needed.total > available:
        raise ValueError(
            f"Training needs about {needed.total / GIBIBYTE:.1f} GiB and {available / GIBIBYTE:.1f} GiB are available:\n{needed}\n"
            "Less is needed with a smaller --batch, a smaller --rank, or clips encoded shorter or smaller ('duet data --seconds --size')."
        )
