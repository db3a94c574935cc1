"""Long clips in the host: the pieces of any joint model, sampled with any guider and sampler."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import comfy.model_base
import comfy.samplers
import comfy.sd
import folder_paths
import torch
from comfy_api.latest import io
from torch import Tensor

from ...pipelines.bench.takes import fingerprint
from ...pipelines.core.pieces import Extension, Piece, PieceClock, piece_seed
from ...pipelines.core.streams import Clip, Streams
from ...pipelines.guidance.timed import Edges
from ...pipelines.media.conform import conform_frames, fit_picture
from ...pipelines.media.joining import Known, as_bytes, extend, stored
from ...pipelines.media.mp4 import write_parts
from ...pipelines.media.segments import SegmentShape
from ...pipelines.media.sound import fit_length, resample
from ..types import CLIP_SPEC, PLAN, TIMED
from .clips import clip_from, with_silence
from .footage import latent_mask, put_pictures, put_sound
from .interrupt import Cancellable
from .joint import JointModel
from .latent import FRAMES_BEFORE_GUIDES, frame_rate, nest, sample_rate, unnest
from .provenance import Graph, file_metadata
from .sample import sample_latent
from .takes import first_clip, graph_parts
from .timed_h3 import h3_edges
from .timed_ltx import ltx_edges

FOLDER = "duet-pieces"
Vaes = tuple[comfy.sd.VAE, comfy.sd.VAE]


def piece_edges(model: Any, shapes: list[tuple[int, ...]], latent: dict[str, Any], fps: float) -> Streams[Edges]:
    """Boundaries of the latents of both streams in seconds.

    Raises:
        ValueError: a model of another family, whose boundaries are not known.
    """
    if isinstance(model, JointModel):
        return model.edges(shapes, latent.get(CLIP_SPEC))
    for name, edges in (
        ("LTXAV", lambda: ltx_edges(model, shapes, {"frame_rate": fps})),
        ("MiniMaxH3", lambda: h3_edges(shapes)),
    ):
        family = getattr(comfy.model_base, name, None)
        if family is not None and isinstance(model, family):
            return edges()
    raise ValueError(
        f"The MODEL is a {type(model).__name__}; long clips work with the pocket models, JavisDiT, LTX-2 and MiniMax H3. Generate single "
        "clips with this model."
    )


def piece_clock(model: Any, latent: dict[str, Any], vaes: Vaes) -> PieceClock:
    """The clock of pieces of the size of ``latent``.

    Raises:
        ValueError: several clips, guides after the clip, or no known frame rate.
    """
    streams = unnest(latent)
    if (count := streams.both()[0].shape[0]) != 1:
        raise ValueError(
            f"The latent has batch size {count}; a long clip needs 1. Set the batch of the empty latent to 1."
        )
    if FRAMES_BEFORE_GUIDES in latent:
        raise ValueError(
            "The prompt has guides of 'LTXV Add Guide', which belong to a single clip. Connect the prompt without them."
        )
    fps = frame_rate(latent, vaes[0])
    shapes = [tuple(z.shape) for z in streams.both()]
    video, audio = piece_edges(model, shapes, latent, fps).both()
    frames = tuple(round(edge * fps) for edge in video.tolist())
    return PieceClock(Fraction(fps).limit_denominator(1001), sample_rate(vaes[1]), frames, tuple(audio.tolist()))


def beginning(latent: dict[str, Any], vaes: Vaes, clock: PieceClock, video: io.Video.Type | None) -> Clip | None:
    """The clip that is continued: a VIDEO at the size and rates of ``latent``, or a LATENT that was sampled before; None for an empty
    LATENT, or one with a noise mask, from which the first piece is sampled."""
    if video is not None:
        return conformed(with_silence(clip_from(video=video, images=None, audio=None, fps=0.0)), latent, vaes, clock)
    if "noise_mask" not in latent and any(bool(z.any()) for z in unnest(latent).both()):
        return as_bytes(first_clip(latent, vaes))
    return None


def conformed(clip: Clip, latent: dict[str, Any], vaes: Vaes, clock: PieceClock) -> Clip:
    """``clip`` cropped and scaled to the size of ``latent``, at the rates of ``clock``, with frames in 8 bits."""
    asked, z = latent.get(CLIP_SPEC), unnest(latent).both()[0]
    _, rows, columns = vaes[0].upscale_ratio
    height, width = (asked.height, asked.width) if asked else (z.shape[3] * rows, z.shape[4] * columns)
    shape, fps = SegmentShape(len(clip.frames), height, width, float(clock.fps), clock.sample_rate), float(clock.fps)
    pictures = [fit_picture((picture * 255).round().byte(), shape) for picture in clip.frames]
    frames = conform_frames(pictures, torch.arange(len(pictures), dtype=torch.float64) / clip.fps, shape)
    sound = resample(clip.waveform, rate=clip.sample_rate, to=clock.sample_rate)
    sound = fit_length(sound, seconds=len(frames) / fps, sample_rate=clock.sample_rate)
    return as_bytes(Clip(frames, fps, sound, clock.sample_rate))


def with_known(latent: dict[str, Any], vaes: Vaes, clock: PieceClock, piece: Piece, known: Known) -> dict[str, Any]:
    """``latent`` with what ``piece`` keeps, and the noise mask of what is generated; the first piece has the mask of ``latent``."""
    clip = known.filled(clock.frames, clock.sample(clock.frames))
    if clip is None:
        return latent
    empty = {name: value for name, value in latent.items() if name != "noise_mask"}
    audio = {"waveform": clip.waveform[None], "sample_rate": clock.sample_rate}
    with Cancellable(), torch.inference_mode():
        filled, _ = put_pictures(empty, vaes[0], clip.frames.float() / 255, clip.fps)
        filled, _ = put_sound(filled, vaes[1], audio, clock.seconds)
    masks = unnest(filled).map(latent_mask, piece.regenerated(clock))
    return {**filled, "noise_mask": nest(masks)}


def at_its_time(guider: Any, begin: float, end: float, period: float) -> Any:
    """``guider`` with the timed events from ``begin`` to ``end`` seconds.

    Raises:
        ValueError: a prompt has the plan tokens of a single clip.
    """

    def cut(options: dict[str, Any]) -> dict[str, Any]:
        if PLAN in options:
            raise ValueError(
                "The prompt has a plan, whose tokens are for a single clip. For a long clip, use the events of 'Duet Timed Prompt', or "
                "'duet extend --plan' on the command line."
            )
        if TIMED not in options:
            return options
        prompt = options[TIMED]
        return {**options, TIMED: replace(prompt, timed=prompt.timed.within(begin, end, period=period))}

    own = copy.copy(guider)
    own.original_conds = {k: [cut(entry) for entry in conds] for k, conds in guider.original_conds.items()}
    return own


@dataclass(frozen=True, eq=False)
class Pieces:
    """How the pieces of a long clip are sampled; ``on_piece`` is called with the number of each before it is."""

    guider: Any
    latent: dict[str, Any]
    vaes: Vaes
    seed: int
    sampler: Any
    sigmas: Tensor
    extension: Extension
    on_piece: Callable[[int], object] = lambda _: None

    def make(self, piece: Piece, known: Known) -> Clip:
        """The clip of one piece.

        Raises:
            ValueError: the VAE decodes another number of frames than the model's clock says.
        """
        clock = self.extension.clock
        self.on_piece(piece.index)
        begin, end = (float(frame / clock.fps) for frame in (piece.start, piece.start + clock.frames))
        period = float(self.extension.frames / clock.fps) if self.extension.loop else 0.0
        sampled = sample_latent(
            at_its_time(self.guider, begin, end, period),
            with_known(self.latent, self.vaes, clock, piece, known),
            seed=piece_seed(self.seed, piece.index),
            sampler=self.sampler,
            sigmas=self.sigmas,
        )
        clip = first_clip(sampled, self.vaes)
        if len(clip.frames) != clock.frames:
            raise ValueError(
                f"The video VAE decodes {len(clip.frames)} frames from the latent; the model's latents cover {clock.frames}. Use an empty "
                "latent and the VAEs for this model."
            )
        return clip

    def written(self, given: Clip | None, graph: Graph, node: str) -> tuple[Path, str]:
        """The whole clip as a temporary file, with the provenance of ``graph``, and a report. Finished pieces are kept in the output folder
        until it is complete."""
        parts = graph_parts(graph, node, self.latent, self.guider, free=())
        parts += [self.seed, self.sigmas, repr(self.extension)]
        parts += [] if given is None else [given.frames, given.waveform]
        folder = Path(folder_paths.get_output_directory()) / FOLDER / fingerprint(*parts)
        path = new_temporary(".mp4")
        clip = extend(self.extension, stored(folder, self.make), given)
        frames, samples = write_parts(path, clip, metadata=file_metadata(graph, node))
        shutil.rmtree(folder, ignore_errors=True)
        return path, self.extension.report(frames, samples)


def new_temporary(suffix: str) -> Path:
    """The path of a new file in the host's folder of temporary files."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while (path := folder / f"duet_{number:05}{suffix}").exists():
        number += 1
    return path
