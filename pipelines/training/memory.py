"""Memory that LoRA training needs, estimated before weights are read: parameters counted on the meta device, activations by formula."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import psutil
import torch
from torch import Tensor, nn

from ..models.addons.context import ContextTokens
from ..models.javisdit.load import count_modules
from ..models.javisdit.load_prior import TOWER
from ..models.javisdit.v01 import JavisDiT01
from ..models.javisdit.v01_blocks import V01Config
from ..models.javisdit.v10 import PATCH, JavisDiT10, V10Config
from ..models.lora import add_lora
from ..models.ltx2.context import context_config
from ..models.ltx2.network import TEXT_ATTENTION, LTX2Network
from ..models.ltx2.sizes import LTX2Sizes
from ..models.prior.estimator import POSITIONS as TOWER_TOKENS
from .own_models import OwnJavisDiT01, OwnJavisDiT10, OwnLTX2
from .shards import ClipShards

GIBIBYTE = 2**30
# Copies in float32 of everything that learns: weight, gradient, Adam's two moments, its average, and the best average so far.
COPIES = 6
# Bytes at the peak, by the precision of the base. LTX-2: for each video token and width, audio token and width, video token and audio
# width, text token and both widths. JavisDiT v1.0: for each token and width, token and hidden width, text token and width. In bfloat16
# they are more than half as many, because norms, rotations and what learns are computed in higher precision.
LTX2 = {torch.float32: (233.0, 253.0, 25.0, 18.0), torch.bfloat16: (157.0, 179.0, 22.0, 15.0)}
JAVIS = {torch.float32: (72.0, 12.4, 14.8), torch.bfloat16: (61.0, 7.6, 14.4)}
# JavisDiT v0.1, by stage: inputs of checkpoints kept for each layer, and for each token and text token times width.
JAVIS01 = {
    "lora": (1, {torch.float32: (236.0, 7.6), torch.bfloat16: (142.0, 22.0)}),
    "javis-joint": (1, {torch.float32: (251.0, 22.0), torch.bfloat16: (143.0, 44.0)}),
    "javis-audio": (2, {torch.float32: (140.0, 28.0), torch.bfloat16: (79.0, 26.0)}),
}
PRIOR = (4.1, 34.5, 71.4)  # of v0.1's prior: each patch, each grouped patch, each token of the transformer


@dataclass(frozen=True)
class Load:
    """Sizes of a training step: samples, the latents of each without channels, and text tokens."""

    batch: int
    video: tuple[int, ...]
    audio: tuple[int, ...]
    text: int


def largest_load(clips: ClipShards, batch: int) -> Load:
    """The load of ``batch`` samples of the largest clips."""
    longest = max(clips.samples, key=lambda s: math.prod(s.video[1:]))
    return Load(batch, longest.video[1:], longest.audio[1:], clips.words)


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
                f"what learns, {self.learnt_parameters / 1e6:.1f} million parameters, with gradients, Adam and averages",
                self.learnt,
            ),
            ("activations at the peak, with gradient checkpointing", self.activations),
            ("total", self.total),
        )
        return "\n".join(f"{size / GIBIBYTE:8.2f} GiB  {name}" for name, size in rows)


def context_estimate(sizes: LTX2Sizes, load: Load, *, dtype: torch.dtype) -> MemoryEstimate:
    """The memory for context tokens on LTX-2."""
    with torch.device("meta"):
        parts = LTX2Network(sizes).transformer.requires_grad_(False), ContextTokens(context_config(sizes))
    return counted(nn.ModuleList(parts), round(load.batch * _ltx2(sizes, load, dtype)), dtype)


def timed_estimate(sizes: LTX2Sizes, load: Load, *, texts: int, rank: int, dtype: torch.dtype) -> MemoryEstimate:
    """The memory for a LoRA on LTX-2's text attention, where clips read up to ``texts`` texts, each latent with its own log-shares."""
    load, heads = replace(load, text=load.text * texts), sizes.official["num_attention_heads"]
    shares = (
        load.batch * heads * math.prod(load.video) * load.text * dtype.itemsize
    )  # diffusers copies them for each head
    found = estimate(sizes, load, rank=rank, dtype=dtype, targets=TEXT_ATTENTION)
    return replace(found, activations=found.activations + shares)


def estimate(
    model: LTX2Sizes | V10Config | V01Config, load: Load, *, rank: int, dtype: torch.dtype, targets: str = ""
) -> MemoryEstimate:
    """The memory for a LoRA of ``rank`` on a network of these sizes in ``dtype``, float32 or bfloat16. ``targets``: the layers that learn,
    if not those of stage ``lora``."""
    with torch.device("meta"):
        if isinstance(model, LTX2Sizes):
            network, layers, sample = LTX2Network(model).transformer, OwnLTX2.targets, _ltx2(model, load, dtype)
        elif isinstance(model, V10Config):
            network, layers, sample = JavisDiT10(model), OwnJavisDiT10.targets, _javis(model, load, dtype)
        else:
            sample = javis01_activations("lora", model, load, dtype)
            network, layers = JavisDiT01(model), OwnJavisDiT01.targets
        add_lora(network.requires_grad_(False), targets or layers, rank=rank)
    return counted(network, round(load.batch * sample), dtype)


def counted(network: nn.Module, activations: int, dtype: torch.dtype) -> MemoryEstimate:
    """The estimate for a network, of which a part learns, with ``activations`` bytes at the peak."""
    learnt = sum(p.numel() for p in network.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    base = frozen * dtype.itemsize
    return MemoryEstimate(frozen, learnt, base, learnt * torch.float32.itemsize * COPIES, activations)


def _ltx2(sizes: LTX2Sizes, load: Load, dtype: torch.dtype) -> float:
    """Bytes of activations at the peak for each sample, in the backward pass of the last block.

    With n video tokens of width d, m audio tokens of width e, t text tokens, L blocks and s bytes for a number:
    s L (n d + m e) + a n d + b m e + c n e + f t (d + e). The first term is the input of each block, which checkpointing keeps; the rest is
    one block's own activations and the modulation of every token. The factors were fitted to the measured peaks of 11 small networks in
    each precision (largest deviation 1.7 %). Attention is assumed to be fused: it stores no attention weights.
    """
    wide, narrow = sizes.widths
    tokens = math.prod(load.video)
    video, audio = tokens * wide, load.audio[0] * narrow
    parts = (video, audio, tokens * narrow, load.text * (wide + narrow))
    block = sum(factor * part for factor, part in zip(LTX2[dtype], parts, strict=True))
    return dtype.itemsize * sizes.official["num_layers"] * (video + audio) + block


def _javis(config: V10Config, load: Load, dtype: torch.dtype) -> float:
    """As ``_ltx2``, for n tokens of width d (both streams), hidden width h and t text tokens: s L n d + a n d + b n h + c t d, fitted to 9
    small networks in each precision (largest deviation 5.7 %)."""
    tokens = math.prod(load.video) // PATCH**2 + math.prod(load.audio) // PATCH**2
    parts = (tokens * config.dim, tokens * config.ffn_dim, load.text * config.dim)
    block = sum(factor * part for factor, part in zip(JAVIS[dtype], parts, strict=True))
    return dtype.itemsize * config.num_layers * parts[0] + block


def javis01_activations(stage: str, config: V01Config, load: Load, dtype: torch.dtype) -> float:
    """As ``_ltx2``, for a stage of JavisDiT v0.1 with n tokens of width d (of audio alone in javis-audio), t text tokens and k inputs of
    checkpoints in each of L layers: 4 k L n d + a n d + c t d, fitted to 7 small networks for each stage and precision (largest deviation
    2.7 %, in bfloat16 11.2 %)."""
    kept, factors = JAVIS01[stage]
    tokens = load.audio[0] // config.audio_patch * load.audio[1]
    if stage != "javis-audio":
        frames, *sides = load.video
        tokens += frames * math.prod(-(-side // PATCH) for side in sides)
    block = factors[dtype][0] * tokens + factors[dtype][1] * load.text
    return config.hidden_size * (torch.float32.itemsize * kept * config.depth * tokens + block)


def prior_estimate(tensors: Mapping[str, Tensor], load: Load, *, changed: int) -> MemoryEstimate:
    """The memory for training v0.1's prior, whose file has ``tensors``, on clips stored ``changed`` times with changed streams.

    In float32, for e patches of all clips, g grouped patches and t tokens of the transformer, times their widths: a e + b g + c t,
    fitted to 7 small priors (largest deviation 5.3 %).
    """
    hidden, layers = tensors["in_proj.weight"].shape[0], count_modules(tensors, "prior_extractor.encoder.layers.")
    width, (spatial, temporal) = (
        tensors["out_proj.weight"].shape[0] // 2,
        (tensors[f"{kind}_query_emb"].shape[1] for kind in ("spatial", "temporal")),
    )
    times = load.video[0], load.audio[0] // PATCH
    places = math.prod(-(-side // PATCH) for side in load.video[1:]), load.audio[1] // PATCH
    clips = 1 + 2 * changed
    patches = clips * width * sum(t * s for t, s in zip(times, places, strict=True))
    grouped = clips * width * (spatial * sum(times) + temporal * sum(places))
    states = (TOWER_TOKENS + spatial + temporal) * hidden * layers
    parts = zip(PRIOR, (patches, grouped, states), strict=True)
    activations = round(load.batch * sum(factor * part for factor, part in parts))
    frozen = sum(z.numel() for name, z in tensors.items() if name.startswith(TOWER))
    learnt = sum(z.numel() for z in tensors.values()) - frozen
    size = torch.float32.itemsize
    return MemoryEstimate(frozen, learnt, frozen * size, learnt * size * COPIES, activations)


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
