"""Memory that LoRA training needs, estimated before weights are read: parameters counted on the meta device, activations by formula."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch

from ..models.lora import add_lora
from ..models.ltx2.network import LTX2Network
from ..models.ltx2.sizes import LTX2Sizes
from .own_models import OwnLTX2

GIBIBYTE = 2**30
# Copies in float32 of everything that learns: weight, gradient, Adam's two moments, its average, and the best average so far.
COPIES = 6
# Numbers at the peak for each video token and width, audio token and width, video token and audio width, and text token and both widths.
VIDEO, AUDIO, READ, TEXT = 57.0, 62.0, 5.4, 4.6


@dataclass(frozen=True)
class Load:
    """Sizes of a training step: samples, video and audio tokens of each, and tokens of its text."""

    batch: int
    video: int
    audio: int
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


def estimate(sizes: LTX2Sizes, load: Load, *, rank: int, dtype: torch.dtype) -> MemoryEstimate:
    """The memory for a LoRA of ``rank`` on a transformer of ``sizes`` whose weights and activations have ``dtype``."""
    with torch.device("meta"):
        network = LTX2Network(sizes).requires_grad_(False)
        add_lora(network.transformer, OwnLTX2.targets, rank=rank)
    learnt = sum(p.numel() for p in network.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    each = torch.empty(0, dtype=dtype).element_size()
    return MemoryEstimate(frozen, learnt, frozen * each, learnt * 4 * COPIES, _activations(sizes, load) * each)


def _activations(sizes: LTX2Sizes, load: Load) -> int:
    """Numbers held at the peak, during the backward pass of the first block.

    For each sample with n video tokens of width d, m audio tokens of width e and t text tokens:
    L (n d + m e) + 57 n d + 62 m e + 5.4 n e + 4.6 t (d + e). The first term is the input of each of the L blocks, which checkpointing
    keeps; the rest is one block's own activations and the modulation of every token. The factors were fitted to the measured peaks of 11
    small networks in float32 (largest deviation 3.4 %). Attention is assumed to be fused: it stores no attention weights.
    """
    official = sizes.official
    wide, narrow = (
        official[f"{prefix}num_attention_heads"] * official[f"{prefix}attention_head_dim"] for prefix in ("", "audio_")
    )
    video, audio = load.video * wide, load.audio * narrow
    blocks = official["num_layers"] * (video + audio)
    block = VIDEO * video + AUDIO * audio + READ * load.video * narrow + TEXT * load.text * (wide + narrow)
    return round(load.batch * (blocks + block))


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
