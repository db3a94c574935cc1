"""Does a mask find what picture and sound share? Against the world's truth: sources that are seen and heard, muted ones, and sounds
from off screen.

A unit is a moment in a place: one latent frame and one column of the picture's tokens, or one latent frame of the sound.
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
    """Probability that a positive lies above a negative, ties halved (Mann and Whitney, 1947).

    Raises:
        ValueError: one of them is empty.
    """
    if not positive or not negative:
        raise ValueError(f"There are {len(positive)} positives and {len(negative)} negatives; both are needed.")
    a, b = torch.tensor(positive, dtype=torch.float64)[:, None], torch.tensor(negative, dtype=torch.float64)[None]
    return float(((a > b).double() + 0.5 * (a == b).double()).mean())


def openness(net: MaskedAdapter, masks: Streams[Tensor]) -> Streams[Tensor]:
    """How open each unit is: picture [b, t, columns], its most open row; sound [b, t]. Means over channels."""
    video, audio = masks.both()
    video = video.mean(-1).view(len(video), net.frames, net.rows // CELL, net.columns // CELL).amax(2)
    return Streams(video, audio.mean(-1))


def _frames_of(times: Sequence[float], seconds_each: float, count: int) -> set[int]:
    return {min(count - 1, int(t / seconds_each)) for t in times}


def _columns_of(subject: Subject, count: int) -> range:
    """Columns that a subject covers."""
    reach = RADIUS[subject.size]
    return range(max(0, int((subject.x - reach) * count)), min(count - 1, int((subject.x + reach) * count)) + 1)


def _units(subjects: Sequence[Subject], shape: tuple[int, int], seconds: float) -> set[tuple[int, int]]:
    """Moments and columns in which something happens to ``subjects``."""
    frames, columns = shape
    return {
        (t, c) for s in subjects for t in _frames_of(s.times, seconds / frames, frames) for c in _columns_of(s, columns)
    }


@torch.inference_mode()
def mask_quality(net: MaskedAdapter, scenes: Sequence[Scene], latents: Streams[Tensor]) -> dict[str, float]:
    """AUROC of the masks, segment by segment where clips are longer than the net's, over units in which something happens:
    'auroc_video' of what sounds against what is muted, 'auroc_still' of what sounds against all the rest of the picture, 'auroc_audio'
    of moments with a sound in view against those with one from off screen alone; and 'open_video' and 'open_audio', the mean masks."""
    masks = net.masks(net.tokens(segments(latents, net.frames)))
    video, audio = openness(net, masks).map(lambda m: m.unflatten(0, (len(scenes), -1)).flatten(1, 2)).both()
    shape = (video.shape[1], video.shape[2])
    found: dict[str, list[float]] = {name: [] for name in ("heard", "muted", "rest", "inside", "outside")}
    for scene, picture, sound in zip(scenes, video, audio, strict=True):
        seen = [s for s in scene.subjects if s.seen and s.times]
        heard = _units([s for s in seen if s.heard], shape, scene.seconds)
        muted = _units([s for s in seen if not s.heard], shape, scene.seconds) - heard
        found["heard"] += [float(picture[at]) for at in heard]
        found["muted"] += [float(picture[at]) for at in muted]
        everywhere = {(t, c) for t in range(shape[0]) for c in range(shape[1])}
        found["rest"] += [float(picture[at]) for at in everywhere - heard - muted]
        each, count = scene.seconds / shape[0], shape[0]
        inside = set().union(*(_frames_of(s.times, each, count) for s in seen if s.heard))
        outside = set().union(*(_frames_of(s.times, each, count) for s in scene.subjects if s.heard and not s.seen))
        found["inside"] += [float(sound[t]) for t in inside]
        found["outside"] += [float(sound[t]) for t in outside - inside]
    opens = {f"open_{name}": float(mask.mean()) for name, mask in vars(masks).items()}
    return {
        "auroc_video": auroc(found["heard"], found["muted"]),
        "auroc_still": auroc(found["heard"], found["rest"]),
        "auroc_audio": auroc(found["inside"], found["outside"]),
        **opens,
    }
