"""Clips in many containers and codecs, with FFmpeg's own pictures and sounds."""

from __future__ import annotations

from itertools import cycle, islice

import av

PICTURES = ("testsrc2", "mandelbrot", "life=mold=10", "smptebars", "gradients", "cellauto=rule=18", "rgbtestsrc")
SOUNDS = ("sine=beep_factor=4", "anoisesrc=amplitude=0.2", "sine=frequency=220", "aevalsrc='0.3*sin(6*t*t*400)'")
FORMATS = (  # container, video codec, pixel format, audio codec, sample rate
    ("mp4", "libx264", "yuv420p", "aac", 44_100),
    ("webm", "libvpx-vp9", "yuv420p", "libopus", 48_000),
    ("mkv", "ffv1", "yuv444p", "flac", 22_050),
    ("mov", "mjpeg", "yuvj420p", "pcm_s16le", 32_000),
    ("ts", "mpeg2video", "yuv420p", "mp2", 48_000),
    ("avi", "mpeg4", "yuv420p", "libmp3lame", 44_100),
)
RATES = (24, 25, 30, 50, 60)
SIZES = ("128x72", "96x96", "72x128", "160x90")
SECONDS = 1.2


def write_lavfi_clips(folder, count):
    """``count`` clips with a caption beside each; all differ in picture, sound, container, rate or size."""
    columns = zip(*(cycle(column) for column in (PICTURES, SOUNDS, FORMATS, RATES, SIZES)), strict=True)
    for number, (picture, sound, kind, fps, size) in enumerate(islice(columns, count)):
        path = folder / f"lavfi_{number:02d}.{kind[0]}"
        _write(path, picture, sound, kind[1:], fps=fps, size=size)
        path.with_suffix(".txt").write_text(f"{picture.partition('=')[0]} with {sound.partition('=')[0]}")
    return folder


def _write(path, picture, sound, codecs, *, fps, size):
    joined = ":" if "=" in picture else "="
    video, pixels, audio, rate = codecs
    with (
        av.open(f"{picture}{joined}size={size}:rate={fps}", format="lavfi") as seen,
        av.open(f"{sound}{':' if '=' in sound else '='}sample_rate={rate}", format="lavfi") as heard,
        av.open(str(path), "w") as container,
    ):
        width, height = map(int, size.split("x"))
        frames = container.add_stream(video, rate=fps)
        frames.width, frames.height, frames.pix_fmt = width, height, pixels
        samples = container.add_stream(audio, rate=rate)
        _encode(seen.decode(video=0), frames, container)
        _encode(heard.decode(audio=0), samples, container)


def _encode(decoded, stream, container):
    for frame in decoded:
        if frame.time is not None and frame.time >= SECONDS:
            break
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
