"""Creating empty latents, decoding both streams, and writing them into one video."""

from __future__ import annotations

from fractions import Fraction

import torch
from comfy_api.latest import Types, io

from ..pipelines.core.sizes import MAX_SECONDS
from ..pipelines.media.enlarge import enlarge as enlarged
from ..pipelines.media.sound import fit_length
from ..pipelines.media.watermark import add_label
from ..pipelines.sync.audio_guard import guard
from . import inputs
from .host.joint import joint_model
from .host.latent import decoded, nest
from .host.notice import show
from .host.provenance import TracedVideo, of_graph
from .types import CATEGORY, CLIP_SPEC

PIXELS = (
    "{} in pixels. The pocket model was trained at 64 and needs multiples of 32. JavisDiT was trained at 240p and above: use {} "
    "for a widescreen clip at 240p."
)


class DuetEmptyLatent(io.ComfyNode):
    """Creates an empty audio-video latent at the size a model needs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetEmptyLatent",
            display_name="Duet Empty Latent",
            category=CATEGORY,
            description="Creates an empty audio-video latent: a video and an audio stream of the same duration.",
            search_aliases=["empty latent", "audio video latent"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="A Duet MODEL. It determines the number of channels and latent frames of each stream.",
                ),
                io.Int.Input("width", default=64, min=16, max=4096, step=2, tooltip=PIXELS.format("Width", "426")),
                io.Int.Input("height", default=64, min=16, max=4096, step=2, tooltip=PIXELS.format("Height", "240")),
                io.Float.Input(
                    "seconds",
                    default=2.0,
                    min=0.25,
                    max=MAX_SECONDS,
                    step=0.25,
                    tooltip="Duration of both streams in seconds. JavisDiT rounds it up to whole groups of frames. Training "
                    "durations: 2 s (pocket model), 2 to 16 s (JavisDiT v0.1), 4 and 5 s (JavisDiT v1.0).",
                ),
                io.Int.Input(
                    "fps",
                    default=0,
                    min=0,
                    max=120,
                    tooltip="Frame rate in frames per second. 0 uses the model's default: 16 for the pocket model (which "
                    "accepts no other) and JavisDiT v1.0, 24 for JavisDiT v0.1.",
                ),
                io.Int.Input(
                    "batch", default=1, min=1, max=256, tooltip="Number of clips to generate. Clip k uses seed + k."
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="An empty latent with both streams, for 'Duet Sampler' or 'Duet Encode AV'.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, model: io.Model.Type, width: int, height: int, seconds: float, fps: int, batch: int
    ) -> io.NodeOutput:
        network = joint_model(model)
        sizes, asked = network.latents(height=height, width=width, seconds=seconds, fps=fps)
        latent = {
            "samples": nest(sizes.map(lambda size: torch.zeros(batch, *size))),
            "frame_rate": asked.fps,
            CLIP_SPEC: asked,
        }
        return io.NodeOutput(latent, ui=show(cls, network.advice(sizes.both()[0])))


class DuetDecode(io.ComfyNode):
    """Decodes both streams. Each clip of a batch is a separate list entry."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetDecode",
            display_name="Duet Decode",
            category=CATEGORY,
            description="Decodes both streams of a latent into images and audio. A batch is returned as a list with one entry "
            "per clip.",
            search_aliases=["vae decode", "audio video decode"],
            inputs=[
                io.Latent.Input("latent", tooltip="An audio-video latent, e.g. from 'Duet Sampler'."),
                io.Vae.Input("video_vae", tooltip="The video VAE of the model that generated the latent."),
                io.Vae.Input("audio_vae", tooltip="The audio VAE of the model that generated the latent."),
                io.Boolean.Input(
                    "tiling",
                    default=False,
                    advanced=True,
                    tooltip="Decode the video in tiles. Slower, but needs less memory at large sizes.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=240.0,
                    step=0.01,
                    optional=True,
                    tooltip="Frame rate in frames per second. 0 uses the rate stored in the latent. Latents sampled by "
                    "ComfyUI's own nodes (LTX-2, H3) store none; enter the rate the clip was generated for.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images",
                    is_output_list=True,
                    tooltip="The frames of each clip, one list entry per clip.",
                ),
                io.Audio.Output(
                    display_name="audio",
                    is_output_list=True,
                    tooltip="The audio of each clip, with the same duration as its frames.",
                ),
                io.Float.Output(display_name="fps", tooltip="Frame rate of the images, in frames per second."),
            ],
        )

    @classmethod
    def execute(
        cls, latent: dict, video_vae: io.Vae.Type, audio_vae: io.Vae.Type, tiling: bool, fps: float = 0.0
    ) -> io.NodeOutput:
        return io.NodeOutput(*decoded(latent, video_vae, audio_vae, tiling=tiling, fps=fps))


class DuetMux(io.ComfyNode):
    """Combines images and audio into one video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetMux",
            display_name="Duet Mux",
            category=CATEGORY,
            description="Combines images and audio into one VIDEO with the duration of the images. The audio keeps its sample "
            "rate; its true peak is limited to -1 dB, and its loudness changes only if a target is set.",
            search_aliases=["create video", "combine audio video", "mux"],
            inputs=[
                io.Image.Input("images", tooltip="The frames of one clip, e.g. from 'Duet Decode'."),
                io.Audio.Input(
                    "audio", tooltip="The audio of the clip. It is cut or padded to the duration of the images."
                ),
                inputs.fps(),
                io.Int.Input(
                    "enlarge",
                    default=8,
                    min=1,
                    max=16,
                    tooltip="Integer factor by which the images are enlarged, with a bicubic filter. 1 keeps the original size; the "
                    "pocket model's 64 x 64 becomes 512 x 512 at 8.",
                ),
                io.Audio.Input(
                    "original",
                    optional=True,
                    tooltip="Audio to use instead of the decoded audio, e.g. the original recording in an audio-to-video graph.",
                ),
                io.String.Input(
                    "watermark",
                    default="",
                    optional=True,
                    tooltip="Text shown in a corner of the video, e.g. 'AI generated'. Empty: no label. The saved file contains "
                    "provenance metadata in either case; 'duet doctor FILE' prints it.",
                ),
                inputs.target_lufs(0.0),
            ],
            outputs=[io.Video.Output(display_name="video", tooltip="The finished clip, for 'Save Video'.")],
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
        target_lufs: float = 0.0,
    ) -> io.NodeOutput:
        source = original or audio
        rate = source["sample_rate"]
        waveform = fit_length(source["waveform"][0], seconds=len(images) / fps, sample_rate=rate)
        found = guard(waveform, sample_rate=rate, target=target_lufs or None)
        frames = enlarged(images, enlarge)
        components = Types.VideoComponents(
            images=add_label(frames, watermark),
            audio={"waveform": found.waveform[None], "sample_rate": rate},
            frame_rate=Fraction(fps).limit_denominator(1001),
        )
        graph = cls.hidden.prompt if cls.hidden else None
        video = TracedVideo(components, of_graph(graph or {}, str(cls.hidden.unique_id) if graph else ""))
        return io.NodeOutput(video, ui=show(cls, *found.defects))
