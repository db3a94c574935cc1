"""Loads v0.1's prior (HiST-Sypo) from its official file, with or without the heads that only its training uses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ...core.weights import build
from ..prior.estimator import UNUSED_KEYS, PriorConfig, PriorEstimator
from .files import Tensors, read_checkpoint, require
from .load import count_modules, require_keys
from .prior_heads import HeadsConfig, PriorHeads

PRIOR_HEAD, TOWER_HEAD = 128, 64  # channels of a head
TOWER = "text_encoder."
TRAINING_ONLY = ("video_embedder.", "audio_embedder.", "va_spatial_encoder.", "va_temporal_encoder.", "discriminator.")


def load_prior(path: Path, find_tower: Callable[[], Path] | None = None) -> PriorEstimator:
    """The prior estimator. If its file has no ImageBind text tower, the tower is read from the file that ``find_tower`` returns.

    Raises:
        ValueError: the file is not a prior, or neither file has a text tower.
    """
    return _estimator(_prior_tensors(path, find_tower), source=path)


def load_training_prior(
    path: Path, find_tower: Callable[[], Path] | None = None
) -> tuple[PriorEstimator, PriorHeads | None]:
    """The prior estimator and its training heads; ``None`` if the file does not hold them.

    Raises:
        ValueError: see ``load_prior``; or some of the heads are missing.
    """
    found = _prior_tensors(path, find_tower)
    estimator = _estimator(found, source=path)
    heads = {name: value.float() for name, value in found.items() if name.startswith(TRAINING_ONLY)}
    if not heads:
        return estimator, None
    with require_keys(path):
        channels = estimator.config.out_dim
        config = HeadsConfig(
            spatial_token_num=estimator.config.spatial_token_num,
            temporal_token_num=estimator.config.temporal_token_num,
            channels=channels,
            heads=channels // heads["discriminator.attn.q_norm.weight"].shape[0],
            video_channels=heads["video_embedder.proj.weight"].shape[1],
            audio_channels=heads["audio_embedder.weight"].shape[1],
        )
    return estimator, build(lambda: PriorHeads(config), heads, source=path)


def _prior_tensors(path: Path, find_tower: Callable[[], Path] | None) -> Tensors:
    """The tensors of a prior's file, with those of a text tower."""
    found = require(read_checkpoint(path), "JavisDiT v0.1's prior", source=path)
    if any(name.startswith(TOWER) for name in found):
        return found
    if find_tower is None:
        raise ValueError(f"{path}: has no text tower. Select imagebind_huge.pth as the text tower.")
    tower = find_tower()
    return found | {TOWER + name: z for name, z in require(read_checkpoint(tower), "ImageBind", source=tower).items()}


def _estimator(found: Tensors, *, source: Path) -> PriorEstimator:
    text = re.compile(re.escape(TOWER) + r"modality_\w+\.text\.")
    used = {
        name: value.float()
        for name, value in found.items()
        if not name.startswith((*UNUSED_KEYS, *TRAINING_ONLY)) and (text.match(name) or not name.startswith(TOWER))
    }
    with require_keys(source):
        width, blocks = used["in_proj.weight"].shape[1], f"{TOWER}modality_trunks.text.blocks."
        hidden = used["in_proj.weight"].shape[0]
        config = PriorConfig(
            spatial_token_num=used["spatial_query_emb"].shape[1],
            temporal_token_num=used["temporal_query_emb"].shape[1],
            out_dim=used["out_proj.weight"].shape[0] // 2,
            hidden_size=hidden,
            heads=hidden // PRIOR_HEAD,
            layers=count_modules(used, "prior_extractor.encoder.layers."),
            text_width=width,
            text_heads=width // TOWER_HEAD,
            text_layers=count_modules(used, blocks),
        )
    return build(lambda: PriorEstimator(config), used, source=source)
