"""The bench: fixed prompts, generated clips, and what the instruments hear and see in them."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from ..generate import Request, decode, generate
from ..guidance import Strategy
from ..models.pocket.load import FILES, PocketModel
from ..shapes import ClipShape
from ..streams import Clip, Streams
from ..weights import WEIGHTS, fill, load_weights
from ..world import KINDS, SOUNDING, Scene, caption, make_scenes, render_picture, render_sound
from .events import Events, f1, only
from .probes import AudioProbe, VideoProbe
from .sync import Interval, mean_interval, normalised

AUDIO_PROBE = WEIGHTS / "pocket-audio-probe.safetensors"
VIDEO_PROBE = WEIGHTS / "pocket-video-probe.safetensors"
CHUNK = 25
SECOND_TAKE = 1_000_000  # added to the seed of the takes that measure chance


@dataclass(frozen=True)
class Probes:
    """Both instruments."""

    audio: AudioProbe
    video: VideoProbe

    @classmethod
    def load(cls) -> Probes:
        """The probes that ship with the pack."""
        audio, video = load_weights(AUDIO_PROBE, "audio-probe"), load_weights(VIDEO_PROBE, "video-probe")
        return cls(
            fill(AudioProbe(**audio.config), audio.tensors, source=AUDIO_PROBE),
            fill(VideoProbe(**video.config), video.tensors, source=VIDEO_PROBE),
        )


@dataclass(frozen=True)
class Reading:
    """What was found in one clip: events heard, events seen, and how likely each of ``KINDS`` is in view."""

    heard: Events
    seen: Events
    presence: tuple[float, ...]

    @property
    def kind(self) -> str:
        """The kind most likely in view."""
        return KINDS[max(range(len(KINDS)), key=self.presence.__getitem__)]


def read(probes: Probes, clips: Sequence[Clip]) -> list[Reading]:
    """Read clips of one size and rate."""
    frames = torch.stack([clip.frames for clip in clips]).permute(0, 1, 4, 2, 3)
    heard = probes.audio.events(torch.stack([clip.waveform for clip in clips]))
    seen, presence = probes.video.events(frames, fps=clips[0].fps), probes.video.presence(frames)
    return [Reading(a, v, tuple(p)) for a, v, p in zip(heard, seen, presence.tolist(), strict=True)]


def reconstruct(model: PocketModel, scenes: Sequence[Scene], shape: ClipShape) -> list[Clip]:
    """True clips through both codecs: the ceiling."""
    waveforms = render_sound(scenes, samples=shape.samples, sample_rate=shape.sample_rate)
    latents = Streams(model.video_codec.encode(render_picture(scenes, shape)), model.audio_codec.encode(waveforms))
    return decode(model, latents, shape)


@torch.inference_mode()
def measure(
    model: PocketModel,
    probes: Probes,
    *,
    prompts: int,
    seed: int,
    strategy: Strategy,
    steps: int,
    on_chunk: Callable[[int], object] | None = None,
) -> dict[str, Interval]:
    """Single-subject synchrony on ``prompts`` held-out captions: noise of clip k is drawn from its own two seeds.

    ``sync_normalised`` stands between chance (sound of the second take under the picture of the first) and the codecs'
    ceiling; ``sync_captioned`` counts the events of the captioned kind alone. ``kind_seen`` and ``kind_heard`` are the
    shares of clips with the captioned kind; ``count_error`` is the mean difference between events seen and heard.
    """
    shape = ClipShape(fps=model.network.config.fps, sample_rate=model.network.config.sample_rate)
    scenes = make_scenes(seed, prompts, mix={"single": 1.0}, split="test")
    columns: defaultdict[str, list[float]] = defaultdict(list)
    for start in range(0, prompts, CHUNK):
        part = scenes[start : start + CHUNK]
        request = Request([caption(s) for s in part], seed=seed + start, steps=steps, strategy=strategy, shape=shape)
        second_request = replace(request, seed=request.seed + SECOND_TAKE)
        takes = [read(probes, generate(model, wanted)) for wanted in (request, second_request)]
        ideal = read(probes, reconstruct(model, part, shape))
        for scene, first, second, best in zip(part, *takes, ideal, strict=True):
            kind = scene.subjects[0].kind
            for suffix, kinds in (("", SOUNDING), ("_captioned", (kind,))):
                columns["f1" + suffix].append(f1(only(first.heard, kinds), only(first.seen, kinds)))
                columns["chance" + suffix].append(f1(only(second.heard, kinds), only(first.seen, kinds)))
                columns["ceiling" + suffix].append(f1(only(best.heard, kinds), only(best.seen, kinds)))
            columns["kind_seen"].append(float(first.kind == kind))
            columns["kind_heard"].append(float(set(first.heard) == {kind}))
            columns["count_error"].append(float(abs(_count(first.heard) - _count(first.seen))))
        if on_chunk:
            on_chunk(len(part))
    sync = {
        "sync" + name: normalised(*(columns[part + suffix] for part in ("f1", "chance", "ceiling")))
        for name, suffix in (("_normalised", ""), ("_captioned", "_captioned"))
    }
    return sync | {name: mean_interval(values) for name, values in columns.items()}


def _count(events: Events) -> int:
    return sum(map(len, events.values()))


def bench_table(suite: str, prompts: int, seed: int, rows: dict[str, dict[str, Interval]]) -> dict[str, object]:
    """The table of record: what was measured, on which weights, at which commit."""
    return {
        "suite": suite,
        "prompts": prompts,
        "seed": seed,
        "weights": {name: load_weights(path, name).sha256 for name, path in FILES.items()},
        "commit": commit(),
        "rows": [
            {
                "variant": name,
                "stratum": suite,
                "metrics": {metric: value.to_json() for metric, value in metrics.items()},
            }
            for name, metrics in rows.items()
        ],
    }


def commit() -> str:
    """The pack's git commit, or 'unknown' outside a checkout."""
    answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=WEIGHTS, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
