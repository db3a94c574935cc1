"""Latents in, pictures and sound out."""

from __future__ import annotations

from fractions import Fraction

import torch
from comfy_api.latest import Types, io

from ..pipelines.core.sizes import MAX_SECONDS
from ..pipelines.media.sound import fit_sound
from ..pipelines.media.watermark import add_label
from . import inputs
from .host.latent import decoded, nest
from .host.model import joint_model
from .host.provenance import TracedVideo, of_graph
from .types import CATEGORY, CLIP_SPEC

PIXELS = "Pixels. The pocket model was trained at 64, JavisDiT at 240p and above: {} for a wide picture at 240p."


class DuetEmptyLatent(io.ComfyNode):
    """An empty pair of latents, sized for a model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetEmptyLatent",
            display_name="Duet Empty Latent",
            category=CATEGORY,
            description="An empty pair of latents for both streams, of one length.",
            search_aliases=["empty latent", "audio video latent"],
            inputs=[
                io.Model.Input("model"),
                io.Int.Input("width", default=64, min=16, max=4096, step=2, tooltip=PIXELS.format("426")),
                io.Int.Input("height", default=64, min=16, max=4096, step=2, tooltip=PIXELS.format("240")),
                io.Float.Input(
                    "seconds",
                    default=2.0,
                    min=0.25,
                    max=MAX_SECONDS,
                    step=0.25,
                    tooltip="Length of both streams; JavisDiT's are filled up to whole groups of frames. Trained on 2 s (pocket model), "
                    "2 to 16 s (JavisDiT v0.1), 4 and 5 s (v1.0).",
                ),
                io.Int.Input(
                    "fps",
                    default=0,
                    min=0,
                    max=120,
                    tooltip="Frames per second; 0 is the model's own: 16 for the pocket model (which knows no other) and JavisDiT v1.0, "
                    "24 for v0.1.",
                ),
                io.Int.Input("batch", default=1, min=1, max=256, tooltip="How many takes."),
            ],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(
        cls, model: io.Model.Type, width: int, height: int, seconds: float, fps: int, batch: int
    ) -> io.NodeOutput:
        sizes, asked = joint_model(model).latents(height=height, width=width, seconds=seconds, fps=fps)
        empty = sizes.map(lambda size: torch.zeros(batch, *size))
        return io.NodeOutput({"samples": nest(empty), "frame_rate": asked.fps, CLIP_SPEC: asked})


class DuetDecode(io.ComfyNode):
    """Decodes both streams; each take of a batch comes out by itself."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetDecode",
            display_name="Duet Decode",
            category=CATEGORY,
            description="Decodes both streams of a latent. A batch comes out as a list, take by take.",
            search_aliases=["vae decode", "audio video decode"],
            inputs=[
                io.Latent.Input("latent"),
                io.Vae.Input("video_vae"),
                io.Vae.Input("audio_vae"),
                io.Boolean.Input(
                    "tiling",
                    default=False,
                    advanced=True,
                    tooltip="Decode the picture in tiles: slower, for large sizes and little memory.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=240.0,
                    step=0.01,
                    optional=True,
                    tooltip="Frames per second. 0: the rate that the latent states. Latents sampled by ComfyUI's own nodes (LTX, H3) "
                    "state none; enter the rate that the clip was generated for.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", is_output_list=True),
                io.Audio.Output(display_name="audio", is_output_list=True),
                io.Float.Output(display_name="fps"),
            ],
        )

    @classmethod
    def execute(
        cls, latent: dict, video_vae: io.Vae.Type, audio_vae: io.Vae.Type, tiling: bool, fps: float = 0.0
    ) -> io.NodeOutput:
        return io.NodeOutput(*decoded(latent, video_vae, audio_vae, tiling=tiling, fps=fps))


class DuetMux(io.ComfyNode):
    """Puts pictures and sound into one video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetMux",
            display_name="Duet Mux",
            category=CATEGORY,
            description="Puts pictures and sound into one video of the pictures' length, at the sound's own rate, without clipping.",
            search_aliases=["create video", "combine audio video", "mux"],
            inputs=[
                io.Image.Input("images"),
                io.Audio.Input("audio"),
                inputs.fps(),
                io.Int.Input(
                    "enlarge",
                    default=8,
                    min=1,
                    max=16,
                    tooltip="Whole factor by which the pictures are enlarged, pixels kept square; 1 leaves them.",
                ),
                io.Audio.Input(
                    "original",
                    optional=True,
                    tooltip="A waveform to carry instead of the decoded one, e.g. the one a video was made for.",
                ),
                io.String.Input(
                    "watermark",
                    default="",
                    optional=True,
                    tooltip="Shown in the corner of the picture, e.g. 'AI generated'; empty: no label. Where the clip comes from is in its "
                    "file either way: 'duet doctor FILE' reads it.",
                ),
            ],
            outputs=[io.Video.Output(display_name="video")],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        images: torch.Tensor,
        audio: dict,
        fps: float,
        enlarge: int,
        original: dict | None = None,
        watermark: str = "",
    ) -> io.NodeOutput:
        source = original or audio
        rate = source["sample_rate"]
        waveform = fit_sound(source["waveform"][0], seconds=len(images) / fps, sample_rate=rate)
        frames = images.repeat_interleave(enlarge, 1).repeat_interleave(enlarge, 2)
        components = Types.VideoComponents(
            images=add_label(frames, watermark),
            audio={"waveform": waveform[None], "sample_rate": rate},
            frame_rate=Fraction(fps).limit_denominator(1001),
        )
        graph = cls.hidden.prompt if cls.hidden else None
        return io.NodeOutput(TracedVideo(components, of_graph(graph or {}, str(cls.hidden.unique_id) if graph else "")))
