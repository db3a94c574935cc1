"""A long clip of the pocket model, piece by piece: streams that stay together, scenes that stay the same, seams and memory.

    python benchmarks/extend.py --seconds 60 --seed 0 --output long.mp4

Prints, for the clip of one prompt: the difference between the durations of the streams; the offset of the events in every piece, by the
probes; colour, kinds and loudness of each piece against the first; whether a logistic regression finds the seams; resident memory.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from duet_av.pipelines.bench.readings import Probes, read
from duet_av.pipelines.core.pieces import Extension
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.statistics import mean_interval
from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.media.joining import extend
from duet_av.pipelines.media.mp4 import write_mp4
from duet_av.pipelines.models.pocket.extend import clock_of, making
from duet_av.pipelines.models.pocket.generate import Request
from duet_av.pipelines.models.pocket.load import PocketModel
from duet_av.pipelines.sync.events import f1, offset
from duet_av.pipelines.sync.loudness import integrated

PROMPT = "a small red ball bounces slowly on the left at night"
NEAR = 6  # frames and hundredths of a second around a place whose changes are compared with the change at the place
STEPS, PENALTY = 300, 0.05  # of the logistic regression


def memory() -> float:
    """Resident memory in MB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cut(clip: Clip, start: int, stop: int) -> Clip:
    """Frames ``start`` to ``stop`` and their sound."""
    first, last = (round(frame / clip.fps * clip.sample_rate) for frame in (start, stop))
    return Clip(clip.frames[start:stop].float() / 255, clip.fps, clip.waveform[:, first:last], clip.sample_rate)


def generated(extension: Extension, request: Request, model: PocketModel) -> Iterator[Clip]:
    """The parts of the clip; prints the memory after each."""
    for number, part in enumerate(extend(extension, making(model, request, extension)), 1):
        print(f"part {number}: {memory():.0f} MB resident", flush=True)
        yield part


def report_pieces(clip: Clip, extension: Extension, probes: Probes) -> None:
    """Synchrony of each piece, and how far it is from the first one."""
    frames = extension.clock.frames
    parts = [cut(clip, max(0, p.start), max(0, p.start) + frames) for p in extension.pieces]
    parts = [part for part in parts if len(part.frames) == frames]
    readings = read(probes, parts)
    levels = [integrated(part.waveform, sample_rate=part.sample_rate) or -70.0 for part in parts]
    colours = [part.frames.mean((0, 1, 2)) for part in parts]
    offsets = [offset(r.heard, r.seen.events) for r in readings]
    for k, (reading, late) in enumerate(zip(readings, offsets, strict=True)):
        ms = "no event in both" if late is None else f"{1000 * late:+6.1f} ms"
        print(
            f"piece {k:2}: offset {ms}, F1 {f1(reading.heard, reading.seen.events):.2f}, seen {'+'.join(sorted(reading.seen.kinds))}, "
            f"colour {float((colours[k] - colours[0]).abs().max()):.3f} from the first, {levels[k] - levels[0]:+.1f} LU"
        )
    known = [1000 * late for late in offsets if late is not None]
    agreement = mean_interval([f1(r.heard, r.seen.events) for r in readings])
    print(
        f"largest offset {max(map(abs, known)):.1f} ms over {len(known)} of {len(parts)} pieces with events in both streams"
    )
    print(f"F1 of heard against seen events {agreement.mean:.2f} [{agreement.low:.2f}, {agreement.high:.2f}]")


def features(clip: Clip, place: int) -> Tensor:
    """What changes at the boundary before frame ``place``, against its neighbourhood: picture, its largest cell, level and spectrum."""
    frames = clip.frames[place - NEAR - 1 : place + NEAR].float() / 255
    change = frames.diff(dim=0).abs()
    mean, most = change.mean((1, 2, 3)), change.amax((1, 2, 3))
    rate = clip.sample_rate
    centre, step = round(place / clip.fps * rate), rate // 100
    sound = clip.waveform[:, centre - 50 * step : centre + 10 * step].mean(0).unfold(0, step, step)
    level = sound.square().mean(1).add(1e-6).log10()
    spectrum = torch.fft.rfft(sound).abs().add(1e-3).log()
    flux = spectrum.diff(dim=0).abs().mean(1)
    jump = level.diff().abs()
    at = NEAR
    return torch.stack(
        [
            mean[at].log(),
            (mean[at] / mean.median().clamp_min(1e-6)).log(),
            most[at],
            (most[at] / most.median().clamp_min(1e-6)).log(),
            jump[:50].amax(),
            jump[44:52].amax(),
            flux[:50].amax(),
            flux[44:52].amax(),
            level.std(),
        ]
    ).nan_to_num()


def scores_of(x: Tensor, y: Tensor, held: Tensor) -> Tensor:
    """Scores of the rows ``held`` by a logistic regression that was fitted to the others."""
    train = ~held
    mean, spread = x[train].mean(0), x[train].std(0).clamp_min(1e-6)
    z = (x - mean) / spread
    weights = torch.zeros(z.shape[1] + 1, requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=0.05)
    for _ in range(STEPS):
        optimiser.zero_grad()
        logits = z[train] @ weights[1:] + weights[0]
        loss = (
            torch.nn.functional.binary_cross_entropy_with_logits(logits, y[train])
            + PENALTY * weights[1:].square().sum()
        )
        loss.backward()
        optimiser.step()
    return (z[held] @ weights[1:]).detach()


def report_seams(clip: Clip, extension: Extension, seed: int) -> None:
    """The area under the curve of a logistic regression that has to tell seams from places in the middle of pieces, by cross-validation
    in ten parts; 0.5 is chance."""
    seams = [p.seam for p in extension.pieces[1:]]
    others = [seam + extension.hop // 2 for seam in seams]
    places = [p for p in (*seams, *others) if 9 <= p <= len(clip.frames) - NEAR - 2]
    x, y = torch.stack([features(clip, p) for p in places]), torch.tensor([float(p in seams) for p in places])
    generator = torch.Generator().manual_seed(seed)
    fold = torch.randperm(len(places), generator=generator) % 10
    scores = torch.zeros(len(places))
    for k in range(10):
        scores[fold == k] = scores_of(x, y, fold == k)

    def area(rows: Tensor) -> float:
        a, b = scores[rows][y[rows] == 1], scores[rows][y[rows] == 0]
        return float(((a[:, None] > b).float() + 0.5 * (a[:, None] == b).float()).mean())

    draws = [torch.randint(len(places), (len(places),), generator=generator) for _ in range(2000)]
    low, high = torch.tensor([area(d) for d in draws]).nanquantile(torch.tensor([0.025, 0.975])).tolist()
    everything = torch.arange(len(places))
    print(
        f"seams: area under the curve {area(everything):.2f} [{low:.2f}, {high:.2f}], {len(places)} places (chance 0.5)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loop", action="store_true")
    parser.add_argument("--output", type=Path, help="also write the clip")
    arguments = parser.parse_args()
    model, probes, shape = PocketModel.load(), Probes.load(), ClipShape()
    clock = clock_of(model, shape)
    overlap = clock.frames_from(arguments.overlap)
    extension = Extension(clock, round(arguments.seconds * clock.fps), overlap, loop=arguments.loop)
    request = Request([arguments.prompt], seed=arguments.seed, shape=shape)
    parts = list(generated(extension, request, model))
    clip = Clip(
        torch.cat([p.frames for p in parts]), 16.0, torch.cat([p.waveform for p in parts], 1), clock.sample_rate
    )
    drift = clip.waveform.shape[1] / clip.sample_rate - len(clip.frames) / clip.fps
    print(
        f"{len(clip.frames) / clip.fps:g} s from {len(extension.pieces)} pieces; streams differ by {1000 * drift:.3f} ms"
    )
    report_pieces(clip, extension, probes)
    report_seams(clip, extension, arguments.seed)
    if arguments.output:
        write_mp4(arguments.output, Clip(clip.frames.float() / 255, clip.fps, clip.waveform, clip.sample_rate))


if __name__ == "__main__":
    main()
