"""Training of the probes, on rendered clips and on their codec reconstructions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..bench.probes import BINS_PER_FRAME, AudioProbe, VideoProbe, onset_loss, onset_target
from ..core.sizes import ClipShape
from ..core.timeline import PLACES
from ..core.weights import save_weights, to_half
from ..models.pocket.audio_codec import AudioCodec, log_mel
from ..models.pocket.video_codec import VideoCodec
from ..sync.events import f1
from ..world import KINDS, Scene, make_scenes, render_picture, render_sound
from ..world.scene import COLOURS
from ..world.truth import true_events
from .data import RenderCache

RECONSTRUCTED = 0.4  # share of clips replaced by their codec reconstruction
HELD_OUT = 128


def _scenes(generator: torch.Generator, size: int) -> list[Scene]:
    return make_scenes(int(torch.randint(1 << 40, (), generator=generator)), size, split="any")


class _AudioObjective(nn.Module):
    def __init__(self, probe: AudioProbe) -> None:
        super().__init__()
        self.probe = probe

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        mel, target = batch
        return {"loss": onset_loss(self.probe(mel), target)}


class AudioProbeStage:
    """Training of the audio probe: from log-mel frames of rendered and reconstructed clips, with a little noise, to onsets."""

    name = "audio-probe"

    def __init__(self, codec: AudioCodec, path: Path, *, width: int = 96) -> None:
        self.codec, self.path = codec, path
        self.config: dict[str, Any] = {"width": width, "sample_rate": codec.sample_rate}
        self.objective = _AudioObjective(AudioProbe(**self.config))
        self.shape = ClipShape(sample_rate=codec.sample_rate)

    @torch.no_grad()
    def batch(self, generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
        scenes = _scenes(generator, size)
        mel = log_mel(
            render_sound(scenes, samples=self.shape.samples, sample_rate=self.shape.sample_rate),
            sample_rate=self.shape.sample_rate,
        )
        rebuilt = self.codec.decode_mel(self.codec.pca.encode(self.codec.to_patches(mel)).transpose(1, 2))[
            ..., : mel.shape[-1]
        ]
        chosen = torch.rand(size, generator=generator) < RECONSTRUCTED
        mel = torch.where(chosen[:, None, None, None], rebuilt, mel) + 0.05 * torch.randn(
            mel.shape, generator=generator
        )
        rate = mel.shape[-1] / self.shape.duration
        return mel, torch.stack(
            [onset_target(true_events(s, stream="audio"), bins=mel.shape[-1], rate=rate) for s in scenes]
        )

    def score(self) -> dict[str, float]:
        """On held-out compositions after the codec and Griffin-Lim: mean F1 of detected against true events, and the share of silent
        clips with a detection."""
        scenes = make_scenes(7_001, HELD_OUT, split="test")
        waveform = render_sound(scenes, samples=self.shape.samples, sample_rate=self.shape.sample_rate)
        probe = self.objective.probe
        found = probe.events(self.codec.decode(self.codec.encode(waveform), samples=self.shape.samples))
        pairs = [(a, true_events(s, stream="audio")) for a, s in zip(found, scenes, strict=True)]
        value = _mean([f1(a, b, tolerance=0.05) for a, b in pairs if b])
        return {"score": value, "false_alarms": _mean([float(bool(a)) for a, b in pairs if not b])}

    def save(self, record: dict[str, Any]) -> list[Path]:
        save_weights(self.path, to_half(self.objective.probe), kind="audio-probe", config=self.config, record=record)
        return [self.path]


class _VideoObjective(nn.Module):
    def __init__(self, probe: VideoProbe) -> None:
        super().__init__()
        self.probe = probe

    def forward(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        frames, *truth = batch
        onsets, *present = self.probe(frames)
        events = onset_loss(onsets, truth[0])
        kinds, things = map(F.binary_cross_entropy_with_logits, map(Tensor.float, present), truth[1:])
        parts = {"events": events, "kinds": kinds, "things": things}
        return {"loss": events + 0.2 * kinds + 2 * things, **{name: value.detach() for name, value in parts.items()}}


def true_things(scene: Scene) -> Tensor:
    """1 at the place, kind and colour of each subject in view, otherwise 0: [places, kinds, colours]."""
    target = torch.zeros(len(PLACES), len(KINDS), len(COLOURS))
    for s in scene.subjects:
        if s.seen:
            target[PLACES.index(s.place), KINDS.index(s.kind), COLOURS.index(s.colour)] = 1
    return target


class VideoProbeStage:
    """Training of the video probe: from frames of rendered and reconstructed clips to contacts, the kinds in view, and the kinds and
    colours at each place."""

    name = "video-probe"

    def __init__(self, codec: VideoCodec, path: Path, *, cache: RenderCache, width: int = 64) -> None:
        self.codec, self.path, self.cache = codec, path, cache
        self.config: dict[str, Any] = {"width": width}
        self.objective = _VideoObjective(VideoProbe(**self.config))
        self.shape = ClipShape()

    @torch.no_grad()
    def batch(self, generator: torch.Generator, size: int) -> tuple[Tensor, ...]:
        scenes, frames = self.cache.draw(size, generator)
        chosen = torch.rand(size, generator=generator) < RECONSTRUCTED
        frames[chosen] = self.codec.decode(self.codec.encode(frames[chosen]))
        bins, rate = self.shape.frames * BINS_PER_FRAME, float(self.shape.fps * BINS_PER_FRAME)
        onsets = [onset_target(true_events(s, stream="video"), bins=bins, rate=rate) for s in scenes]
        things = torch.stack([true_things(s) for s in scenes])
        return frames, torch.stack(onsets), things.amax((1, 3)), things

    def score(self) -> dict[str, float]:
        """On held-out compositions after the codec: F1 of detected against true contacts, shares of clips with all kinds right and of
        subjects with the right colour and place, and the share of clips without contacts that have a detection."""
        scenes = make_scenes(7_002, HELD_OUT, split="test")
        frames = self.codec.decode(self.codec.encode(render_picture(scenes, self.shape)))
        pairs = list(zip(self.objective.probe.read(frames, fps=float(self.shape.fps)), scenes, strict=True))
        events = [(seen.events, true_events(scene, stream="video")) for seen, scene in pairs]
        visible = [(seen, s) for seen, scene in pairs for s in scene.subjects if s.seen]
        single = [
            (seen, s)
            for seen, scene in pairs
            if len(shown := [s for s in scene.subjects if s.seen]) == 1
            for s in shown
        ]
        found = {
            "event_f1": _mean([f1(found, true) for found, true in events if true]),
            "kinds": _mean([float(seen.kinds == {s.kind for s in scene.subjects if s.seen}) for seen, scene in pairs]),
            "colours": _mean([float(seen.colour(s.kind, s.place) == s.colour) for seen, s in visible]),
            "places": _mean([float(seen.place(s.kind) == s.place) for seen, s in single]),
            "false_alarms": _mean([float(bool(found)) for found, true in events if not true]),
        }
        good = [found["event_f1"], found["kinds"], found["colours"], found["places"], 1 - found["false_alarms"]]
        return {"score": _mean(good), **found}

    def save(self, record: dict[str, Any]) -> list[Path]:
        save_weights(self.path, to_half(self.objective.probe), kind="video-probe", config=self.config, record=record)
        return [self.path]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
