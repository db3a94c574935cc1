"""The sync meter on traces with known answers: reversals of motion, even beats, intervals, too few events."""

import pytest
import torch

from duet_av.pipelines.sync.meter import agreement
from duet_av.pipelines.sync.onsets import NOVELTIES, PLACES, cell_changes, video_onsets


def test_the_contact_of_a_ball_is_a_reversal_and_its_apex_is_not():
    frames = torch.zeros(50, 24, 24, 3)
    for i in range(50):  # contact at frame 20, apex at frame 35
        height = abs(i - 20) / 15 if i < 35 else 1 - ((i - 35) / 15) ** 2
        row = 18 - round(14 * min(1.0, height * (2 - height) if i >= 20 else height))
        frames[i, row : row + 4, 10:14] = 1.0
    times = torch.arange(50) / 25
    traces = video_onsets(cell_changes(frames, times), times, seconds=2.0)
    reversals = traces.unflatten(1, (-1, PLACES))[:, NOVELTIES, -1]
    assert abs((int(reversals.argmax()) + 0.5) / 100 - 20 / 25) <= 1 / 25


def test_an_even_beat_has_a_set_of_offsets_and_no_evidence():
    ticks = torch.zeros(800)
    ticks[30::40] = 1.0
    late = ticks.roll(25)  # 250 ms late, or 150 ms early
    found = agreement(late, ticks[:, None])
    assert found.best == pytest.approx(-0.15, abs=0.01)
    assert [round(each, 2) for each in found.others] == [-0.55, 0.25]
    assert found.offset is None
    assert "repeat evenly" in found.reason
    assert "+250 ms" in found.reason


def test_the_interval_is_wider_where_sounds_are_jittered():
    generator = torch.Generator().manual_seed(3)
    times = torch.cumsum(0.5 + 0.7 * torch.rand(24, generator=generator), 0)
    seen, exact, loose = torch.zeros(3, 2200)
    for time in (100 * times).long().tolist():
        jitter = int(torch.randint(-4, 5, (1,), generator=generator))
        seen[time] = exact[time + 10] = loose[time + 10 + jitter] = 1.0
    wide = seen[:, None]
    first, second = (agreement(each, wide).interval for each in (exact, loose))
    assert first is not None
    assert second is not None
    assert first[0] <= 0.1 <= first[1]
    assert second[1] - second[0] >= first[1] - first[0]


def test_two_events_are_too_few():
    trace = torch.zeros(400)
    trace[[100, 190]] = 1.0
    assert "only 2 event(s) coincide" in agreement(trace.roll(10), trace[:, None]).reason
