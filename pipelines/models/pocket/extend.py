"""Clips that are longer than the pocket model generates at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import torch

from ...core.conditions import PlanStreams
from ...core.keep import KeepMask
from ...core.pieces import Extension, Piece, PieceClock, piece_seed
from ...core.sizes import ClipShape
from ...core.streams import Clip, Latents, Streams
from ...core.timed_events import TimedEvents
from ...media.joining import Known, Make
from .generate import Request, decode, sample
from .load import PocketModel
from .timed import pocket_edges, timed_text

PlanFor = Callable[[float, float], PlanStreams]  # begin and end of a piece in seconds -> its plan


def clock_of(model: PocketModel, shape: ClipShape) -> PieceClock:
    """The clock of pieces of ``shape``."""
    edges = pocket_edges(model.network.config, model.network.latent_sizes(shape).map(lambda size: size[1]))
    video, audio = edges.both()
    frames = tuple(round(edge * shape.fps) for edge in video.tolist())
    return PieceClock(Fraction(shape.fps), shape.sample_rate, frames, tuple(audio.tolist()))


@torch.inference_mode()
def keep_known(model: PocketModel, piece: Piece, known: Known, shape: ClipShape, clock: PieceClock) -> KeepMask | None:
    """The latents of what a piece keeps, and the mask of what is generated; None if nothing is known."""
    clip = known.filled(shape.frames, shape.samples)
    if clip is None:
        return None
    video, audio = model.codecs
    picture = clip.frames.float().div(255).permute(0, 3, 1, 2)
    latents = Streams(video.encode(picture[None]), audio.encode(clip.waveform[None]))
    return KeepMask(latents, piece.regenerated(clock).map(lambda flags: flags[None]))


def making(
    model: PocketModel,
    request: Request,
    extension: Extension,
    *,
    plan_for: PlanFor | None = None,
    on_step: Callable[[], object] | None = None,
) -> Make:
    """A function that generates one piece of the clip that ``request`` describes: one prompt, the shape of a piece, and timed events on
    the clock of the whole clip."""
    clock, fps = extension.clock, extension.clock.fps
    period = float(extension.frames / fps) if extension.loop else 0.0

    def progress(_step: int, _x0: Latents) -> None:
        if on_step is not None:
            on_step()

    def make(piece: Piece, known: Known) -> Clip:
        begin, end = (float(frame / fps) for frame in (piece.start, piece.start + clock.frames))
        own = replace(
            request,
            seed=piece_seed(request.seed, piece.index),
            keep=keep_known(model, piece, known, request.shape, clock),
            plan=None if plan_for is None else plan_for(begin, end),
        )
        if request.timed is not None:
            own = _with_events(own, request.timed[0].within(begin, end, period=period))
        latents = sample(model.network, model.text, own, progress=progress)
        return decode(model, latents, request.shape)[0]

    return make


def _with_events(request: Request, events: TimedEvents) -> Request:
    """``request`` for one piece with its ``events``; without any, nothing acts in the piece."""
    if events.events:
        return replace(request, timed=[events])
    (prompt,), (audio,) = request.prompts, request.audio or request.prompts
    video, sound = timed_text(Streams(prompt, audio), events).rest.both()
    return replace(request, prompts=[video], audio=[sound], as_written=True, timed=None)
