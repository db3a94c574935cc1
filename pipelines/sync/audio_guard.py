"""Audio guard: loudness to a target, true-peak limiting, and a report of defects that can be heard."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..media.limiter import CEILING, limit_peaks
from .loudness import Loudness, loudness

OPENING = 0.5  # seconds at the start that are checked for a burst
CELL = 0.05  # seconds over which a level is averaged
BURST = 10.0  # dB by which the opening must exceed all that follows
AUDIBLE = -40.0  # dB relative to full scale; a quieter opening is no burst
LOWEST, HIGHEST = -50.0, -5.0  # LUFS; range of targets


@dataclass(frozen=True)
class Guarded:
    """Audio that passed the guard, its loudness before and after, and the defects found before."""

    waveform: Float[Tensor, "channels samples"]
    before: Loudness
    after: Loudness
    defects: list[str]

    def __str__(self) -> str:
        levels = [f"{name}: {_levels(found)}" for name, found in (("before", self.before), ("after", self.after))]
        return "\n".join([*levels, *(self.defects or ["no defects found"])])


def guard(waveform: Float[Tensor, "channels samples"], *, sample_rate: int, target: float | None = None) -> Guarded:
    """``waveform`` at an integrated loudness of ``target`` LUFS (None: loudness unchanged), with a true peak of at most -1 dB.

    Raises:
        ValueError: no samples, values that are not finite, or a target outside the range.
    """
    if target is not None and not LOWEST <= target <= HIGHEST:
        raise ValueError(
            f"The target loudness is {target:g} LUFS; it must be between {LOWEST:g} and {HIGHEST:g}. -16 is common online, -23 in "
            "broadcasting."
        )
    before = loudness(waveform.float(), sample_rate=sample_rate)
    defects = defects_of(waveform, before, sample_rate=sample_rate)
    scaled = waveform
    if target is not None and before.lufs is not None:
        scaled = waveform * 10 ** ((target - before.lufs) / 20)
    limited = limit_peaks(scaled, sample_rate=sample_rate)
    after = before if limited is waveform else loudness(limited.float(), sample_rate=sample_rate)
    if target is not None and (after.lufs is None or abs(after.lufs - target) > 0.5):
        reason = "the audio is silent" if after.lufs is None else "peaks are limited to -1 dB"
        defects.append(f"target of {target:g} LUFS not reached: {reason}")
    return Guarded(limited, before, after, defects)


def defects_of(waveform: Float[Tensor, "channels samples"], found: Loudness, *, sample_rate: int) -> list[str]:
    """Audible defects, one sentence each."""
    defects = []
    if found.lufs is None or found.silent == 1:
        return ["silence: the audio is empty or inaudible"]
    if found.clipped:
        defects.append(f"clipping: {found.clipped} run(s) of samples at full scale")
    if found.true_peak > CEILING:
        defects.append(f"true peak of {found.true_peak:.1f} dB exceeds {CEILING:g} dB")
    excess = opening_burst(waveform, sample_rate=sample_rate)
    if excess is not None:
        defects.append(f"possible burst: the first {OPENING:g} s are {excess:.0f} dB louder than all that follows")
    return defects


def opening_burst(waveform: Float[Tensor, "channels samples"], *, sample_rate: int) -> float | None:
    """Decibels by which the loudest level of the first half second exceeds the loudest afterwards, or None if it is no burst."""
    cell = max(1, round(CELL * sample_rate))
    if waveform.shape[1] < 2 * OPENING * sample_rate:
        return None
    levels = waveform.float().square().mean(0).unfold(0, cell, cell).mean(-1)
    first = round(OPENING / CELL)
    opening, rest = (10 * math.log10(max(float(part.amax()), 1e-12)) for part in (levels[:first], levels[first:]))
    return opening - rest if opening > AUDIBLE and opening - rest > BURST else None


def _levels(found: Loudness) -> str:
    level = "below the loudness gate" if found.lufs is None else f"{found.lufs:.1f} LUFS"
    return f"{level}, true peak {found.true_peak:.1f} dB, {100 * found.silent:.0f} % silence"
