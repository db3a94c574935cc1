"""Training of add-ons inside the host: progress with a picture of the loss, cancelling, and where the files are."""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.model_management
import comfy.utils
import folder_paths
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open

from ...pipelines.core.files import ROOT
from ...pipelines.media.provenance import file_hash
from ...pipelines.models.ltx2.pocket_config import CONTEXT_KIND
from .add_ons import FOLDER, add_on_path

if TYPE_CHECKING:
    from ...pipelines.training.stages import Job

WORLD = "rendered clips of the pocket world"
STAGES = ("plan", "prior-layers", "adapter-v2a", "adapter-a2v", CONTEXT_KIND)
RUNS = ROOT / "runs" / "graph"  # checkpoints and results; 'Duet Load Add-On' lists them
PICTURE = 640  # largest side of a preview in pixels


def clip_files() -> list[str]:
    """``WORLD`` and the files of ``duet data`` in models/duet and in the pack's runs folder."""
    roots = [Path(root) for root in folder_paths.get_folder_paths(FOLDER)]
    names = folder_paths.get_filename_list(FOLDER)
    return [WORLD, *(name for name in names if any(_holds_clips(root / name) for root in roots))]


def _holds_clips(path: Path) -> bool:
    own = RUNS in path.parents  # rendered clips that a run keeps for itself
    return (
        not own and path.suffix == ".safetensors" and path.is_file() and _holds_clips_at(path, path.stat().st_mtime_ns)
    )


@cache
def _holds_clips_at(path: Path, _changed: int) -> bool:
    try:
        with safe_open(path, framework="pt") as opened:
            return {"video", "audio", "tokens"} <= set(opened.keys())
    except (SafetensorError, OSError):
        return False


def require_training(stage: str) -> None:
    """Check that the packages that training needs are installed.

    Raises:
        ValueError: one is not.
    """
    for name in ("accelerate", *(("diffusers",) if stage == CONTEXT_KIND else ())):
        if find_spec(name) is None:
            raise ValueError(
                f"Training {stage} needs the package {name}. With ComfyUI's Python, run: pip install {name}"
            )


def train_add_on(job: Job, *, preview_every: int) -> tuple[dict[str, Any], list[float]]:
    """Train ``job`` with the host's progress bar and cancel button; returns its record and the loss of every step of this call.

    A cancelled run writes its checkpoint, and the same job goes on from there.
    """
    from ...pipelines.figures.canvas import pixels
    from ...pipelines.figures.loss import draw_loss
    from ...pipelines.training.stages import run_stage

    losses: list[float] = []
    bar: Any = None

    def on_step(step: int, steps: int, found: dict[str, torch.Tensor]) -> None:
        nonlocal bar
        bar = bar or comfy.utils.ProgressBar(steps)
        losses.append(float(found["loss"]))
        preview = None
        if step % preview_every == 0 or step == steps:
            shown = (pixels(draw_loss(losses, last=step, title=job.stage)) * 255).byte().numpy()
            preview = ("PNG", Image.fromarray(shown), PICTURE)
        bar.update_absolute(step, steps, preview)
        comfy.model_management.throw_exception_if_processing_interrupted()

    # The host runs nodes in inference mode, in which nothing can learn.
    with torch.inference_mode(False), torch.enable_grad():
        return run_stage(replace(job, on_step=on_step)), losses


def job_of(stage: str, source: str, *, steps: int, **options: Any) -> Job:
    """The job of the node's inputs, on the clips of ``source``, in a folder of its own for these inputs; only the number of steps may grow
    in a folder.

    Raises:
        ValueError: the clips do not exist, or the stage cannot use such a file.
    """
    from ...pipelines.training.stages import Job

    data = None if source == WORLD else add_on_path(source)
    inputs = repr((stage, None if data is None else file_hash(data), sorted(options.items())))
    folder = f"{stage}-{'world' if data is None else data.stem}-{zlib.crc32(inputs.encode()):08x}"
    return Job(stage, RUNS / folder, data=data, steps=steps, **options)
