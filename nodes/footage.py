"""Footage of the artist's own: a picture to make the sound for, a sound to make the picture for, frames to begin and end with."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..pipelines.core.keep import KEEPS, OUTSIDE, RANGE
from . import inputs
from .host.footage import clip_seconds, mask_of, notice, put_pictures, put_sound
from .types import CATEGORY


class DuetEncodeAV(io.ComfyNode):
    """Puts pictures and sound into an empty latent."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetEncodeAV",
            display_name="Duet Encode AV",
            category=CATEGORY,
            description="Puts a video, pictures or a sound into an empty latent of any joint model, at its size and length. One picture is "
            "the first frame, two are the first and the last. Footage the pocket model cannot know is refused with a reason.",
            search_aliases=["vae encode", "video to audio", "audio to video", "image to video", "v2a", "a2v"],
            inputs=[
                io.Latent.Input(
                    "latent", tooltip="An empty latent of the model: 'Duet Empty Latent', or LTX-2's or H3's own."
                ),
                io.Vae.Input("video_vae"),
                io.Vae.Input("audio_vae"),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="A clip; its picture is used, and its sound unless one is connected.",
                ),
                io.Image.Input("images", optional=True, tooltip="One picture, two, or frames, instead of a video."),
                io.Audio.Input("audio", optional=True, tooltip="A sound of any rate and channels."),
                inputs.fps(),
                io.Boolean.Input(
                    "anyway",
                    default=False,
                    advanced=True,
                    tooltip="Take footage that does not look like the pocket world, whatever comes of it.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent"),
                io.Audio.Output(
                    display_name="original",
                    tooltip="The sound as it was given, for 'Duet Mux'; silence where none was.",
                ),
                io.String.Output(display_name="notice"),
            ],
        )

    @classmethod
    def execute(
        cls,
        latent: dict,
        video_vae: io.Vae.Type,
        audio_vae: io.Vae.Type,
        video: io.Video.Type | None = None,
        images: torch.Tensor | None = None,
        audio: dict | None = None,
        fps: float = 16.0,
        anyway: bool = False,
    ) -> io.NodeOutput:
        if video is not None and images is not None:
            raise ValueError("Both a video and images are connected; use one of them.")
        if video is not None:
            parts = video.get_components()
            images, fps, audio = parts.images, float(parts.frame_rate), audio or parts.audio
        if images is None and audio is None:
            raise ValueError("Nothing is given. Connect a video, images or an audio.")
        found, strange = [], []
        seconds = clip_seconds(latent, fps, video_vae)
        if images is not None:
            latent, reason = put_pictures(latent, video_vae, images, fps)
            found.append(f"{len(images)} picture(s)")
            strange.append(reason)
        original = {"waveform": torch.zeros(1, 2, 1), "sample_rate": audio_vae.audio_sample_rate}
        if audio is not None:
            latent, reason = put_sound(latent, audio_vae, audio, seconds)
            original = audio
            found.append(f"{audio['waveform'].shape[-1] / audio['sample_rate']:.2f} s of sound")
            strange.append(reason)
        return io.NodeOutput(latent, original, notice(found, strange, anyway=anyway))


class DuetFreezeStream(io.ComfyNode):
    """Keeps part of a latent while the rest is made."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetFreezeStream",
            display_name="Duet Freeze Stream",
            category=CATEGORY,
            description="Keeps the picture (video to audio), the sound (audio to video), the first or the first and last frame, or a range "
            "of seconds of both, while the sampler makes the rest. Works on latents of LTX-2 and H3 too.",
            search_aliases=["v2a", "a2v", "i2v", "inpaint", "noise mask", "keep", "extend"],
            inputs=[
                io.Latent.Input("latent"),
                io.Combo.Input("keep", options=list(KEEPS), default=KEEPS[0], tooltip="What stays as it is."),
                io.Float.Input(
                    "start", default=0.0, min=0.0, max=600.0, step=0.05, tooltip="Of the range, in seconds."
                ),
                io.Float.Input("end", default=1.0, min=0.0, max=600.0, step=0.05, tooltip="Of the range, in seconds."),
                io.Float.Input(
                    "seconds",
                    default=0.0,
                    min=0.0,
                    max=600.0,
                    step=0.05,
                    advanced=True,
                    tooltip="Length of the clip; needed for a range where the latent does not say it (LTX-2, H3).",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White is made anew although the picture is kept. The pocket model makes whole frames that have any white.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(
        cls, latent: dict, keep: str, start: float, end: float, seconds: float, mask: torch.Tensor | None = None
    ) -> io.NodeOutput:
        seconds = seconds or clip_seconds(latent)
        if keep in (RANGE, OUTSIDE) and not seconds:
            raise ValueError(
                "The latent does not say how long its clip lasts. Set 'seconds', then the range means something."
            )
        return io.NodeOutput(mask_of(latent, keep, seconds=seconds, start=start, end=end, again=mask))
