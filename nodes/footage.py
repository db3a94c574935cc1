"""Existing footage as input: encoding video, images and audio, and keeping parts of a latent during sampling."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.core.keep import KEEPS, OUTSIDE, RANGE
from . import inputs
from .host.footage import clip_seconds, mask_of, notice, put_pictures, put_sound
from .host.interrupt import Cancellable
from .host.latent import own_rate, require_vaes
from .host.notice import show
from .types import CATEGORY

V2A_TERMS = ["video to audio", "audio to video", "v2a", "a2v", "foley", "sfx", "sound effects", "dub"]


def _footage() -> list[Any]:
    """The optional footage inputs."""
    return [
        io.Video.Input(
            "video",
            optional=True,
            tooltip="A clip. Its frames are encoded, and its audio too unless the audio input is connected.",
        ),
        io.Image.Input(
            "images",
            optional=True,
            tooltip="Used instead of a video: one image (first frame), two (first and last frame), or all frames.",
        ),
        io.Audio.Input(
            "audio",
            optional=True,
            tooltip="Audio at any sample rate, mono or stereo. It replaces the audio of the video.",
        ),
    ]


class DuetEncodeAV(io.ComfyNode):
    """Encodes images and audio into an empty latent."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetEncodeAV",
            display_name="Duet Encode AV",
            category=CATEGORY,
            description="Encodes a video, images or audio into an empty audio-video latent, at the size and duration of that "
            "latent. One image becomes the first frame, two become the first and the last frame. For the pocket model, footage "
            "outside its training domain is rejected with an explanation.",
            search_aliases=[*V2A_TERMS, "vae encode", "image to video"],
            inputs=[
                io.Latent.Input(
                    "latent",
                    tooltip="An empty latent for the model: from 'Duet Empty Latent', or from the LTX-2 or H3 nodes.",
                ),
                io.Vae.Input("video_vae", tooltip="The video VAE of the model, e.g. from 'Duet Load AV'."),
                io.Vae.Input("audio_vae", tooltip="The audio VAE of the model, e.g. from 'Duet Load AV'."),
                *_footage(),
                inputs.fps(),
                io.Boolean.Input(
                    "anyway",
                    default=False,
                    advanced=True,
                    tooltip="Skip the domain check of the pocket model; quality is not guaranteed.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="The encoded clip. Connect it to 'Duet Freeze Stream' to choose what is kept.",
                ),
                io.Audio.Output(
                    display_name="original",
                    tooltip="The unmodified input audio, for the 'original' input of 'Duet Mux'. Silence if there was no audio.",
                ),
                io.String.Output(
                    display_name="notice",
                    tooltip="A summary of what was encoded, with any warning. Also shown on the node.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
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
        require_vaes(latent, video_vae, audio_vae)
        if video is not None and images is not None:
            raise ValueError("Both a video and images are connected; disconnect one of them.")
        if video is not None:
            parts = video.get_components()
            images, fps, audio = parts.images, float(parts.frame_rate), audio or parts.audio
        if images is None and audio is None:
            raise ValueError("No footage is connected. Connect a video, images or audio.")
        found, warnings = [], []
        rate = own_rate(latent, video_vae, audio_vae)
        seconds = clip_seconds(latent, float(rate or fps), video_vae)
        original = {"waveform": torch.zeros(1, 2, 1), "sample_rate": audio_vae.audio_sample_rate}
        with Cancellable():
            if images is not None:
                latent, warning = put_pictures(latent, video_vae, images, fps, own=rate)
                found.append(f"{len(images)} image(s)")
                warnings.append(warning)
            if audio is not None:
                latent, warning = put_sound(latent, audio_vae, audio, seconds)
                original = audio
                found.append(f"{audio['waveform'].shape[-1] / audio['sample_rate']:.2f} s of audio")
                warnings.append(warning)
        summary = notice(found, warnings, skip_check=anyway)
        return io.NodeOutput(latent, original, summary, ui=show(cls, summary))


class DuetFreezeStream(io.ComfyNode):
    """Keeps part of a latent while the rest is generated."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetFreezeStream",
            display_name="Duet Freeze Stream",
            category=CATEGORY,
            description="Keeps the video (video-to-audio), the audio (audio-to-video), the first frame, the first and last "
            "frame, either of them together with the audio, or a range of seconds in both streams, while the sampler generates "
            "the rest. Also works on LTX-2 and H3 latents.",
            search_aliases=[*V2A_TERMS, "i2v", "inpaint", "noise mask", "keep", "extend"],
            inputs=[
                io.Latent.Input("latent", tooltip="From 'Duet Encode AV', or a latent that was sampled before."),
                io.Combo.Input(
                    "keep", options=list(KEEPS), default=KEEPS[0], tooltip="The part of the clip that stays unchanged."
                ),
                inputs.seconds("start", 0.0, "Start of the range, in seconds."),
                inputs.seconds("end", 1.0, "End of the range, in seconds."),
                inputs.seconds(
                    "seconds",
                    0.0,
                    "Duration of the clip in seconds. Required for a range if the latent does not store it (LTX-2, H3); "
                    "0 reads it from the latent.",
                    advanced=True,
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White areas are regenerated even if the video is kept. The pocket model regenerates every frame "
                    "that contains any white.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="The latent with a noise mask, for 'Duet Sampler' or any stock sampler.",
                )
            ],
        )

    @classmethod
    def execute(
        cls, latent: dict, keep: str, start: float, end: float, seconds: float, mask: torch.Tensor | None = None
    ) -> io.NodeOutput:
        seconds = seconds or clip_seconds(latent)
        if keep in (RANGE, OUTSIDE) and not seconds:
            raise ValueError(
                "The latent does not store the duration of its clip, which a range requires. Set 'seconds' to that duration."
            )
        return io.NodeOutput(mask_of(latent, keep, seconds=seconds, start=start, end=end, regenerate=mask))
