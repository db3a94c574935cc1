"""The meter suite: the second renderer, offsets from events, and rows with known answers."""

from itertools import pairwise

import pytest
import torch

from duet_av.pipelines.bench.runner import Run
from duet_av.pipelines.bench.suites import meter as suite
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.sync.events import best_offset
from duet_av.pipelines.world.second_renderer import ClipEvents, random_events, render_events, render_weather

SHAPE = ClipShape(seconds=3.0)


def test_the_second_renderer_places_events_in_both_streams():
    events = ClipEvents(7, (1.0, 2.2))
    clip = render_events(events, SHAPE)
    assert clip.frames.shape == (48, 64, 64, 3)
    assert 0 <= float(clip.frames.min()) <= float(clip.frames.max()) <= 1
    change = (clip.frames[1:] - clip.frames[:-1]).abs().mean((1, 2, 3))
    assert sorted(change.topk(2).indices.tolist()) == [15, 35], "differences to the frames in which the disc has moved"
    level = clip.waveform.square().mean(0).unfold(0, 1600, 1600).mean(1)
    assert level.argmax() in (10, 22)
    silent = render_events(ClipEvents(7, (1.0, 2.2), ()), SHAPE)
    assert float(silent.waveform.std()) < 0.02
    assert torch.equal(render_events(events, SHAPE).waveform, clip.waveform), "deterministic"


def test_random_events_keep_their_distance():
    times = random_events(3, seconds=8.0).times
    assert 4 <= len(times) <= 10
    assert all(b - a >= 0.25 for a, b in pairwise(times))
    assert render_weather(3, SHAPE).waveform.abs().max() <= 0.2


@pytest.mark.parametrize("late", [-0.5, -0.0625, 0.0, 0.25])
def test_best_offset_finds_offsets_beyond_the_tolerance(late):
    seen = {"ball": (0.5, 1.1, 2.7), "bell": (1.9,)}
    heard = {kind: tuple(t + late for t in times) for kind, times in seen.items()}
    assert best_offset(heard, seen) == pytest.approx(late, abs=1e-9)
    assert best_offset({"ball": (0.1,)}, {"bell": (0.1,)}) is None


@pytest.mark.slow
def test_the_table_has_known_answers(monkeypatch):
    monkeypatch.setattr(suite, "SHIFTS", (0.0, 0.125))
    monkeypatch.setattr(suite, "JITTERS", (0.16,))
    monkeypatch.setattr(suite, "DROPS", (0.5,))
    table = suite.measure(Run(20, 5))
    rows = table.rows
    assert list(rows) == ["-125 ms", "+0 ms", "+125 ms", "jitter 160 ms", "50% missing", "sound of another clip"]
    for row in ("-125 ms", "+0 ms", "+125 ms"):
        assert rows[row]["world"]["probe_error_ms"].mean < 10
    step = [rows[row]["world"]["strength"].mean for row in ("+0 ms", "50% missing", "sound of another clip")]
    assert step == sorted(step, reverse=True), "strength decreases with synchrony"
    assert rows["+0 ms"]["weather"]["evidence"].mean <= 0.25
    assert set(table.to_json()["weights"]) == {"audio-probe", "video-probe"}
    assert len(suite.draw(table).axes) == 2
