"""The pocket codecs as the host's VAEs, so that its own encode and decode nodes accept them."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.sd
import torch
from torch import Tensor, nn

from ...pipelines.models.pocket.codec import AudioCodec, VideoCodec
from ...pipelines.shapes import MEL_HOP, MEL_STRIDE, VIDEO_STRIDE

FLOATS_A_SAMPLE = 600  # working memory of Griffin-Lim, measured on the pocket codec
FLOATS_A_PIXEL = 24


class _VideoEnds(nn.Module):
    """[b, 3, frames, h, w] as the host has it. Frames that do not fill a latent frame are left out."""

    def __init__(self, codec: VideoCodec) -> None:
        super().__init__()
        self.codec = codec

    def encode(self, pixels: Tensor) -> Tensor:
        whole = pixels.shape[2] // VIDEO_STRIDE[0] * VIDEO_STRIDE[0]
        if not whole:
            raise ValueError(
                f"The video has {pixels.shape[2]} frames; the Duet codec needs at least {VIDEO_STRIDE[0]}."
            )
        return self.codec.encode(pixels[:, :, :whole].transpose(1, 2))

    def decode(self, latent: Tensor) -> Tensor:
        return self.codec.decode(latent).transpose(1, 2)


class PocketVAE(comfy.sd.VAE):
    """The host's VAE around a linear codec: what its constructor would detect from the weights is told here."""

    def __init__(
        self, model: nn.Module, *, latent_channels: int, dims: int, ratio: Any, channels: int, memory: tuple[Any, Any]
    ) -> None:
        self.first_stage_model = model.eval()
        self.latent_channels, self.latent_dim, self.output_channels = latent_channels, dims, channels
        self.upscale_ratio, self.downscale_ratio = ratio
        self.upscale_index_formula = self.downscale_index_formula = None
        self.memory_used_decode, self.memory_used_encode = memory
        self.process_input = self.process_output = lambda values: values
        self.working_dtypes = [torch.float32]
        self.vae_dtype = torch.float32
        self.pad_channel_value = "replicate"  # mono becomes stereo
        self.extra_1d_channel = self.format_encoded = self.size = None
        self.crop_input = dims == 3
        self.disable_offload = self.not_video = self.handles_tiling = False
        self.device = comfy.model_management.vae_device()
        self.output_device = comfy.model_management.intermediate_device()
        offload = comfy.model_management.vae_offload_device()
        self.patcher = comfy.model_patcher.CoreModelPatcher(model, load_device=self.device, offload_device=offload)
        self.model_size()


def build_video_vae(codec: VideoCodec, *, fps: int) -> PocketVAE:
    """A VAE over frames [b, t, h, w, 3] and latents [b, c, t / 4, h / 8, w / 8]; ``fps`` is the rate it stands for."""
    frames, rows, columns = VIDEO_STRIDE
    cell = frames * rows * columns
    bytes_of = torch.float32.itemsize
    vae = PocketVAE(
        _VideoEnds(codec),
        latent_channels=codec.channels,
        dims=3,
        channels=3,
        ratio=((lambda t: t * frames, rows, columns), (lambda t: t // frames, rows, columns)),
        memory=(
            lambda shape, _dtype: shape[2] * shape[3] * shape[4] * cell * FLOATS_A_PIXEL * bytes_of,
            lambda shape, _dtype: shape[2] * shape[3] * shape[4] * FLOATS_A_PIXEL * bytes_of,
        ),
    )
    vae.fps = fps
    return vae


def build_audio_vae(codec: AudioCodec) -> PocketVAE:
    """A VAE over stereo waveforms [b, samples, 2] and latents [b, c, t]."""
    hop = MEL_HOP * MEL_STRIDE
    bytes_of = torch.float32.itemsize
    vae = PocketVAE(
        codec,
        latent_channels=codec.channels,
        dims=1,
        channels=2,
        ratio=(hop, hop),
        memory=(
            lambda shape, _dtype: shape[2] * hop * FLOATS_A_SAMPLE * bytes_of,
            lambda shape, _dtype: shape[2] * FLOATS_A_SAMPLE * bytes_of,
        ),
    )
    vae.audio_sample_rate = vae.audio_sample_rate_output = codec.sample_rate
    return vae
