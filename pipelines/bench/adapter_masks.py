"""Whether the adapter's masks find the content that video and audio share, measured against the world's ground truth: sources that
are seen and heard, muted sources, and off-screen sounds.

A unit is one latent frame and one column of the video tokens, or one latent frame of the audio.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.sizes import segments
from ..core.streams import Streams
from ..models.adapter.net import CELL, MaskedAdapter
from ..world import Scene
from ..world.render import RADIUS
from ..world.scene import Subject


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive is larger than a negative; a tie counts one half (Mann and Whitney, 1947).

    Raises:
        ValueError: one of the lists is empty.
    """
    if not positive or not negative:
        raise ValueError(
            f"There are {len(positive)} positives and {len(negative)} negatives; both are required. Use more scenes."
        )
    a, b = torch.tensor(positive, dtype=torch.float64)[:, None], torch.tensor(negative, dtype=torch.float64)[None]
    return float(((a > b).double() + 0.5 * (a == b).double()).mean())


def openness(net: MaskedAdapter, masks: Streams[Tensor]) -> Streams[Tensor]:
    """Mean mask over the channels of each unit: video [b, t, columns], from the row with the highest value; audio [b, t]."""
    video, audio = masks.both()
    video = video.mean(-1).view(len(video), net.frames, net.rows // CELL, net.columns // CELL).amax(2)
    return Streams(video, audio.mean(-1))


def _frames_of(times: Sequence[float], seconds_each: float, count: int) -> set[int]:
    return {min(count - 1, int(t / seconds_each)) for t in times}


def _columns_of(subject: Subject, count: int) -> range:
    """Columns of ``count`` that a subject covers."""
    radius = RADIUS[subject.size]
    return range(max(0, int((subject.x - radius) * count)), min(count - 1, int((subject.x + radius) * count)) + 1)


def _units(subjects: Sequence[Subject], shape: tuple[int, int], seconds: float) -> set[tuple[int, int]]:
    """Latent frames and columns that contain an event of ``subjects``."""
    frames, columns = shape
    return {
        (t, c) for s in subjects for t in _frames_of(s.times, seconds / frames, frames) for c in _columns_of(s, columns)
    }


@torch.inference_mode()
def mask_quality(net: MaskedAdapter, scenes: Sequence[Scene], latents: Streams[Tensor]) -> dict[str, float]:
    """AUROC of the masks over units with an event; clips longer than the net's are evaluated in segments.

    'auroc_video': audible against muted sources. 'auroc_still': audible sources against the rest of the video. 'auroc_audio': frames
    with a sound in view against frames with an off-screen sound only. 'open_video' and 'open_audio': the mean masks.
    """
    masks = net.masks(net.tokens(segments(latents, net.frames)))
    video, audio = openness(net, masks).map(lambda m: m.unflatten(0, (len(scenes), -1)).flatten(1, 2)).both()
    shape = (video.shape[1], video.shape[2])
    found: dict[str, list[float]] = {name: [] for name in ("heard", "muted", "rest", "in_view", "off_screen")}
    for scene, video_units, audio_units in zip(scenes, video, audio, strict=True):
        seen = [s for s in scene.subjects if s.seen and s.times]
        heard = _units([s for s in seen if s.heard], shape, scene.seconds)
        muted = _units([s for s in seen if not s.heard], shape, scene.seconds) - heard
        found["heard"] += [float(video_units[at]) for at in heard]
        found["muted"] += [float(video_units[at]) for at in muted]
        everything = {(t, c) for t in range(shape[0]) for c in range(shape[1])}
        found["rest"] += [float(video_units[at]) for at in everything - heard - muted]
        each, count = scene.seconds / shape[0], shape[0]
        in_view = set().union(*(_frames_of(s.times, each, count) for s in seen if s.heard))
        off_screen = set().union(*(_frames_of(s.times, each, count) for s in scene.subjects if s.heard and not s.seen))
        found["in_view"] += [float(audio_units[t]) for t in in_view]
        found["off_screen"] += [float(audio_units[t]) for t in off_screen - in_view]
    means = {f"open_{name}": float(mask.mean()) for name, mask in vars(masks).items()}
    return {
        "auroc_video": auroc(found["heard"], found["muted"]),
        "auroc_still": auroc(found["heard"], found["rest"]),
        "auroc_audio": auroc(found["in_view"], found["off_screen"]),
        **means,
    }
