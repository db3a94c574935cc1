"""Files: mp4 with picture and sound (PyAV)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import torch
from jaxtyping import Float
from torch import Tensor

from .files import replaced
from .streams import Clip

WATCHABLE = 512  # pixels of the shorter side that an mp4 is scaled up to
CRF = "14"
AAC_BITS = 192_000


def upscaled(frames: Tensor) -> Tensor:
    """Frames [t, h, w, 3] enlarged by a whole factor, pixels kept square, so that a small clip can be watched."""
    factor = max(1, WATCHABLE // min(frames.shape[1:3]))
    return frames.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


def fit_sound(
    waveform: Float[Tensor, "channels samples"], *, seconds: float, sample_rate: int
) -> Float[Tensor, "channels fitted"]:
    """``waveform`` cut or padded with silence to ``seconds``, and scaled down if it would clip."""
    wanted = round(seconds * sample_rate)
    fitted = torch.nn.functional.pad(waveform[:, :wanted].float(), (0, max(0, wanted - waveform.shape[1])))
    return fitted / fitted.abs().amax().clamp_min(1.0)


def write_mp4(path: Path, clip: Clip) -> None:
    """H.264 yuv420p and AAC at the clip's own rates; the file appears whole or not at all.

    The sound is cut or padded to the picture's length, so that they differ by less than one AAC frame.

    Raises:
        ValueError: not a finite clip, or a folder that cannot be written to.
        OSError: the disk is full.
    """
    if not (torch.isfinite(clip.frames).all() and torch.isfinite(clip.waveform).all()):
        raise ValueError(
            "The clip holds values that are not finite numbers; it was not written. Sample it again with a lower guidance scale."
        )
    with (
        replaced(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        _write_streams(container, clip)


def _write_streams(container: av.container.OutputContainer, clip: Clip) -> None:
    pixels = (upscaled(clip.frames).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    rate = Fraction(clip.fps).limit_denominator(1001)
    video = container.add_stream("libx264", rate=rate, options={"crf": CRF, "preset": "medium"})
    video.height, video.width = pixels.shape[1:3]
    video.pix_fmt = "yuv420p"
    channels = clip.waveform.shape[0]
    audio = container.add_stream("aac", rate=clip.sample_rate, layout="stereo" if channels == 2 else "mono")
    audio.bit_rate = AAC_BITS
    for picture in pixels:
        container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    container.mux(video.encode(None))
    sound = fit_sound(clip.waveform, seconds=len(pixels) / clip.fps, sample_rate=clip.sample_rate)
    frame = av.AudioFrame.from_ndarray(
        sound.cpu().contiguous().numpy(),
        format="fltp",
        layout="stereo" if channels == 2 else "mono",
    )
    frame.sample_rate, frame.pts = clip.sample_rate, 0
    container.mux(audio.encode(frame))
    container.mux(audio.encode(None))


def read_mp4(path: Path) -> Clip:
    """Frames and sound of a media file.

    Raises:
        ValueError: not a readable media file, or one without both streams.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video or not container.streams.audio:
                raise ValueError(
                    f"{path} needs a video and an audio stream; it has {len(container.streams.video)} and {len(container.streams.audio)}."
                )
            fps, rate = float(container.streams.video[0].average_rate), container.streams.audio[0].rate
            pictures: list[Tensor] = []
            sounds: list[Tensor] = []
            for frame in container.decode(video=0, audio=0):
                if isinstance(frame, av.VideoFrame):
                    pictures.append(torch.from_numpy(frame.to_ndarray(format="rgb24")))
                else:
                    sounds.append(torch.from_numpy(frame.to_ndarray()))
    except av.error.FFmpegError as error:
        raise ValueError(f"{path} cannot be read as a media file: {error}.") from error
    return Clip(torch.stack(pictures).float() / 255, fps, torch.cat(sounds, dim=1).float(), rate)
