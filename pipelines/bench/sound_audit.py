"""What a listener notices in decoded audio against the true waveform: pulses, sound before an onset, clipping, wrong loudness."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..models.pocket.audio_codec import log_mel
from ..sync.peaks import local_maxima
from ..world import Scene
from ..world.truth import true_events

RATE = 16_000  # samples per second
BIN = 80  # samples in one value of the loudness curve: 5 ms
SMOOTH = 7  # values averaged before lobes are counted: 35 ms, above the beat of the world's own bells
LOBE_LEVEL, LOBE_DIP = (
    0.15,
    0.2,
)  # a lobe's least height and the dip before it, both relative to the clip's loudest value
BEFORE = (0.050, 0.015)  # seconds before an onset in which the true clip is silent
SILENCE = 1e-6  # floor of levels: -120 dB
CLIPPED = 0.999


def loudness(waveform: Float[Tensor, "*b samples"]) -> Float[Tensor, "*b bins"]:
    """Root mean square over 5 ms."""
    return waveform[..., : waveform.shape[-1] // BIN * BIN].unflatten(-1, (-1, BIN)).square().mean(-1).sqrt()


def lobes(curve: Float[Tensor, " bins"]) -> int:
    """Number of separate bumps of a loudness curve: maxima after which, or before which, the curve falls and rises again."""
    smooth = F.avg_pool1d(curve[None, None], SMOOTH, 1, SMOOTH // 2, count_include_pad=False)[0, 0]
    top, count, floor = float(smooth.amax()), 0, 0.0
    if top <= SILENCE:
        return 0
    last = None  # height of the last lobe counted
    for value, peak in zip((smooth / top).tolist(), local_maxima(smooth, reach=2).tolist(), strict=True):
        floor = min(floor, value) if last is not None else 0.0
        if peak and value >= LOBE_LEVEL:
            if last is None or min(last, value) - floor >= LOBE_DIP * min(last, value):
                count, last, floor = count + 1, value, value
            elif value > last:
                last, floor = value, value
    return count


def level_before(waveform: Tensor, true: Tensor, onset: float) -> float | None:
    """Level in dB, relative to full scale, shortly before an onset; ``None`` where the true waveform is not silent there."""
    start, stop = (round((onset - s) * RATE) for s in BEFORE)
    if start < 0 or float(true[..., start:stop].abs().amax()) > 10 * SILENCE:
        return None
    return float(20 * waveform[..., start:stop].square().mean().sqrt().clamp_min(SILENCE).log10())


def audit(
    found: Float[Tensor, "b 2 samples"], true: Float[Tensor, "b 2 samples"], scenes: Sequence[Scene]
) -> dict[str, float]:
    """Means over the audible clips of ``scenes``: 'lobes_per_event' (true waveforms: 1), 'clipped' (share of clips with clipped samples),
    'level_before_onset' (dB), 'envelope_correlation' and 'mel_error' (units of ``log_mel``)."""
    rows: dict[str, list[float]] = {}
    for heard, truth, scene in zip(found, true, scenes, strict=True):
        onsets = sorted(time for times in true_events(scene, stream="audio").values() for time in times)
        if not onsets:
            continue
        row = measures(heard, truth, onsets)
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    return {name: fmean(values) for name, values in rows.items()}


def measures(
    heard: Float[Tensor, "2 samples"], truth: Float[Tensor, "2 samples"], onsets: Sequence[float]
) -> dict[str, float]:
    """The measures of ``audit`` for one clip with events at ``onsets``."""
    curves = loudness(heard.mean(0)), loudness(truth.mean(0))
    before = [level for onset in onsets if (level := level_before(heard, truth, onset)) is not None]
    spectra = [log_mel(x[None], sample_rate=RATE) for x in (heard, truth)]
    return {
        "lobes_per_event": lobes(curves[0]) / len(onsets),
        "clipped": float(heard.abs().amax() >= CLIPPED),
        **({"level_before_onset": fmean(before)} if before else {}),
        "envelope_correlation": float(torch.corrcoef(torch.stack(curves))[0, 1].nan_to_num(0.0)),
        "mel_error": float((spectra[0] - spectra[1]).abs().mean()),
    }
