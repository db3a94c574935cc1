"""The card beside each weights file: contents, training and scores. Everything in it comes from the file itself."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open

from ..core.files import atomic_output
from ..core.weights import KEY, load_weights
from ..models.pocket.load import LICENCE, PARTS, Part

WORLD = "Trained from scratch on Duet's own procedural world; no third-party data or weights."
OWN_CLIPS = (
    "Trained on your own clips, on a model that is not Duet's: its licence and the clips' rights apply to this file."
)
LORA = "For models/loras of ComfyUI, on the base that the record names."
OTHERS = {
    "ltx2-lora": Part("LTX-2 LoRA", LORA),
    "ltx2-context": Part(
        "Context tokens for LTX-2",
        "Learnt tokens in the cross-modal attentions of LTX-2 (CCL), which give its guidance a trained null. For models/duet of ComfyUI.",
    ),
    "ltx2-timed-lora": Part("LTX-2 LoRA for timed text", LORA),
    "javisdit-v0.1-lora": Part("JavisDiT v0.1 LoRA", LORA),
    "javisdit-v1.0-lora": Part("JavisDiT v1.0 LoRA", LORA),
    "pocket-ltx2": Part(
        "Pocket LTX-2",
        "LTX-2's architecture at pocket size on the pocket latents, in the layout of ComfyUI's LTXAV model.",
    ),
    "pocket-ltx2-context": Part(
        "Context tokens of pocket LTX-2",
        "Learnt tokens in the cross-modal attentions of pocket LTX-2 (CCL), which give its guidance a trained null.",
    ),
    "pocket-ltx2-plan": Part(
        "Plan layers of pocket LTX-2",
        "Cross-attention with Relative Semantic RoPE beside the text attention of both streams (Baton, our reconstruction); fits the base "
        "whose hash it names.",
    ),
    "pocket-ltx2-timed": Part(
        "Timed text of pocket LTX-2",
        "LoRA on the text attention of both streams, trained with texts that hold at certain times (ours), for models/loras of ComfyUI.",
    ),
    "audio-probe": Part("Audio probe", "Detects audible events: onset maps of six kinds from log-mel frames."),
    "video-probe": Part("Video probe", "Detects visible events: onset maps and kinds in view from frames."),
}


def card(path: Path) -> str:
    """The card of the weights file at ``path``."""
    with safe_open(path, framework="pt") as opened:
        kind = json.loads(opened.metadata()[KEY])["kind"]
    file = load_weights(path, kind)
    part = (PARTS | OTHERS)[kind]
    count = sum(value.numel() for value in file.tensors.values())
    size = path.stat().st_size
    # Files trained before these two were recorded say so instead of leaving them out.
    record = file.record | {name: "not recorded" for name in ("commit", "torch") if name not in file.record}
    lora = kind.endswith("-lora")
    stored = "float32" if lora else "float16"
    origin, licence = (OWN_CLIPS, "that of the base model") if lora else (WORLD, LICENCE)
    training = "".join(f"| {name} | {value} |\n" for name, value in record.items() if name != "scores")
    scores = "".join(f"| {name} | {value} |\n" for name, value in file.record.get("scores", {}).items())
    return (
        f"# {part.title}\n\n{part.contents} {origin}\n\n"
        f"| | |\n|---|---|\n| file | {path.name} |\n| sha256 | {file.sha256} |\n| licence | {licence} |\n"
        f"| parameters | {count:,} |\n| size on disk | {size / 1e6:.2f} MB ({stored}) |\n"
        f"| memory in float32 | {count * 4 / 1e6:.1f} MB |\n\n"
        f"## Training\n\n| | |\n|---|---|\n{training}\n"
        + (f"## Scores when chosen (development prompts)\n\n| | |\n|---|---|\n{scores}" if scores else "")
    ).rstrip() + "\n"


def write_card(path: Path) -> Path:
    """Write the card of ``path`` beside it."""
    target = path.with_suffix(".md")
    with atomic_output(target) as temporary:
        temporary.write_text(card(path), encoding="utf-8")
    return target
