"""Seed sweeps in the host: generating takes, where they are stored, and converting videos for comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import comfy.samplers
import comfy.sd
import folder_paths
import torch
from torch import Tensor

from ...pipelines.bench.readings import Probes
from ...pipelines.bench.takes import ANY, EVENTS, PLANNED, Take, Takes, Tensors, fingerprint, numbers_of, take_of
from ...pipelines.core.conditions import Plan
from ...pipelines.core.streams import Clip, Streams
from ...pipelines.models.pocket.add_ons import TIMED as TIMED_LORA
from ...pipelines.sync.measure import measure, signals_of
from ..types import TIMED
from .clips import clip_from, clip_of
from .interrupt import Cancellable
from .latent import decoded, nest, unnest
from .provenance import Graph, above
from .sample import sample_latent

FOLDER = "duet-sweeps"
FREE = ("seed", "takes", "keep", "label")  # inputs of the sweep that do not change the takes


def sweep_folder(
    graph: Graph, node: str, latent: dict[str, Any], guider: comfy.samplers.CFGGuider, plan: Plan | None = None
) -> Path:
    """The folder for the takes of this graph; another model, prompt, plan, setting or input clip has another folder."""
    parts = graph_parts(graph, node, latent, guider, free=FREE)
    parts += [] if plan is None else [str(plan.asked)]
    return Path(folder_paths.get_output_directory()) / FOLDER / fingerprint(*parts)


def graph_parts(
    graph: Graph, node: str, latent: dict[str, Any], guider: comfy.samplers.CFGGuider, *, free: Sequence[str]
) -> list[Any]:
    """What determines the result of sampling in ``node``, for ``fingerprint``: the graph above it, without the ``free`` inputs of the node
    itself, the latent and the prompts."""
    parts: list[Any] = []
    for name in above(graph, node):
        own = {**graph[name], "_meta": None}
        if name == node:
            own["inputs"] = {key: value for key, value in own["inputs"].items() if key not in free}
        parts.append(own)
    parts += unnest(latent).present()
    mask = latent.get("noise_mask")
    parts += [] if mask is None else mask.unbind() if getattr(mask, "is_nested", False) else [mask]
    entries = [entry for conds in guider.original_conds.values() for entry in conds]
    parts += [entry["cross_attn"] for entry in entries if "cross_attn" in entry]
    # What the graph above reads from files, e.g. a saved plan or the LoRA for timed text, can change without the graph.
    parts.append(guider.model_patcher.get_attachment(TIMED_LORA))
    return parts + [repr(entry[TIMED].timed) for entry in entries if TIMED in entry]


def taking(
    guider: comfy.samplers.CFGGuider,
    latent: dict[str, Any],
    vaes: tuple[comfy.sd.VAE, comfy.sd.VAE],
    *,
    sampler: Any,
    sigmas: Tensor,
    score: str,
    plan: Plan | None = None,
) -> Callable[[int], tuple[Take, Tensors]]:
    """A function that generates and measures the take of one seed.

    Raises:
        ValueError: the batch size of the latent is not 1, the score does not apply to the MODEL, or there is no plan for it.
    """
    count = unnest(latent).present()[0].shape[0]
    if count != 1:
        raise ValueError(
            f"The latent has batch size {count}; a sweep needs 1, as it generates one clip per seed. Set the batch of 'Duet "
            "Empty Latent' to 1."
        )
    world = bool(getattr(guider.model_patcher.model, "pocket_world", False))
    events = None if plan is None else plan.asked
    if score == PLANNED and not (events and events.events):
        raise ValueError(
            f"The score '{PLANNED}' needs events to compare with. Connect the plan of 'Duet Timed Prompt' or 'Duet Planner'."
        )
    if score == EVENTS and not world:
        raise ValueError(
            f"The score '{EVENTS}' only works on clips of the pocket model; this MODEL is a {type(guider.model_patcher.model).__name__}. "
            f"Choose '{ANY}'."
        )
    probes = Probes.load() if world and score in (EVENTS, PLANNED) else None

    def make(seed: int) -> tuple[Take, Tensors]:
        sampled = sample_latent(guider, latent, seed=seed, sampler=sampler, sigmas=sigmas)
        video, audio = unnest(sampled).both()
        clip = first_clip(sampled, vaes)
        with Cancellable():
            return take_of(seed, clip, score, probes, events, world), {"video": video, "audio": audio}

    return make


def first_clip(latent: dict[str, Any], vaes: tuple[comfy.sd.VAE, comfy.sd.VAE]) -> Clip:
    """The first clip of a LATENT, decoded."""
    images, sounds, fps = decoded(latent, *vaes)
    return clip_of(images[0], sounds[0], fps)


def together(latent: dict[str, Any], takes: Sequence[Tensors]) -> dict[str, Any]:
    """The tensors of several takes as one batch."""
    batch = Streams(*(torch.cat([take[name] for take in takes]) for name in ("video", "audio")))
    return {key: value for key, value in latent.items() if key != "noise_mask"} | {"samples": nest(batch)}


def takes_from(name: str, connected: Any) -> Takes:
    """A sweep unchanged, or a VIDEO as a single take.

    Raises:
        ValueError: the video has no audio.
    """
    if isinstance(connected, Takes):
        return connected
    clip = clip_from(video=connected, images=None, audio=None, fps=0.0)
    if not clip.waveform.shape[1]:
        raise ValueError(f"Clip {name} has no audio, so synchrony cannot be compared. Connect a video with audio.")
    measured = measure(signals_of(clip))
    numbers = numbers_of(measured)
    return Takes(f"clip {name}", (Take(0, numbers.get("in_step", 0.0), numbers),))
