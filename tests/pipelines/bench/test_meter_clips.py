"""Validation clips of the sync meter: determinism, known delays and the summary."""

import numpy as np
import torch

from duet_av.pipelines.bench import meter_clips
from duet_av.pipelines.sync.meter import Agreement


def test_seeds_give_the_same_clips_and_differ_from_each_other():
    first, again, other = (meter_clips.clips(seed, 1) for seed in (1, 1, 2))
    assert all(torch.equal(a.clip.frames, b.clip.frames) for a, b in zip(first, again, strict=True))
    assert all(torch.equal(a.clip.waveform, b.clip.waveform) for a, b in zip(first, again, strict=True))
    assert all(a.late != b.late for a, b in zip(first[:5], other[:5], strict=True))
    assert [each.kind for each in first] == 2 * list(meter_clips.KINDS)
    assert [each.late is None for each in first] == [False] * 5 + [True] * 5


def test_the_audio_is_late_by_the_stated_delay():
    for each in meter_clips.clips(3, 3)[:3]:  # flashes: a brightening frame for each tone
        change = each.clip.frames.mean((1, 2, 3)).diff()
        seen = (np.flatnonzero(change > 0.5 * change.max()) + 1) / each.clip.fps
        level = each.clip.waveform[0].abs()
        heard = np.flatnonzero(level > 0.1)[0] / meter_clips.RATE
        delays = heard - seen
        assert np.abs(delays - each.late).min() <= 1 / each.clip.fps


def test_the_summary_counts_evidence_and_errors():
    labelled = meter_clips.clips(1, 1)
    found = [(each, Agreement(each.late, 1.0, 0.01)) for each in labelled]
    table = meter_clips.summary(found)
    assert table["drums"] == {"evidence": 1.0, "within_a_frame": 1.0, "unrelated_evidence": 0.0}
    wrong = [(each, Agreement(0.9, 1.0, 0.01)) for each in labelled]
    assert meter_clips.summary(wrong)["drums"]["within_a_frame"] == 0.0
    assert meter_clips.summary(wrong)["drums"]["unrelated_evidence"] == 1.0
