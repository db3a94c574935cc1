"""The card beside each weights file: what the file holds, how it was trained, how it scored. Written from the file itself."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open

from ..core.files import atomic_output
from ..core.weights import KEY, load_weights
from ..models.pocket.load import LICENCE

WORLD = "Trained from scratch on Duet's own procedural world; no third-party data or weights."
PARTS = {
    "pocket-av": (
        "Pocket network",
        "Twin-stream rectified flow with cross-modal context attention (CCL, our reconstruction).",
    ),
    "pocket-text": (
        "Pocket text encoder",
        "A small T5 encoder over a closed vocabulary, trained together with the network.",
    ),
    "pocket-plan": (
        "Plan layers of the pocket network",
        "Cross-attention with Relative Semantic RoPE (Baton, our reconstruction); fits the base whose hash it names.",
    ),
    "pocket-planner": (
        "Pocket VA-Planner",
        "A small Qwen3 that writes timelines, and the towers that turn them into planned tokens (Baton, our reconstruction).",
    ),
    "pocket-prior": (
        "Pocket prior (HiST-Sypo)",
        "An estimator of JavisDiT's class over the pocket's words, encoders of true clips, and decoders that read their tokens (our "
        "reconstruction).",
    ),
    "pocket-prior-layers": (
        "Prior layers of the pocket network",
        "Spatial and temporal prior attention (JavisDiT, our reconstruction); fits the base whose hash it names.",
    ),
    "pocket-adapter": (
        "Pocket masked adapter",
        "Projections, masks and predictors of what video and audio share (SAVA's first stage, our reconstruction).",
    ),
    "pocket-adapter-v2a": (
        "Adapter layers of the pocket network: audio from video",
        "phi, and LoRA on the conditioning layers of the audio stream under the names of ComfyUI's LoRA files (SAVA's second stage, our "
        "reconstruction; distilled from the base's own route); fits the base and the adapter whose hashes it names.",
    ),
    "pocket-adapter-a2v": (
        "Adapter layers of the pocket network: video from audio",
        "The same layers for the video stream.",
    ),
    "video-codec": ("Pocket video codec", "Principal components of 4 x 8 x 8 pixel cells."),
    "audio-codec": (
        "Pocket audio codec",
        "Principal components of stereo log-mel blocks; Griffin-Lim reconstructs the waveform.",
    ),
    "audio-probe": ("Audio probe", "Detects audible events: onset maps of six kinds from log-mel frames."),
    "video-probe": ("Video probe", "Detects visible events: onset maps and kinds in view from frames."),
}


def card(path: Path) -> str:
    """The card of the weights file at ``path``."""
    with safe_open(path, framework="pt") as opened:
        kind = json.loads(opened.metadata()[KEY])["kind"]
    file = load_weights(path, kind)
    title, what = PARTS[kind]
    count = sum(value.numel() for value in file.tensors.values())
    size = path.stat().st_size
    made = "".join(f"| {name} | {value} |\n" for name, value in file.record.items() if name != "scores")
    scores = "".join(f"| {name} | {value} |\n" for name, value in file.record.get("scores", {}).items())
    return (
        f"# {title}\n\n{what} {WORLD}\n\n"
        f"| | |\n|---|---|\n| file | {path.name} |\n| sha256 | {file.sha256} |\n| licence | {LICENCE} |\n"
        f"| numbers | {count:,} |\n| size on disk | {size / 1e6:.2f} MB (float16) |\n| memory in float32 | {count * 4 / 1e6:.1f} MB |\n\n"
        f"## Training\n\n| | |\n|---|---|\n{made}\n"
        + (f"## Scores when chosen (development prompts)\n\n| | |\n|---|---|\n{scores}" if scores else "")
    ).rstrip() + "\n"


def write_card(path: Path) -> Path:
    """Write the card of ``path`` beside it."""
    target = path.with_suffix(".md")
    with atomic_output(target) as temporary:
        temporary.write_text(card(path), encoding="utf-8")
    return target
