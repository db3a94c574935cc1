"""Clips that are longer than a model generates at once."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import InputImpl, io
from torch import Tensor

from ..pipelines.core.pieces import Extension
from . import inputs
from .host.extend import Pieces, beginning, piece_clock
from .host.latent import require_vaes
from .host.notice import show
from .host.sample import announcement, default_sampler, schedule, with_facts
from .types import CATEGORY


class DuetExtend(io.ComfyNode):
    """Generates a long clip from overlapping pieces."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetExtend",
            display_name="Duet Extend",
            category=CATEGORY,
            description="Generates a clip that is longer than the model generates at once, continues a clip, or closes a loop, in both "
            "streams: overlapping pieces on one exact clock, each of which keeps the end of the one before it. Works with the pocket "
            "models, JavisDiT, LTX-2 and MiniMax H3. A cancelled run resumes from its finished pieces.",
            search_aliases=["extend", "loop", "long video", "longer", "continue", "looping sampler", "infinite"],
            inputs=[
                io.Guider.Input(
                    "guider", tooltip="The model, prompts and guidance, e.g. from 'Duet Guider' or 'CFGGuider'."
                ),
                io.Latent.Input(
                    "latent",
                    tooltip="An empty latent with the size and duration of one piece. A noise mask, e.g. of a first frame, applies to the "
                    "first piece. A latent that was sampled before is continued.",
                ),
                io.Vae.Input("video_vae", tooltip="The video VAE of the model."),
                io.Vae.Input("audio_vae", tooltip="The audio VAE of the model."),
                inputs.seconds(
                    "seconds", 10.0, "Duration of the whole clip in seconds, with the clip that is continued."
                ),
                inputs.seconds(
                    "overlap",
                    0.5,
                    "How much of the clip so far each piece keeps, in seconds, rounded up to whole latent frames. Longer overlaps preserve "
                    "motion and rhythm better and need more pieces.",
                ),
                io.Boolean.Input(
                    "loop",
                    default=False,
                    tooltip="End as the clip begins, in picture and sound, so that it can be repeated.",
                ),
                inputs.seed("Noise seed of the first piece; every further piece has its own, derived from it."),
                inputs.steps("Number of sampling steps of each piece. Ignored if sigmas are connected."),
                *inputs.sampling(),
                inputs.video(
                    "A clip to continue, with or without audio, of any size and rate; it is cropped to the size of the latent."
                ),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The whole clip, for 'Save Video'."),
                io.String.Output(
                    display_name="report",
                    tooltip="Duration, number of pieces, and the difference between the streams in milliseconds.",
                ),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        guider: Any,
        latent: dict,
        video_vae: io.Vae.Type,
        audio_vae: io.Vae.Type,
        seconds: float,
        overlap: float,
        loop: bool,
        seed: int,
        steps: int,
        sampler: object | None = None,
        sigmas: Tensor | None = None,
        video: io.Video.Type | None = None,
    ) -> io.NodeOutput:
        latent, vaes = with_facts(latent, guider), (video_vae, audio_vae)
        require_vaes(latent, *vaes)
        sigmas = schedule(guider.model_patcher, latent, steps) if sigmas is None else sigmas
        sampler = sampler or default_sampler(guider)
        clock = piece_clock(guider.model_patcher.model, latent, vaes)
        given = beginning(latent, vaes, clock, video)
        exists, frames = 0 if given is None else len(given.frames), round(seconds * clock.fps)
        extension = Extension(clock, frames, clock.frames_from(overlap), given=exists, loop=loop)
        count = len(extension.pieces)
        cost = announcement(guider, latent, sampler, sigmas, takes=count, what="pieces")

        def on_piece(index: int) -> None:
            show(cls, f"Piece {index + 1} of {count}", cost)

        pieces = Pieces(guider, latent, vaes, seed, sampler, sigmas, extension, on_piece)
        graph, node = (cls.hidden.prompt or {}, str(cls.hidden.unique_id)) if cls.hidden else ({}, "")
        path, report = pieces.written(given, graph, node)
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)), report, ui=show(cls, report))
