"""Duet's codecs wrapped as the host's VAE, so that stock encode and decode nodes accept them."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.sd
import torch
from torch import Tensor, nn

from ...pipelines.core.sizes import MEL_HOP, MEL_STRIDE, VIDEO_STRIDE
from ...pipelines.models.javisdit.audio import HOP, AudioLDM2Codec
from ...pipelines.models.javisdit.opensora_vae import (
    CHUNK,
    CHUNK_LATENTS,
    MICRO_BATCH,
    STRIDE,
    OpenSoraVAE,
    latent_frames,
)
from ...pipelines.models.pocket.codecs import FrameCodec, SoundCodec
from .interrupt import Cancellable

FLOATS_A_SAMPLE = 600  # working memory of Griffin-Lim, measured on the pocket codec
FLOATS_A_PIXEL = 24
# Estimates in the way the host estimates similar autoencoders; not measured.
VALUES_A_PIXEL_IN, VALUES_A_PIXEL_OUT = 1767, 2178
FLOATS_A_VOCODED_SAMPLE = 400
MEL_FRAMES = 4  # per latent frame of AudioLDM2


class _VideoEnds(nn.Module):
    """The pocket video codec on the host's layout [b, 3, frames, h, w]. Frames that do not fill a latent frame are dropped."""

    def __init__(self, codec: FrameCodec) -> None:
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


class _AudioEnds(nn.Module):
    """A pocket audio codec with latents [b, c, t], or [b, c, t, 1] with ``bins``: LTX's audio latents have an axis of frequency bins."""

    def __init__(self, codec: SoundCodec, *, bins: bool) -> None:
        super().__init__()
        self.codec, self.bins = codec, bins

    def encode(self, waveform: Tensor) -> Tensor:
        latent = self.codec.encode(waveform)
        return latent[..., None] if self.bins else latent

    def decode(self, latent: Tensor) -> Tensor:
        return self.codec.decode(latent[..., 0] if self.bins else latent)


class _OpenSoraEnds(nn.Module):
    """Open-Sora's VAE: encodes to the mean of the latents, and decodes whole chunks of frames."""

    def __init__(self, codec: OpenSoraVAE) -> None:
        super().__init__()
        self.codec = codec

    def encode(self, pixels: Tensor) -> Tensor:
        return self.codec.encode(pixels)

    def decode(self, latent: Tensor) -> Tensor:
        return self.codec.decode(latent, frames=_open_sora_frames(latent.shape[2]))


def _open_sora_frames(latents: int) -> int:
    """Frames that ``latents`` latent frames decode to; an incomplete last chunk has four frames per latent frame."""
    whole, rest = divmod(latents, CHUNK_LATENTS)
    return CHUNK * whole + STRIDE * rest if latents > 1 else latents


def _unchanged(values: Tensor) -> Tensor:
    return values


class StreamVAE(comfy.sd.VAE):
    """The host's VAE around one of Duet's codecs; attributes that the host detects from the weights are set explicitly."""

    def __init__(
        self,
        model: nn.Module,
        *,
        latent_channels: int,
        dims: int,
        ratio: Any,
        channels: int,
        memory: tuple[Any, Any],
        dtypes: list[torch.dtype],
        signed: bool = False,
    ) -> None:
        """``signed``: the codec works on values from -1 to 1, whereas the host uses 0 to 1."""
        self.latent_channels, self.latent_dim, self.output_channels = latent_channels, dims, channels
        self.upscale_ratio, self.downscale_ratio = ratio
        self.upscale_index_formula = self.downscale_index_formula = None
        self.memory_used_decode, self.memory_used_encode = memory
        self.process_input = (lambda values: values * 2 - 1) if signed else _unchanged
        self.process_output = (lambda values: values.add_(1).div_(2).clamp_(0, 1)) if signed else _unchanged
        self.device = comfy.model_management.vae_device()
        self.working_dtypes = dtypes
        self.vae_dtype = comfy.model_management.vae_dtype(self.device, dtypes)
        self.first_stage_model = model.eval().to(self.vae_dtype)
        self.pad_channel_value = "replicate"  # mono becomes stereo
        self.extra_1d_channel = self.format_encoded = self.size = None
        self.crop_input = dims == 3
        self.disable_offload = self.not_video = self.handles_tiling = False
        self.output_device = comfy.model_management.intermediate_device()
        offload = comfy.model_management.vae_offload_device()
        self.patcher = comfy.model_patcher.CoreModelPatcher(model, load_device=self.device, offload_device=offload)
        self.model_size()

    def encode(self, *args: Any, **kwargs: Any) -> Tensor:
        with Cancellable():
            return super().encode(*args, **kwargs)

    def decode(self, *args: Any, **kwargs: Any) -> Tensor:
        with Cancellable():
            return super().decode(*args, **kwargs)

    def decode_tiled(self, *args: Any, **kwargs: Any) -> Tensor:
        with Cancellable():
            return super().decode_tiled(*args, **kwargs)


def build_video_vae(codec: FrameCodec, *, fps: int) -> StreamVAE:
    """A VAE over frames [b, t, h, w, 3] and latents [b, c, t', h', w'] in steps of the codec's stride; ``fps`` is the frame rate."""
    frames, rows, columns = codec.stride
    cell = frames * rows * columns
    bytes_of = torch.float32.itemsize
    vae = StreamVAE(
        _VideoEnds(codec),
        latent_channels=codec.channels,
        dims=3,
        channels=3,
        ratio=((lambda t: t * frames, rows, columns), (lambda t: t // frames, rows, columns)),
        memory=(
            lambda shape, _dtype: shape[2] * shape[3] * shape[4] * cell * FLOATS_A_PIXEL * bytes_of,
            lambda shape, _dtype: shape[2] * shape[3] * shape[4] * FLOATS_A_PIXEL * bytes_of,
        ),
        dtypes=[torch.float32],
    )
    vae.fps, vae.pocket_world = fps, True
    return vae


def build_audio_vae(codec: SoundCodec, *, bins: bool = False) -> StreamVAE:
    """A VAE over stereo waveforms [b, samples, 2] and latents [b, c, t], or [b, c, t, 1] with ``bins``."""
    hop = MEL_HOP * MEL_STRIDE
    bytes_of = torch.float32.itemsize
    vae = StreamVAE(
        _AudioEnds(codec, bins=bins),
        latent_channels=codec.channels,
        dims=2 if bins else 1,
        channels=2,
        ratio=(hop, hop),
        memory=(
            lambda shape, _dtype: shape[2] * hop * FLOATS_A_SAMPLE * bytes_of,
            lambda shape, _dtype: shape[2] * FLOATS_A_SAMPLE * bytes_of,
        ),
        dtypes=[torch.float32],
    )
    vae.audio_sample_rate = vae.audio_sample_rate_output = codec.sample_rate
    vae.pocket_codec = codec.base
    return vae


def build_open_sora_vae(codec: OpenSoraVAE, *, fps: int) -> StreamVAE:
    """A VAE over frames [b, t, h, w, 3] and latents [b, 4, t', h / 8, w / 8]; five latent frames are 17 frames."""
    size_of = comfy.model_management.dtype_size

    def decoding(shape: Any, dtype: torch.dtype) -> int:
        rows, columns = shape[3] * 8, shape[4] * 8
        out = _open_sora_frames(shape[2]) * 3 * torch.float32.itemsize
        return rows * columns * (MICRO_BATCH * VALUES_A_PIXEL_OUT * size_of(dtype) + out)

    vae = StreamVAE(
        _OpenSoraEnds(codec),
        latent_channels=codec.scale.shape[1],
        dims=3,
        channels=3,
        ratio=((_open_sora_frames, 8, 8), (latent_frames, 8, 8)),
        memory=(
            decoding,
            lambda shape, dtype: shape[3] * shape[4] * MICRO_BATCH * VALUES_A_PIXEL_IN * size_of(dtype),
        ),
        dtypes=[torch.bfloat16, torch.float32],
        signed=True,
    )
    vae.fps = fps
    return vae


def build_audioldm2_vae(codec: AudioLDM2Codec) -> StreamVAE:
    """A VAE over mono waveforms [b, samples, 1] and scaled latents [b, 8, t, 16]."""
    hop, bytes_of = HOP * MEL_FRAMES, torch.float32.itemsize

    def decoding(shape: Any, _dtype: torch.dtype) -> int:
        mel = shape[2] * MEL_FRAMES * shape[3] * MEL_FRAMES
        return (mel * VALUES_A_PIXEL_OUT + shape[2] * hop * FLOATS_A_VOCODED_SAMPLE) * bytes_of

    vae = StreamVAE(
        codec,
        latent_channels=codec.vae.config.latent_channels,
        dims=2,
        channels=2,  # input channels; the output is mono
        ratio=(hop, hop),
        memory=(decoding, lambda shape, _dtype: shape[2] // HOP * 64 * VALUES_A_PIXEL_IN * bytes_of),
        dtypes=[torch.float32],
    )
    vae.audio_sample_rate = vae.audio_sample_rate_output = codec.sample_rate
    return vae
