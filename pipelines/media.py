"""Files: mp4 with picture and sound (PyAV)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import torch
from jaxtyping import Float
from torch import Tensor

from .files import replaced
from .shapes import ClipShape
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


def shifted(waveform: Float[Tensor, "*n samples"], *, samples: int) -> Float[Tensor, "*n samples"]:
    """``waveform`` earlier by ``samples`` (later where negative), at the same length; silence takes the place of what is left out."""
    count = waveform.shape[-1]
    by = max(-count, min(count, samples))
    return torch.nn.functional.pad(waveform[..., max(0, by) : count + min(0, by)], (max(0, -by), max(0, by)))


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


@contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
    """A media file to read from.

    Raises:
        ValueError: it cannot be read as one, at its beginning or later.
    """
    try:
        with av.open(str(path)) as container:
            yield container
    except av.error.FFmpegError as error:
        raise ValueError(f"{path} cannot be read as a media file: {error}.") from error


def read_mp4(path: Path) -> Clip:
    """Frames and sound of a media file.

    Raises:
        ValueError: not a readable media file, or one without both streams.
    """
    with opened(path) as container:
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
    return Clip(torch.stack(pictures).float() / 255, fps, torch.cat(sounds, dim=1).float(), rate)


def read_conformed(path: Path, shape: ClipShape) -> Clip:
    """A media file of any container, rate and size at ``shape``'s: all its frames, cropped to the middle, and its sound.

    Every output frame is the last one shown at its time, so that variable rates keep their timing; sound that starts
    later than the picture gets silence before it.

    Raises:
        ValueError: not a readable media file, one without both streams, or without a single frame.
    """
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=shape.sample_rate)
    pictures: list[Tensor] = []
    shown: list[float] = []
    sounds: list[Tensor] = []
    heard_at: float | None = None
    with opened(path) as container:
        if not container.streams.video or not container.streams.audio:
            missing = "video" if not container.streams.video else "audio"
            raise ValueError(f"{path} has no {missing} stream; both are needed.")
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                pictures.append(_fitted(torch.from_numpy(frame.to_ndarray(format="rgb24")), shape))
                shown.append(frame.time or 0.0)
            else:
                heard_at = frame.time or 0.0 if heard_at is None else heard_at
                sounds += [torch.from_numpy(f.to_ndarray()) for f in resampler.resample(frame)]
        sounds += [torch.from_numpy(f.to_ndarray()) for f in resampler.resample(None)]
    if not pictures or not sounds:
        raise ValueError(f"{path} holds no {'frame' if not pictures else 'sound'}.")
    times = torch.tensor(shown, dtype=torch.float64)
    last = float(times[-1] - times[0]) + (float(times.diff().median()) if len(times) > 1 else 0.0)
    wanted = times[0] + torch.arange(max(1, round(last * shape.fps)), dtype=torch.float64) / shape.fps
    pick = (torch.searchsorted(times, wanted + 0.5e-3, right=True) - 1).clamp_min(0)
    sound, late = torch.cat(sounds, dim=1), round(((heard_at or 0.0) - shown[0]) * shape.sample_rate)
    sound = torch.nn.functional.pad(sound, (max(0, late), 0))[:, max(0, -late) :]
    frames = torch.stack(pictures)[pick].float() / 255
    sound = fit_sound(sound, seconds=len(frames) / shape.fps, sample_rate=shape.sample_rate)
    return Clip(frames, float(shape.fps), sound, shape.sample_rate)


def _fitted(picture: Tensor, shape: ClipShape) -> Tensor:
    """The middle of ``picture`` [h, w, 3] in ``shape``'s proportions and size, in bytes."""
    height, width = picture.shape[:2]
    scale = min(height / shape.height, width / shape.width)
    rows, columns = round(shape.height * scale), round(shape.width * scale)
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = picture[top : top + rows, left : left + columns].permute(2, 0, 1)[None].float()
    small = torch.nn.functional.interpolate(middle, size=(shape.height, shape.width), mode="area")
    return small[0].permute(1, 2, 0).round().byte()
