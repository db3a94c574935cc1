"""Training of the measuring instruments, on renders and on their codec reconstructions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..metrics.events import f1
from ..metrics.probes import BINS_PER_FRAME, AudioProbe, VideoProbe, onset_loss, onset_target
from ..models.pocket.codec import AudioCodec, VideoCodec, log_mel
from ..shapes import ClipShape
from ..weights import halved, save_weights
from ..world import KINDS, Scene, make_scenes, render_picture, render_sound
from .data import true_events

RECONSTRUCTED = 0.4  # share of clips shown as the codec gives them back
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
    """Log-mel frames of renders, of codec reconstructions, and under a little noise -> onsets."""

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
        """Mean F1 of heard against true events, after the codec and Griffin-Lim, on held-out compositions."""
        scenes = make_scenes(7_001, HELD_OUT, split="test")
        waveform = render_sound(scenes, samples=self.shape.samples, sample_rate=self.shape.sample_rate)
        probe = self.objective.probe
        found = probe.events(self.codec.decode(self.codec.encode(waveform), samples=self.shape.samples))
        pairs = [(a, true_events(s, stream="audio")) for a, s in zip(found, scenes, strict=True)]
        value = _mean([f1(a, b, tolerance=0.05) for a, b in pairs if b])
        return {"score": value, "false_alarms": _mean([float(bool(a)) for a, b in pairs if not b])}

    def save(self, record: dict[str, Any]) -> list[Path]:
        save_weights(self.path, halved(self.objective.probe), kind="audio-probe", config=self.config, record=record)
        return [self.path]


class _VideoObjective(nn.Module):
    def __init__(self, probe: VideoProbe) -> None:
        super().__init__()
        self.probe = probe

    def forward(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        frames, onsets, kinds = batch
        answer, presence = self.probe(frames)
        events, seen = onset_loss(answer, onsets), F.binary_cross_entropy_with_logits(presence.float(), kinds)
        return {"loss": events + 0.2 * seen, "events": events.detach(), "kinds": seen.detach()}


class VideoProbeStage:
    """Frames of renders and of codec reconstructions -> contacts and kinds in view."""

    name = "video-probe"

    def __init__(self, codec: VideoCodec, path: Path, *, width: int = 64) -> None:
        self.codec, self.path = codec, path
        self.config: dict[str, Any] = {"width": width}
        self.objective = _VideoObjective(VideoProbe(**self.config))
        self.shape = ClipShape()

    @torch.no_grad()
    def batch(self, generator: torch.Generator, size: int) -> tuple[Tensor, Tensor, Tensor]:
        scenes = _scenes(generator, size)
        frames = render_picture(scenes, self.shape)
        chosen = torch.rand(size, generator=generator) < RECONSTRUCTED
        frames[chosen] = self.codec.decode(self.codec.encode(frames[chosen]))
        rate = float(self.shape.fps * BINS_PER_FRAME)
        onsets = torch.stack(
            [
                onset_target(true_events(s, stream="video"), bins=self.shape.frames * BINS_PER_FRAME, rate=rate)
                for s in scenes
            ]
        )
        kinds = torch.tensor(
            [[float(any(s.kind == kind and s.seen for s in scene.subjects)) for kind in KINDS] for scene in scenes]
        )
        return frames, onsets, kinds

    def score(self) -> dict[str, float]:
        """Mean F1 of seen against true contacts, after the codec, on held-out compositions; kinds all right."""
        scenes = make_scenes(7_002, HELD_OUT, split="test")
        frames = self.codec.decode(self.codec.encode(render_picture(scenes, self.shape)))
        probe = self.objective.probe
        pairs = [
            (a, true_events(s, stream="video"))
            for a, s in zip(probe.events(frames, fps=float(self.shape.fps)), scenes, strict=True)
        ]
        right = [
            float(
                all(
                    (p > 0.5) == any(s.kind == kind and s.seen for s in scene.subjects)
                    for kind, p in zip(KINDS, row, strict=True)
                )
            )
            for row, scene in zip(probe.presence(frames).tolist(), scenes, strict=True)
        ]
        return {
            "score": _mean([f1(a, b) for a, b in pairs if b]),
            "kinds": _mean(right),
            "false_alarms": _mean([float(bool(a)) for a, b in pairs if not b]),
        }

    def save(self, record: dict[str, Any]) -> list[Path]:
        save_weights(self.path, halved(self.objective.probe), kind="video-probe", config=self.config, record=record)
        return [self.path]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
